//! The evaluation of a tagger on the words of a corpus.

use nerve_corpus::Corpus;
use nerve_inference::{TagError, Tagger};
use nerve_tagging::Evaluation;

use crate::evaluate::calibration::negative_log_likelihood;

/// The scores of a tagger on the words of a corpus, and the mean negative log-likelihood of the gold labels in nats
/// per word.
///
/// The logits of a word are those of its first subword. The negative log-likelihood is `None` if the tagger has no
/// logits or no label of the corpus.
pub(crate) fn evaluate_with_loss(
    tagger: &mut dyn Tagger,
    corpus: &Corpus,
) -> Result<(Evaluation, Option<f64>), TagError> {
    let tagged = tagger.tag(&corpus.words())?;
    let labels = tagger.labels();
    let loss = tagged
        .logits
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
}
