//! When a run ends, and how one that has ended goes on.

use super::*;
use crate::train::record::Timing;
use crate::train::run::tests::resuming::{Stop, outcome};
use crate::train::schedule::ScheduleKind;

fn with(dir: &Path, out: &str, text: &str) -> TrainConfig {
    let other: TrainOptions = toml::from_str(text).unwrap();
    let options = TrainOptions {
        epochs: Some(2),
        ..options(dir, out)
    };
    TrainConfig::new(other.or(options)).unwrap()
}

#[test]
fn a_run_whose_time_is_over_is_evaluated_reported_and_can_be_continued() {
    let dir = tempfile::tempdir().unwrap();
    write_corpus(dir.path());
    train(&with(dir.path(), "whole", ""), Beginning::New, &mut []).unwrap();
    let short = with(dir.path(), "run", "max_time = \"0.000001s\"");
    let report = train(&short, Beginning::New, &mut []).unwrap();
    assert_eq!(
        (report.end, report.steps.len(), report.records.len()),
        (End::OutOfTime, 1, 1)
    );
    let page = std::fs::read_to_string(short.out.join("report.html")).unwrap();
    assert!(page.contains("ended early") && report.best.join("README.md").is_file());
    let again = train(&short, Beginning::Resumed, &mut []).unwrap();
    assert_eq!(
        (again.end, again.steps.len(), again.records.len()),
        (End::OutOfTime, 1, 1)
    );
    let told = |report: &TrainReport| {
        let is_told = |notice: &Notice| matches!(notice, Notice::OutOfTime { .. });
        report.notices.iter().any(is_told)
    };
    assert!(told(&again) && !told(&report));
    // The schedule is that of all epochs, so the steps are those of a run without a limit.
    let long = with(dir.path(), "run", "max_time = \"2h\"");
    let finished = train(&long, Beginning::Resumed, &mut []).unwrap();
    assert_eq!(finished.end, End::Finished);
    let (whole, run) = (outcome(&dir.path().join("whole")), outcome(&long.out));
    assert_eq!((&whole[0], &whole[2]), (&run[0], &run[2]));
    assert!(
        !std::fs::read_to_string(long.out.join("report.html"))
            .unwrap()
            .contains("ended early")
    );
}

#[test]
fn the_time_of_earlier_parts_of_a_run_counts() {
    let dir = tempfile::tempdir().unwrap();
    write_corpus(dir.path());
    let config = with(dir.path(), "run", "max_time = \"1h\"\nevaluate_every = 4");
    train(&config, Beginning::New, &mut [&mut Stop::after(3)]).unwrap();
    let path = config.out.join("last/training/state.json");
    let seconds = || {
        let state: serde_json::Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        state["seconds"].as_f64().unwrap()
    };
    let first = seconds();
    assert!(first > 0.0);
    train(&config, Beginning::Resumed, &mut [&mut Stop::after(6)]).unwrap();
    assert!(seconds() > first);
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replace(&seconds().to_string(), "3600.5")).unwrap();
    assert_eq!(seconds(), 3600.5);
    // The last checkpoint counts an evaluation once its record is in the file: a process may be killed before that.
    struct Dies;
    impl TrainingHook for Dies {
        fn on_evaluation(&mut self, _record: &EvaluationRecord, _timing: &Timing) -> Result<(), TrainError> {
            panic!("killed");
        }
    }
    let died = std::panic::catch_unwind(|| train(&config, Beginning::Resumed, &mut [&mut Dies]));
    assert!(died.is_err());
    let state: serde_json::Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    assert_eq!(state["records"], 1);
    // What the last step before learned is evaluated, and the checkpoint knows of the evaluation.
    for _ in 0..2 {
        let report = train(&config, Beginning::Resumed, &mut []).unwrap();
        let evaluated: Vec<usize> = report.records.iter().map(|record| record.step).collect();
        assert_eq!(
            (report.end, report.steps.len(), evaluated),
            (End::OutOfTime, 6, vec![4, 6])
        );
    }
}

#[test]
fn a_finished_run_continues_for_more_epochs_with_a_new_end_of_its_schedule() {
    let dir = tempfile::tempdir().unwrap();
    write_corpus(dir.path());
    let two = with(dir.path(), "run", "");
    let first = train(&two, Beginning::New, &mut []).unwrap();
    assert_eq!((first.end, first.steps.len()), (End::Finished, 10));
    let page = || std::fs::read_to_string(two.out.join("report.html")).unwrap();
    let before = page();
    let four = |out: &str| with(dir.path(), out, "epochs = 4");
    let report = train(&four("run"), Beginning::Resumed, &mut []).unwrap();
    assert_eq!(
        (report.end, report.steps.len(), report.records.len()),
        (End::Finished, 20, 4)
    );
    let new_end = Notice::NewEnd {
        schedule: ScheduleKind::Linear,
        epochs: [2, 4],
        steps: [10, 20],
        done: 10,
    };
    let told = |report: &TrainReport| report.notices.iter().filter(|notice| **notice == new_end).count();
    assert_eq!((told(&first), told(&report)), (0, 1));
    assert!(page() != before && page().contains("instead of 2: its schedule (linear) now ends at step 20"));
    assert_eq!(first.steps[..], report.steps[..10]);
    // After the warm-up of 2 of 20 steps the rate falls to 0 in 18 steps: half of the peak is left after step 11.
    assert!((report.steps[11].learning_rate - 0.5 * 5e-3).abs() < 1e-9);
    // It is told again and written once, however often the run is resumed.
    let again = train(&four("run"), Beginning::Resumed, &mut []).unwrap();
    assert_eq!((told(&again), again.steps.len()), (1, 20));
    // Fewer epochs than were made remain an error.
    let error = train(&two, Beginning::Resumed, &mut []).unwrap_err();
    assert!(
        matches!(
            error,
            TrainError::FewerEpochs {
                epochs: 2,
                begun: 4,
                ..
            }
        ),
        "{error}"
    );
    // A run that is stopped on its way to the new end is the same.
    train(&with(dir.path(), "stopped", ""), Beginning::New, &mut []).unwrap();
    let stopped = train(&four("stopped"), Beginning::Resumed, &mut [&mut Stop::after(12)]).unwrap();
    assert_eq!((stopped.end, told(&stopped)), (End::Interrupted, 1));
    let resumed = train(&four("stopped"), Beginning::Resumed, &mut []).unwrap();
    assert_eq!(told(&resumed), 1);
    assert_eq!(outcome(&four("stopped").out), outcome(&two.out));
}
