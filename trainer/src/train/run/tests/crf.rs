//! Trainings whose loss is a conditional random field.

use nerve_inference::Tagger;
use nerve_repository::{Checkpoint, TRANSITIONS};

use super::*;

fn config(dir: &Path, out: &str, text: &str) -> TrainConfig {
    let other: TrainOptions = toml::from_str(text).unwrap();
    TrainConfig::new(other.or(options(dir, out))).unwrap()
}

fn transitions(checkpoint: &Path) -> Option<Vec<Vec<f32>>> {
    Checkpoint::open(checkpoint).unwrap().transitions().unwrap()
}

#[test]
fn transitions_are_learned_kept_and_decoded_with() {
    let dir = tempfile::tempdir().unwrap();
    write_corpus(dir.path());
    let text = "loss = \"crf\"\nhead_learning_rate = 0.1\nepochs = 6";
    let report = train(&config(dir.path(), "crf", text), Beginning::New, &mut []).unwrap();
    let best = report.best_record().unwrap();
    assert!(best.dev_entity.f1 > 0.0 && best.dev_loss.is_none(), "{best:?}");
    let scores = transitions(&report.best).unwrap();
    let (outside, inside, border) = (0, 2, scores.len() - 1);
    // No gold label is inside an entity after `O` or at the beginning of a sentence.
    assert!(
        scores[outside][inside] < -0.1 && scores[border][inside] < -0.1,
        "{scores:?}"
    );
    let dev = Corpus::read(&dir.path().join("dev.conll")).unwrap();
    let mut tagger = CheckpointTagger::open(&report.best, None, 1).unwrap();
    let found = evaluate(&mut tagger, &dev.sentences).unwrap();
    assert_eq!(found.score.entity, best.dev_entity);
    assert!(tagger.decoder().has_transitions());
    // Scores of transitions that forbid every entity are obeyed.
    let network = tagger.network();
    let width = scores.len();
    let mut forbidden = vec![0f32; width * width];
    for next in 1..border {
        for previous in 0..width {
            forbidden[previous * width + next] = -1e6;
        }
    }
    let forbidden = candle_core::Tensor::from_vec(forbidden, (width, width), &Device::Cpu).unwrap();
    network
        .parameters()
        .get(TRANSITIONS)
        .unwrap()
        .set(&forbidden)
        .unwrap();
    let found = evaluate(&mut tagger, &dev.sentences).unwrap();
    assert_eq!(found.score.counts.predicted, 0);
}

#[test]
fn another_training_keeps_the_transitions_or_has_none() {
    let dir = tempfile::tempdir().unwrap();
    write_corpus(dir.path());
    let first = config(dir.path(), "first", "loss = \"crf\"\nhead_learning_rate = 0.1");
    let first = train(&first, Beginning::New, &mut []).unwrap();
    let again = |out: &str, text: &str| {
        let options = TrainOptions {
            data: Some(dir.path().to_string_lossy().into_owned()),
            base: Some(first.best.to_string_lossy().into_owned()),
            out: Some(dir.path().join(out)),
            learning_rate: Some(1e-9),
            epochs: Some(1),
            max_length: Some(64),
            threads: Some(1),
            ..toml::from_str(text).unwrap()
        };
        train(&TrainConfig::new(options).unwrap(), Beginning::New, &mut []).unwrap()
    };
    let kept = transitions(&again("kept", "loss = \"crf\"").best).unwrap();
    for (row, first) in kept.iter().zip(transitions(&first.best).unwrap()) {
        assert!(
            row.iter()
                .zip(first)
                .all(|(kept, first)| (kept - first).abs() < 1e-6)
        );
    }
    assert_eq!(transitions(&again("none", "").best), None);
}
