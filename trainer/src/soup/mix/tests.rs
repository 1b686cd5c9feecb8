use super::*;
use crate::testing::write_corpus;
use crate::train::{Beginning, Init, TrainConfig, TrainOptions, train};
use nerve_repository::{Weight, read_weights};
use std::collections::BTreeMap;

/// Trains a run per seed, which all start from the checkpoint of the first, and returns their best checkpoints.
fn checkpoints(dir: &Path, epochs: &[usize]) -> Vec<PathBuf> {
    write_corpus(dir);
    let run = |out: String, base: Option<&Path>, epochs: usize| {
        let fresh = TrainOptions {
            init: Some(Init::Scratch),
            vocab: Some(dir.to_owned()),
            hidden_size: Some(32),
            ..TrainOptions::default()
        };
        let based = |base: &Path| TrainOptions {
            base: Some(base.to_string_lossy().into_owned()),
            ..TrainOptions::default()
        };
        let options = TrainOptions {
            data: Some(dir.to_string_lossy().into_owned()),
            out: Some(dir.join(out)),
            epochs: Some(epochs),
            batch_size: Some(4),
            seed: Some(epochs as u64),
            learning_rate: Some(5e-3),
            reports: Some(false),
            threads: Some(1),
            ..base.map_or(fresh, based)
        };
        train(&TrainConfig::new(options).unwrap(), Beginning::New, &mut [])
            .unwrap()
            .best
    };
    let base = run("base".to_owned(), None, 1);
    let runs = epochs
        .iter()
        .map(|&epochs| run(format!("run-{epochs}"), Some(&base), epochs));
    runs.collect()
}

fn weights(dir: &Path) -> BTreeMap<String, Weight> {
    let config = nerve_repository::ModelConfig::read(&dir.join("config.json")).unwrap();
    read_weights(dir, &config).unwrap().1
}

fn request<'r>(checkpoints: &'r [PathBuf], kind: SoupKind, data: Option<&'r Corpus>) -> SoupRequest<'r> {
    SoupRequest {
        checkpoints,
        kind,
        data,
        threads: 1,
    }
}

#[test]
fn a_uniform_soup_is_the_mean_of_all_weights_and_has_a_temperature_of_its_own_or_none() {
    let dir = tempfile::tempdir().unwrap();
    let runs = checkpoints(dir.path(), &[1, 2, 3]);
    let out = dir.path().join("soup");
    let soup = request(&runs, SoupKind::Uniform, None).write(&out).unwrap();
    assert!(soup.evaluation.is_none() && !out.join("calibration.json").exists());
    assert!(
        soup.notice
            .unwrap()
            .contains("nerve-trainer calibrate --checkpoint")
    );
    let (mixed, of_runs) = (weights(&out), runs.iter().map(|run| weights(run)));
    let of_runs: Vec<_> = of_runs.collect();
    let mut moved = 0;
    for (name, weight) in &mixed {
        for (at, found) in weight.data.iter().enumerate() {
            let mean = of_runs.iter().map(|run| run[name].data[at]).sum::<f32>() / 3.0;
            assert!((mean - found).abs() < 1e-6, "{name}[{at}]: {found} {mean}");
            moved += usize::from((found - of_runs[0][name].data[at]).abs() > 1e-4);
        }
    }
    assert!(moved > 100, "{moved}");
    let again = request(&runs, SoupKind::Uniform, None).write(&out);
    assert!(matches!(again, Err(SoupError::Exists(_))));
}

#[test]
fn a_greedy_soup_begins_with_the_best_and_leaves_out_what_makes_it_worse() {
    let dir = tempfile::tempdir().unwrap();
    let runs = checkpoints(dir.path(), &[1, 8, 9]);
    let dev = Corpus::read(&dir.path().join("dev.conll")).unwrap();
    // A checkpoint whose classifier finds nothing, of the same shapes.
    let broken = dir.path().join("broken");
    let tagger = CheckpointTagger::open(&runs[1], None, 1).unwrap();
    for (name, var) in tagger.network().parameters().iter() {
        if name == "classifier.bias" {
            var.set(
                &(var.as_tensor().detach()
                    + candle_core::Tensor::new(&[90f32, 0.0, 0.0], &candle_core::Device::Cpu).unwrap())
                .unwrap(),
            )
            .unwrap();
        }
    }
    write_checkpoint(&broken, tagger.network(), tagger.tokenizer(), 128).unwrap();
    let given = [broken.clone(), runs[1].clone(), runs[2].clone()];
    let out = dir.path().join("greedy");
    let soup = request(&given, SoupKind::Greedy, Some(&dev)).write(&out).unwrap();
    let f1: Vec<f64> = soup
        .ingredients
        .iter()
        .map(|ingredient| ingredient.f1.unwrap())
        .collect();
    assert!(
        f1[0] == 1.0 && f1.is_sorted_by(|one, other| one >= other) && f1[2] == 0.0,
        "{f1:?}"
    );
    assert_eq!(soup.ingredients[2].path, broken);
    let used: Vec<bool> = soup
        .ingredients
        .iter()
        .map(|ingredient| ingredient.is_used)
        .collect();
    assert!(used[0] && !used[2], "{used:?}");
    assert_eq!(soup.evaluation.unwrap().score.entity.f1, 1.0);
    // All words are right, so that no temperature fits.
    assert!(soup.temperature.is_none() && soup.notice.unwrap().contains("no temperature is written"));
    let card = std::fs::read_to_string(out.join("README.md")).unwrap();
    assert!(card.contains("greedy model soup"));
    assert!(card.contains("not used"), "{card}");
    let uniform = dir.path().join("uniform");
    let soup = request(&given, SoupKind::Uniform, Some(&dev))
        .write(&uniform)
        .unwrap();
    assert_eq!(soup.evaluation.unwrap().score.entity.f1, 0.0);
    assert!(soup.ingredients.iter().all(|ingredient| ingredient.is_used));
    assert!(soup.temperature.is_some() && uniform.join("calibration.json").is_file());
}

#[test]
fn checkpoints_that_differ_are_refused_with_the_difference() {
    let dir = tempfile::tempdir().unwrap();
    let runs = checkpoints(dir.path(), &[1, 2]);
    let out = dir.path().join("soup");
    let error = |checkpoints: &[PathBuf], kind| {
        let error = request(checkpoints, kind, None).write(&out).unwrap_err();
        assert!(!out.exists());
        error.to_string()
    };
    let with = |name: &str, file: &str, from: &str, to: &str| {
        let copy = dir.path().join(name);
        std::fs::create_dir(&copy).unwrap();
        for entry in std::fs::read_dir(&runs[1]).unwrap() {
            let path = entry.unwrap().path();
            if path.is_file() {
                std::fs::copy(&path, copy.join(path.file_name().unwrap())).unwrap();
            }
        }
        let text = std::fs::read_to_string(copy.join(file)).unwrap();
        assert!(text.contains(from), "{text}");
        std::fs::write(copy.join(file), text.replace(from, to)).unwrap();
        error(&[runs[0].clone(), copy], SoupKind::Uniform)
    };
    let labels = with("labels", "config.json", "-per", "-loc");
    assert!(
        labels.contains("the list of labels is O, B-per, I-per in the first and O, B-loc, I-loc"),
        "{labels}"
    );
    let shape = with(
        "heads",
        "config.json",
        "\"num_attention_heads\": 2",
        "\"num_attention_heads\": 4",
    );
    assert!(
        shape.contains("`num_attention_heads` of config.json is 2 in the first and 4"),
        "{shape}"
    );
    let layers = with(
        "wide",
        "config.json",
        "\"intermediate_size\": 128",
        "\"intermediate_size\": 64",
    );
    assert!(layers.contains("`intermediate_size`"), "{layers}");
    let tokenizer = with("tokenizer", "tokenizer.json", "\"dog\"", "\"cat\"");
    assert!(
        tokenizer.contains("a line of tokenizer.json is \"dog\""),
        "{tokenizer}"
    );
    let length = with("length", "tokenizer_config.json", "128", "64");
    assert!(
        length.contains("`model_max_length` is 128 in the first and 64"),
        "{length}"
    );
    assert!(error(&runs[..1], SoupKind::Uniform).contains("at least two"));
    assert!(error(&[runs[0].clone(), runs[0].clone()], SoupKind::Uniform).contains("given twice"));
    assert!(error(&runs, SoupKind::Greedy).contains("--data"));
}

#[test]
fn checkpoints_with_and_without_transitions_are_not_mixed() {
    let dir = tempfile::tempdir().unwrap();
    let [plain] = &checkpoints(dir.path(), &[1])[..] else {
        panic!("one checkpoint");
    };
    let options = TrainOptions {
        data: Some(dir.path().to_string_lossy().into_owned()),
        base: Some(plain.to_string_lossy().into_owned()),
        out: Some(dir.path().join("crf")),
        loss: Some(crate::train::LossKind::Crf),
        epochs: Some(1),
        reports: Some(false),
        ..TrainOptions::default()
    };
    let crf = train(&TrainConfig::new(options).unwrap(), Beginning::New, &mut [])
        .unwrap()
        .best;
    for runs in [[plain.clone(), crf.clone()], [crf, plain.clone()]] {
        let error = request(&runs, SoupKind::Uniform, None)
            .write(&dir.path().join("soup"))
            .unwrap_err();
        assert!(error.to_string().contains("label_transitions"), "{error}");
    }
}
