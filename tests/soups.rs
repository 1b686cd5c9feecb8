//! Model soups from the command line, and what a training says of ends and measures.

use crate::fixture::{binary, fail, output, succeed, tiny_corpus, train};

#[test]
fn seeds_and_checkpoints_are_averaged_and_evaluated() {
    let dir = tempfile::tempdir().unwrap();
    tiny_corpus(dir.path());
    let out = dir.path().join("runs");
    let trained = || {
        let mut command = binary("nerve-trainer");
        command.arg("train").arg("--data").arg(dir.path());
        command.arg("--vocab").arg(dir.path()).arg("--out").arg(&out);
        command.args(["--init", "scratch", "--hidden-size", "32", "--reports=false"]);
        command.args(["--seeds", "1,2", "--epochs", "2", "--soup", "uniform"]);
        command
    };
    let shown = succeed(&mut trained());
    let lines: Vec<&str> = shown.lines().map(str::trim).collect();
    let soup = lines.iter().position(|line| line.ends_with("  soup")).unwrap();
    assert!(
        lines[soup - 1].ends_with("seed-2/best") && lines[soup - 2].ends_with("seed-1/best"),
        "{shown}"
    );
    let made = out.join("soup");
    let weights = std::fs::read(made.join("model.safetensors")).unwrap();
    assert_ne!(
        weights,
        std::fs::read(out.join("seed-1/best/model.safetensors")).unwrap()
    );
    // A resumed training makes the same soup again.
    succeed(trained().arg("--resume"));
    assert_eq!(weights, std::fs::read(made.join("model.safetensors")).unwrap());
    let soup = |name: &str| {
        let mut command = binary("nerve-trainer");
        command.arg("soup").arg("--out").arg(dir.path().join(name));
        for seed in ["seed-1", "seed-2"] {
            command.arg("--checkpoint").arg(out.join(seed).join("best"));
        }
        command
    };
    let uniform = output(&mut soup("uniform"));
    let told = String::from_utf8(uniform.stderr).unwrap();
    assert!(
        uniform.status.success() && told.contains("nerve-trainer calibrate --checkpoint"),
        "{told}"
    );
    assert_eq!(
        weights,
        std::fs::read(dir.path().join("uniform/model.safetensors")).unwrap()
    );
    let dev = dir.path().join("dev.conll");
    let shown = succeed(soup("greedy").arg("--greedy").arg("--data").arg(&dev));
    assert!(
        shown.starts_with("      F1  checkpoint\n") && shown.contains("  soup\n"),
        "{shown}"
    );
    // The soup is a checkpoint like any other.
    let evaluated = succeed(
        binary("nerve-trainer")
            .args(["evaluate", "--checkpoint"])
            .arg(dir.path().join("greedy"))
            .arg("--data")
            .arg(&dev),
    );
    assert!(evaluated.contains("micro"), "{evaluated}");
    let message = fail(soup("greedy").arg("--data").arg(&dev));
    assert!(
        message.contains("exists; choose another directory with --out"),
        "{message}"
    );
}

#[test]
fn a_run_says_by_what_its_best_checkpoint_is_chosen_and_where_its_schedule_ends() {
    let dir = tempfile::tempdir().unwrap();
    tiny_corpus(dir.path());
    let out = dir.path().join("run");
    let told = |command: &mut std::process::Command| {
        let output = output(command);
        let told = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "{told}");
        told
    };
    let first = told(train(dir.path(), &out).args(["--epochs", "1", "--select-by", "macro", "--ema", "0.9"]));
    assert!(first.contains(", dev macro F1 "), "{first}");
    let mut more = binary("nerve-trainer");
    more.args(["train", "--resume", "--epochs", "2", "--out"])
        .arg(&out);
    let longer = told(&mut more);
    assert!(
        longer.contains("the run has 2 epochs instead of 1: its schedule (linear) now ends at step"),
        "{longer}"
    );
    let message = fail(train(dir.path(), &dir.path().join("other")).args(["--select-by", "animal"]));
    assert!(
        message.contains(
            "has no entity of type `animal`; give micro, macro, loss or one of its types: location, person"
        ),
        "{message}"
    );
}
