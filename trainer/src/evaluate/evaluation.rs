//! The evaluation of a tagger on the words of a corpus.

use nerve_corpus::{Corpus, entity_types};
use nerve_inference::{TagError, Tagger};
use nerve_tagging::{Evaluation, LabelSet};

use crate::evaluate::calibration::negative_log_likelihood;

/// A warning that no entity of the corpus can be found, because its types and the model's have nothing in common.
pub fn types_warning(labels: &LabelSet, corpus: &Corpus) -> Option<String> {
    let of_file = entity_types([corpus]);
    let common = of_file.iter().any(|name| labels.parse_type(name).is_some());
    if common || of_file.is_empty() {
        return None;
    }
    let of_file: Vec<String> = of_file.into_iter().collect();
    Some(format!(
        "the model has none of the file's types: {}; it has {}",
        of_file.join(", "),
        labels.types().join(", ")
    ))
}

/// The scores of a tagger on the words of a corpus, and the mean negative log-likelihood of the gold labels in nats
/// per word.
///
/// The logits of a word are those of its first subword. The negative log-likelihood is `None` if the tagger has no
/// logits or no label of the corpus, or if its labels do not depend on the logits of their word alone.
pub(crate) fn evaluate_with_loss(
    tagger: &mut dyn Tagger,
    corpus: &Corpus,
) -> Result<(Evaluation, Option<f64>), TagError> {
    let tagged = tagger.tag(&corpus.words())?;
    let labels = tagger.labels();
    let loss = tagged
        .logits
        .filter(|_| !tagger.decoder().has_transitions())
        .and_then(|logits| negative_log_likelihood(labels, &logits, corpus));
    Ok((Evaluation::of(labels, &corpus.sentences, &tagged.labels), loss))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use nerve_inference::TaggedSentences;
    use nerve_tagging::{ByteSpan, LabelSet, WordLabel, split_corpus};

    /// A tagger that labels the words of a fixed list.
    pub(crate) struct Lexicon {
        pub(crate) labels: LabelSet,
        pub(crate) words: Vec<(&'static str, &'static str)>,
    }

    impl Tagger for Lexicon {
        fn labels(&self) -> &LabelSet {
            &self.labels
        }

        fn split(&self, text: &str) -> Result<Vec<ByteSpan>, TagError> {
            Ok(split_corpus(text))
        }

        fn tag(&mut self, sentences: &[Vec<String>]) -> Result<TaggedSentences, TagError> {
            let label = |word: &String| WordLabel {
                label: self
                    .words
                    .iter()
                    .find(|(known, _)| known == word)
                    .and_then(|(_, name)| self.labels.parse(name))
                    .unwrap_or(self.labels.outside()),
                score: 1.0,
            };
            let of_sentence = |words: &Vec<String>| words.iter().map(label).collect();
            Ok(TaggedSentences {
                labels: sentences.iter().map(of_sentence).collect(),
                logits: None,
            })
        }
    }

    pub(crate) fn corpus(text: &str) -> Corpus {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.conll");
        std::fs::write(&path, text).unwrap();
        Corpus::read(&path).unwrap()
    }

    #[test]
    fn a_file_without_a_type_of_the_model_is_warned_of() {
        let labels = LabelSet::iob2(["location", "person"]).unwrap();
        assert_eq!(
            types_warning(&labels, &corpus("a B-PER\nb I-PER\nc B-LOC\n")).as_deref(),
            Some("the model has none of the file's types: LOC, PER; it has location, person")
        );
        for text in ["a B-person\nb B-LOC\n", "a O\n"] {
            assert_eq!(types_warning(&labels, &corpus(text)), None);
        }
    }
}
