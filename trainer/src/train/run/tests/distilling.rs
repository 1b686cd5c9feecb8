//! Trainings with teachers.

use super::resuming::{Stop, outcome};
use super::*;
use crate::train::config::seed_configs;
use crate::train::hook::TeacherProgress;
use crate::train::resume::resumed_config;
use crate::train::seeds::train_seeds;
use crate::train::teacher::error::TeacherError;

/// Counts what the teachers are asked.
#[derive(Default)]
struct Asked(usize);

impl TrainingHook for Asked {
    fn on_teacher(&mut self, progress: &TeacherProgress<'_>) -> Result<(), TrainError> {
        self.0 += progress.labeled;
        Ok(())
    }
}

/// A corpus and a teacher trained on it; the path of the teacher.
fn teacher(dir: &Path) -> String {
    write_corpus(dir);
    let best = run(options(dir, "teacher")).unwrap().best;
    best.to_string_lossy().into_owned()
}

fn distilled(dir: &Path, teacher: &str, out: &str) -> TrainOptions {
    TrainOptions {
        teacher: Some(vec![teacher.to_owned()]),
        epochs: Some(2),
        ..options(dir, out)
    }
}

fn unlabeled(dir: &Path, name: &str, text: &str) -> PathBuf {
    let path = dir.join(name);
    std::fs::write(&path, text).unwrap();
    path
}

const TEXT: &str = "Bob sees a dog\na dog and a dog\nAnn and Bob\nsees a dog and Ann\n";

#[test]
fn a_student_learns_what_its_teacher_says_and_not_what_the_labels_say() {
    let dir = tempfile::tempdir().unwrap();
    let teacher = teacher(dir.path());
    let train_file = dir.path().join("train.conll");
    let right = std::fs::read_to_string(&train_file).unwrap();
    let wrong = right.replace("B-per", "O").replace("dog\tO", "dog\tB-per");
    std::fs::write(&train_file, wrong).unwrap();
    let best_f1 = |weight, out: &str| {
        let report = run(TrainOptions {
            distill_weight: Some(weight),
            epochs: Some(12),
            ..distilled(dir.path(), &teacher, out)
        });
        report.unwrap().best_record().unwrap().dev_entity.f1
    };
    assert_eq!(best_f1(1.0, "of-teacher"), 1.0);
    assert!(best_f1(0.01, "of-labels") < 0.5);
}

#[test]
fn text_without_labels_teaches_what_the_corpus_does_not() {
    let dir = tempfile::tempdir().unwrap();
    let teacher = teacher(dir.path());
    // The corpus of the student has no Bob; its dev split has.
    let train_file = dir.path().join("train.conll");
    let all = std::fs::read_to_string(&train_file).unwrap();
    let known: Vec<&str> = all
        .split("\n\n")
        .filter(|sentence| !sentence.contains("Bob"))
        .collect();
    std::fs::write(&train_file, known.join("\n\n")).unwrap();
    let text = unlabeled(dir.path(), "text.txt", &TEXT.repeat(5));
    let report = |unlabelled, out: &str| {
        run(TrainOptions {
            unlabelled,
            epochs: Some(12),
            ..distilled(dir.path(), &teacher, out)
        })
        .unwrap()
    };
    let with = report(Some(vec![text]), "with");
    assert_eq!(with.best_record().unwrap().dev_entity.f1, 1.0);
    let without = report(None, "without");
    assert!(without.best_record().unwrap().dev_entity.f1 < 1.0);
    // 6 training sentences, 20 others, in batches of 4.
    assert_eq!((with.steps.len(), without.steps.len()), (12 * 7, 12 * 2));
    let lines: usize = with.steps[..7].iter().map(|step| step.lines.len()).sum();
    assert_eq!(lines, 6, "lines are those of the training file");
    let told = with.notices.iter().find_map(|notice| match notice {
        Notice::Teachers {
            sentences,
            with_entities,
            unlabeled,
            unlabeled_with_entities,
            ..
        } => Some([*sentences, *with_entities, *unlabeled, *unlabeled_with_entities]),
        _ => None,
    });
    assert_eq!(told, Some([6, 6, 20, 15]));
}

#[test]
fn every_option_of_distillation_changes_the_steps() {
    let dir = tempfile::tempdir().unwrap();
    let teacher = teacher(dir.path());
    let text = unlabeled(dir.path(), "text.txt", TEXT);
    let of = |change: &dyn Fn(&mut TrainOptions), out: &str| {
        let mut options = distilled(dir.path(), &teacher, out);
        change(&mut options);
        let report = run(options).unwrap();
        report
            .steps
            .iter()
            .map(|step| step.loss.to_bits())
            .collect::<Vec<u64>>()
    };
    let plain = of(&|_| {}, "plain");
    assert_eq!(plain, of(&|_| {}, "again"));
    let drawn = |count| {
        let text = text.clone();
        move |options: &mut TrainOptions| {
            options.unlabelled = Some(vec![text.clone()]);
            options.unlabelled_sentences = count;
        }
    };
    let found = [
        plain,
        of(&|options| options.teacher = None, "none"),
        of(&|options| options.distill_temperature = Some(4.0), "temperature"),
        of(&|options| options.distill_weight = Some(0.5), "weight"),
        of(&drawn(None), "all"),
        of(&drawn(Some(2)), "two"),
    ];
    // 18 sentences in batches of 4; 22 with all of the text, 20 with two sentences of it.
    assert_eq!(found.each_ref().map(Vec::len), [10, 10, 10, 10, 12, 10]);
    for (at, one) in found.iter().enumerate() {
        assert!(!found[..at].contains(one), "{at}");
    }
}

fn two_epochs(dir: &Path, teacher: &str, text: &Path, out: &str) -> TrainConfig {
    let options = TrainOptions {
        accumulate: Some(2),
        evaluate_every: Some(2),
        label_subwords: Some(LabeledSubwords::All),
        class_weights: Some("O=0.5".parse().unwrap()),
        unlabelled: Some(vec![text.to_owned()]),
        unlabelled_sentences: Some(5),
        mention_replacement: Some(0.5),
        word_dropout: Some(0.2),
        symbol_noise: Some(0.5),
        hashtag_noise: Some(0.2),
        ..distilled(dir, teacher, out)
    };
    TrainConfig::new(options).unwrap()
}

#[test]
fn a_distilled_and_augmented_training_is_resumed_to_the_last_bit_without_asking_the_teachers_again() {
    let dir = tempfile::tempdir().unwrap();
    let teacher = teacher(dir.path());
    let text = unlabeled(dir.path(), "text.txt", &TEXT.repeat(3));
    let of = |out: &str| two_epochs(dir.path(), &teacher, &text, out);
    let mut asked = Asked::default();
    let whole = train(&of("whole"), Beginning::New, &mut [&mut asked]).unwrap();
    assert_eq!((whole.steps.len(), asked.0), (6, 18 + 5));
    let expected = outcome(&dir.path().join("whole"));
    for step in 1..=6 {
        let out = format!("interrupted-{step}");
        train(&of(&out), Beginning::New, &mut [&mut Stop::after(step)]).unwrap();
        let mut asked = Asked::default();
        let resumed = resumed_config(TrainOptions {
            out: Some(dir.path().join(&out)),
            ..TrainOptions::default()
        });
        train(&resumed.unwrap(), Beginning::Resumed, &mut [&mut asked]).unwrap();
        assert_eq!(
            outcome(&dir.path().join(&out)),
            expected,
            "interrupted after {step}"
        );
        assert_eq!(asked.0, 0);
    }
    // A lost file is made again, the same to the last bit.
    train(&of("lost"), Beginning::New, &mut [&mut Stop::after(3)]).unwrap();
    let file = dir.path().join("lost/teacher-targets.bin");
    let kept = std::fs::read(&file).unwrap();
    std::fs::write(&file, &kept[..kept.len() - 1]).unwrap();
    let mut asked = Asked::default();
    train(&of("lost"), Beginning::Resumed, &mut [&mut asked]).unwrap();
    assert_eq!((outcome(&dir.path().join("lost")), asked.0), (expected, 18 + 5));
    assert_eq!(std::fs::read(&file).unwrap(), kept);
}

#[test]
fn the_seeds_of_a_series_ask_the_teachers_once() {
    let dir = tempfile::tempdir().unwrap();
    let teacher = teacher(dir.path());
    let text = unlabeled(dir.path(), "text.txt", &TEXT.repeat(3));
    let out = dir.path().join("series");
    let options = TrainOptions {
        seed: None,
        seeds: Some(vec![1, 2]),
        epochs: Some(1),
        unlabelled: Some(vec![text]),
        unlabelled_sentences: Some(5),
        ..distilled(dir.path(), &teacher, "series")
    };
    let configs = seed_configs(&options).unwrap();
    let mut asked = Asked::default();
    train_seeds(&configs, &out, Beginning::New, &mut [&mut asked]).unwrap();
    assert_eq!(asked.0, 18 + 5);
    // The second seed alone is the same run.
    let alone = TrainOptions {
        seed: Some(2),
        seeds: None,
        out: Some(dir.path().join("alone")),
        ..options
    };
    run(alone).unwrap();
    assert_eq!(outcome(&out.join("seed-2")), outcome(&dir.path().join("alone")));
}

#[test]
fn a_run_is_not_resumed_with_another_teacher_or_another_text() {
    let dir = tempfile::tempdir().unwrap();
    let teacher = teacher(dir.path());
    let text = unlabeled(dir.path(), "text.txt", TEXT);
    let config = two_epochs(dir.path(), &teacher, &text, "run");
    train(&config, Beginning::New, &mut [&mut Stop::after(2)]).unwrap();
    let is_other = |error: &TrainError| match error {
        TrainError::Teacher(error) => matches!(**error, TeacherError::OtherTargets { .. }),
        _ => false,
    };
    std::fs::write(&text, TEXT.replace("Bob", "Zoe")).unwrap();
    let error = train(&config, Beginning::Resumed, &mut []).unwrap_err();
    assert!(is_other(&error), "{error}");
    std::fs::write(&text, TEXT).unwrap();
    let weights = Path::new(&teacher).join("model.safetensors");
    let mut bytes = std::fs::read(&weights).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    std::fs::write(&weights, bytes).unwrap();
    let error = train(&config, Beginning::Resumed, &mut []).unwrap_err();
    assert!(is_other(&error), "{error}");
}

#[test]
fn the_run_and_the_card_name_the_teachers() {
    let dir = tempfile::tempdir().unwrap();
    let teacher = teacher(dir.path());
    let report = run(distilled(dir.path(), &teacher, "run")).unwrap();
    let run_dir = dir.path().join("run");
    let read = |file: &str| std::fs::read_to_string(run_dir.join(file)).unwrap();
    assert!(read("config.toml").contains(&format!("teacher = [\"{teacher}\"]")));
    assert!(read("report.html").contains("teachers: "));
    let card = std::fs::read_to_string(report.best.join("README.md")).unwrap();
    assert!(
        card.contains("Distilled from `teacher/best` (Hinton et al. 2015)."),
        "{card}"
    );
}

#[test]
fn what_cannot_teach_is_said_before_the_first_step() {
    let dir = tempfile::tempdir().unwrap();
    let teacher = teacher(dir.path());
    let error = |options| run(options).unwrap_err().to_string();
    let absent = dir.path().join("absent").to_string_lossy().into_owned();
    let found = error(distilled(dir.path(), &absent, "run"));
    assert!(found.contains("absent"), "{found}");
    let missing = TrainOptions {
        unlabelled: Some(vec![dir.path().join("none.txt")]),
        ..distilled(dir.path(), &teacher, "run")
    };
    let found = error(missing);
    assert!(
        found.contains("`unlabelled`") && found.contains("none.txt"),
        "{found}"
    );
    for split in ["train", "dev"] {
        let path = dir.path().join(format!("{split}.conll"));
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, text + "dog\tB-animal\n\n").unwrap();
    }
    let found = error(distilled(dir.path(), &teacher, "run"));
    assert!(
        found.contains("it lacks B-animal, I-animal; only it has none"),
        "{found}"
    );
    assert!(!dir.path().join("run").exists());
    let held = dir.path().join("teacher");
    let again = TrainOptions {
        out: Some(held),
        ..distilled(dir.path(), &teacher, "run")
    };
    assert!(matches!(run(again), Err(TrainError::HoldsRun { .. })));
}

#[test]
fn accumulated_batches_with_teachers_are_one_larger_batch() {
    let dir = tempfile::tempdir().unwrap();
    let teacher = teacher(dir.path());
    let text = unlabeled(dir.path(), "text.txt", TEXT);
    let steps = |batch_size, accumulate, out: &str| {
        let options = TrainOptions {
            epochs: Some(1),
            batch_size: Some(batch_size),
            accumulate: Some(accumulate),
            class_weights: Some("O=0.25,B-per=3".parse().unwrap()),
            unlabelled: Some(vec![text.clone()]),
            dropout: Some(0.0),
            attention_dropout: Some(0.0),
            learning_rate: Some(1e-3),
            warmup: Some(0.0),
            threads: Some(1),
            ..distilled(dir.path(), &teacher, out)
        };
        run(options).unwrap().steps
    };
    let (parted, whole) = (steps(5, 2, "parted"), steps(10, 1, "whole"));
    assert_eq!((parted.len(), whole.len()), (3, 3));
    for (parted, whole) in parted.iter().zip(&whole) {
        let close = |a: f64, b: f64| (a - b).abs() < 1e-5 * b.abs().max(1.0);
        assert!(close(parted.loss, whole.loss), "{} {}", parted.loss, whole.loss);
        assert!(close(parted.gradient_norm, whole.gradient_norm));
    }
}
