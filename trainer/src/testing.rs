//! What tests share: a server that behaves as the hub does, a tiny corpus with its vocabulary, a tiny model.

#[path = "../../tests/hub.rs"]
pub(crate) mod hub;

use std::path::Path;

use crate::train::options::{Init, TrainOptions};

/// Writes `vocab.txt` and a corpus, in which every `ann` and `bob` is a person, as train and dev.
pub(crate) fn write_corpus(dir: &Path) {
    let specials = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\n";
    std::fs::write(
        dir.join("vocab.txt"),
        format!("{specials}ann\nbob\nsees\nand\na\ndog\n"),
    )
    .unwrap();
    let text = "Ann\tB-per\nsees\tO\na\tO\ndog\tO\n\nBob\tB-per\nand\tO\nAnn\tB-per\n\na\tO\ndog\tO\nsees\tO\nBob\tB-per\n\n";
    std::fs::write(dir.join("train.conll"), text.repeat(6)).unwrap();
    std::fs::write(dir.join("dev.conll"), text).unwrap();
    std::fs::write(dir.join("test.conll"), "Ann\tB-per\nsees\tO\nRome\tB-loc\n").unwrap();
}

/// The options of a training of a tiny model from random weights on the corpus in `dir`, in `dir/out`.
pub(crate) fn tiny_options(dir: &Path, out: &str) -> TrainOptions {
    TrainOptions {
        data: Some(dir.to_string_lossy().into_owned()),
        out: Some(dir.join(out)),
        init: Some(Init::Scratch),
        vocab: Some(dir.to_owned()),
        hidden_size: Some(32),
        epochs: Some(12),
        batch_size: Some(4),
        learning_rate: Some(5e-3),
        threads: Some(2),
        ..TrainOptions::default()
    }
}
