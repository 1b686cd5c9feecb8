//! A tiny corpus with its vocabulary.

use std::path::Path;

/// Writes `vocab.txt` and a corpus in which every `ann` and `bob` is a person.
pub(crate) fn write_corpus(dir: &Path) {
    let vocabulary = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nann\nbob\nsees\nand\na\ndog\n";
    std::fs::write(dir.join("vocab.txt"), vocabulary).unwrap();
    let text = "Ann\tB-per\nsees\tO\na\tO\ndog\tO\n\nBob\tB-per\nand\tO\nAnn\tB-per\n\na\tO\ndog\tO\nsees\tO\nBob\tB-per\n\n";
    std::fs::write(dir.join("train.conll"), text.repeat(6)).unwrap();
    for split in ["dev", "test"] {
        std::fs::write(dir.join(format!("{split}.conll")), text).unwrap();
    }
}
