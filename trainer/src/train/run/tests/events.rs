//! TensorBoard events: when they are written, and what a resumed run leaves of them.

use super::*;
use crate::report::tensorboard::{event_times, scalars_of_step};
use crate::train::run::tests::resuming::Stop;

const FILE: &str = "run/tensorboard/events.out.tfevents.nerve";

fn config(dir: &Path) -> TrainConfig {
    let options = TrainOptions {
        epochs: Some(2),
        evaluate_every: Some(3),
        ..options(dir, "run")
    };
    TrainConfig::new(options).unwrap()
}

/// Counts the events on disk after each step.
struct Watch {
    file: PathBuf,
    events: Vec<usize>,
}

impl TrainingHook for Watch {
    fn on_step(&mut self, _step: &StepEvent<'_>) -> Result<(), TrainError> {
        self.events.push(event_times(&self.file).len());
        Ok(())
    }
}

#[test]
fn events_are_written_while_a_run_trains_and_have_times_of_their_own() {
    let dir = tempfile::tempdir().unwrap();
    write_corpus(dir.path());
    let mut watch = Watch {
        file: dir.path().join(FILE),
        events: Vec::new(),
    };
    train(&config(dir.path()), Beginning::New, &mut [&mut watch]).unwrap();
    // The version of the format, five steps an epoch, and an evaluation after every third step and the last.
    assert_eq!(watch.events, [2, 3, 4, 6, 7, 8, 10, 11, 12, 14]);
    let events = event_times(&watch.file);
    let steps: Vec<i64> = events.iter().map(|(step, _)| *step).collect();
    assert_eq!(steps, [0, 1, 2, 3, 3, 4, 5, 6, 6, 7, 8, 9, 9, 10, 10]);
    assert!(events.windows(2).all(|pair| pair[0].1 < pair[1].1), "{events:?}");
}

#[test]
fn an_evaluation_has_the_scores_of_each_type_in_its_record_its_events_and_the_report() {
    let dir = tempfile::tempdir().unwrap();
    write_corpus(dir.path());
    let report = train(&config(dir.path()), Beginning::New, &mut []).unwrap();
    let last = report.records.last().unwrap();
    let types: Vec<&String> = last.dev_types.keys().collect();
    assert_eq!(types, ["per"]);
    assert_eq!(last.dev_types["per"].entity, last.dev_entity);
    let scalars = scalars_of_step(&dir.path().join(FILE), last.step as i64);
    let value = |tag: &str| {
        scalars
            .iter()
            .find(|(name, _)| name == tag)
            .map(|(_, value)| *value)
    };
    assert_eq!(value("dev_types/per/f1"), Some(last.dev_entity.f1 as f32));
    assert_eq!(value("dev_types/per/recall"), Some(last.dev_entity.recall as f32));
    assert_eq!(
        value("dev_types/per/precision"),
        Some(last.dev_entity.precision as f32)
    );
    assert_eq!(
        value("train/learning_rate"),
        Some(report.steps.last().unwrap().learning_rate as f32)
    );
    assert!(value("train/tokens_per_second").is_some_and(|speed| speed > 0.0));
    let page = std::fs::read_to_string(dir.path().join("run/report.html")).unwrap();
    assert!(page.contains("Dev entity F1 by type"));
}

#[test]
fn a_resumed_run_has_every_event_once() {
    let dir = tempfile::tempdir().unwrap();
    write_corpus(dir.path());
    let config = config(dir.path());
    train(&config, Beginning::New, &mut [&mut Stop::after(4)]).unwrap();
    let first = event_times(&dir.path().join(FILE));
    let died = std::panic::catch_unwind(|| {
        let _ = train(&config, Beginning::Resumed, &mut [&mut Stop::dies_at(6)]);
    });
    assert!(died.is_err());
    train(&config, Beginning::Resumed, &mut []).unwrap();
    let events = event_times(&dir.path().join(FILE));
    let steps: Vec<i64> = events.iter().map(|(step, _)| *step).collect();
    assert_eq!(steps, [0, 1, 2, 3, 3, 4, 5, 6, 6, 7, 8, 9, 9, 10, 10]);
    assert_eq!(events[..first.len()], first);
}
