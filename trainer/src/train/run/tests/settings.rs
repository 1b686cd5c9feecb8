//! What a training does differently for each option.

use super::*;

#[test]
fn accumulated_batches_are_one_larger_batch_whatever_their_tokens_weigh() {
    let dir = tempfile::tempdir().unwrap();
    write_corpus(dir.path());
    let base = run(TrainOptions {
        epochs: Some(1),
        ..options(dir.path(), "base")
    })
    .unwrap()
    .best;
    let steps = |batch_size, accumulate, adversarial, out: &str| {
        let options = TrainOptions {
            base: Some(base.to_string_lossy().into_owned()),
            data: Some(dir.path().to_string_lossy().into_owned()),
            out: Some(dir.path().join(out)),
            epochs: Some(1),
            batch_size: Some(batch_size),
            accumulate: Some(accumulate),
            adversarial,
            class_weights: Some("O=0.25,B-per=3".parse().unwrap()),
            dropout: Some(0.0),
            // Batches of other sizes would draw other masks.
            attention_dropout: Some(0.0),
            learning_rate: Some(1e-3),
            // The step before the last must move the weights for the last to tell.
            warmup: Some(0.0),
            threads: Some(1),
            ..TrainOptions::default()
        };
        run(options).unwrap().steps
    };
    // 18 sentences of 3 or 4 words in batches of 5, 5, 5 and 3: the batches of the last step differ in size.
    let (parted, whole) = (steps(5, 2, None, "parted"), steps(10, 1, None, "whole"));
    assert_eq!((parted.len(), parted[1].lines.len()), (2, 8));
    // The embeddings of each window are moved by themselves, whatever the batch.
    let moved = [
        steps(5, 2, Some(0.5), "parted-2"),
        steps(10, 1, Some(0.5), "whole-2"),
    ];
    assert!(moved[0][0].gradient_norm > 1.5 * parted[0].gradient_norm);
    for (parted, whole) in parted.iter().zip(&whole).chain(moved[0].iter().zip(&moved[1])) {
        assert_eq!(parted.lines, whole.lines);
        let close = |a: f64, b: f64| (a - b).abs() < 1e-6 * b.abs().max(1.0);
        assert!(close(parted.loss, whole.loss), "{} {}", parted.loss, whole.loss);
        assert!(
            close(parted.gradient_norm, whole.gradient_norm),
            "{} {}",
            parted.gradient_norm,
            whole.gradient_norm
        );
    }
}

#[test]
fn every_optimizer_schedule_and_loss_trains() {
    let dir = tempfile::tempdir().unwrap();
    write_corpus(dir.path());
    for (at, text) in [
        "optimizer = \"sgd\"\nmomentum = 0.9\nnesterov = true\nlearning_rate = 0.1",
        "schedule = \"cosine\"\nlayer_decay = 0.9\nhead_learning_rate = 0.01",
        "schedule = \"step\"\nstep_epochs = 6\ngroup_by_length = true",
        "schedule = \"plateau\"\nplateau_patience = 3\nclip = 0.0",
        "loss = \"focal\"\nclass_weights = \"balanced\"",
        "label_smoothing = 0.1\nlabel_subwords = \"all\"",
        "r_drop = 0.5\nloss = \"focal\"\nclass_weights = \"balanced\"",
        "adversarial = 0.5\nfreeze_embeddings = true",
        "r_drop = 0.5\nadversarial = 0.5\naccumulate = 2",
        "schedule = \"constant\"\nfreeze = [\"token_type\", \"LayerNorm\"]\nsubset = 9",
    ]
    .into_iter()
    .enumerate()
    {
        let extra: TrainOptions = toml::from_str(text).unwrap();
        let report = run(extra.or(options(dir.path(), &format!("run-{at}")))).unwrap();
        let (first, last) = (&report.records[0], &report.records[11]);
        assert!(
            last.loss < 0.7 * first.loss,
            "{text}: {} {}",
            first.loss,
            last.loss
        );
    }
    let l1 = toml::from_str::<TrainOptions>("loss = \"l1\"").unwrap();
    let report = run(l1.or(options(dir.path(), "l1"))).unwrap();
    assert!(report.records[11].loss < report.records[0].loss);
}

#[test]
fn what_is_frozen_stays_and_a_pattern_must_match() {
    let dir = tempfile::tempdir().unwrap();
    write_corpus(dir.path());
    let with = |freeze: &str, out: &str| {
        run(TrainOptions {
            freeze: Some(vec![freeze.to_owned()]),
            epochs: Some(1),
            ..options(dir.path(), out)
        })
    };
    let error = with("layer.7", "a").unwrap_err();
    assert!(matches!(error, TrainError::FreezesNothing { .. }), "{error}");
    assert!(matches!(with(".", "b"), Err(TrainError::FreezesAll)));
    let error = run(TrainOptions {
        freeze_layers: Some(3),
        ..options(dir.path(), "e")
    });
    assert!(matches!(
        error,
        Err(TrainError::FreezeLayers { frozen: 3, layers: 2 })
    ));
    with("embeddings", "c").unwrap();
    run(TrainOptions {
        epochs: Some(1),
        ..options(dir.path(), "d")
    })
    .unwrap();
    let epoch = |freeze_layers, freeze_embeddings, out: &str| {
        run(TrainOptions {
            freeze_layers,
            freeze_embeddings,
            epochs: Some(1),
            ..options(dir.path(), out)
        })
        .unwrap();
    };
    epoch(Some(1), None, "f");
    epoch(Some(1), Some(true), "g");
    let config_of = |out: &str| TrainConfig::new(options(dir.path(), out)).unwrap();
    let tensor = |out: &str, name: &str| {
        let path: PathBuf = dir.path().join(out).join("last");
        let (network, _) = ModelDir::open(&path)
            .unwrap()
            .into_tagger(&nerve_tagging::LabelSet::iob2(["per"]).unwrap(), 0)
            .unwrap();
        let tensor = network.parameters().get(name).unwrap();
        tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap()
    };
    let words = |out: &str| tensor(out, "bert.embeddings.word_embeddings.weight");
    let layer = |out: &str, index| tensor(out, &format!("bert.encoder.layer.{index}.output.dense.weight"));
    assert_ne!(layer("f", 0), layer("d", 0));
    let fresh = crate::base::open::open_base(&config_of("f").start, 128).unwrap();
    let (fresh, _) = fresh
        .into_tagger(&nerve_tagging::LabelSet::iob2(["per"]).unwrap(), 42)
        .unwrap();
    let drawn = |index| {
        let name = format!("bert.encoder.layer.{index}.output.dense.weight");
        let tensor = fresh.parameters().get(&name).unwrap();
        tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap()
    };
    assert_eq!(layer("f", 0), drawn(0));
    assert_ne!(layer("f", 1), drawn(1));
    assert_ne!(words("c"), words("d"));
    let drawn_words = fresh
        .parameters()
        .get("bert.embeddings.word_embeddings.weight")
        .unwrap();
    let drawn_words: Vec<f32> = drawn_words.flatten_all().unwrap().to_vec1().unwrap();
    assert_ne!(words("f"), drawn_words);
    assert_eq!((words("g"), layer("g", 0)), (drawn_words, drawn(0)));
    assert_ne!(layer("g", 1), drawn(1));
}

#[test]
fn a_base_can_lend_its_first_layers() {
    let dir = tempfile::tempdir().unwrap();
    write_corpus(dir.path());
    let best = run(TrainOptions {
        epochs: Some(1),
        ..options(dir.path(), "first")
    })
    .unwrap()
    .best;
    let with = |layers, out: &str| {
        run(TrainOptions {
            base: Some(best.to_string_lossy().into_owned()),
            data: Some(dir.path().to_string_lossy().into_owned()),
            out: Some(dir.path().join(out)),
            epochs: Some(1),
            layers: Some(layers),
            ..TrainOptions::default()
        })
    };
    let kept = with(1, "kept").unwrap().best;
    let config = std::fs::read_to_string(kept.join("config.json")).unwrap();
    assert!(config.contains("\"num_hidden_layers\": 1"), "{config}");
    assert!(with(3, "more").unwrap_err().to_string().contains("`layers` is 3"));
}
