//! A tagger's score on the words as a corpus splits them.

use std::collections::BTreeSet;

use nerve_tagging::{LabelSet, OrphanRule, Score, Scorer, Tag, WordLabel};
use serde::{Deserialize, Serialize};

use super::calibration::negative_log_likelihood;
use super::{Tagger, TaggerError};
use crate::corpus::{Corpus, entity_types};

/// A tagger's score on a corpus, by both readings of an `I-X` that continues nothing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Evaluation {
    /// It starts an entity: the figures to report.
    #[serde(flatten)]
    pub score: Score,
    /// It is dropped: strict IOB2.
    pub strict: Score,
}

/// The score of a tagger's labels for the corpus' words.
pub fn evaluate(tagger: &mut dyn Tagger, corpus: &Corpus) -> Result<Evaluation, TaggerError> {
    let found = tagger.tag(&corpus.words())?;
    Ok(evaluation_of(tagger.labels(), corpus, &found))
}

/// [`evaluate`], and the mean negative log-likelihood of the words' labels, read at their first subwords, where the tagger
/// shows logits and knows a label of the corpus.
pub(crate) fn evaluate_with_loss(
    tagger: &mut dyn Tagger,
    corpus: &Corpus,
) -> Result<(Evaluation, Option<f64>), TaggerError> {
    let (found, logits) = tagger.tag_with_logits(&corpus.words())?;
    let own = tagger.labels();
    let loss = logits.and_then(|logits| negative_log_likelihood(own, &logits, corpus));
    Ok((evaluation_of(own, corpus, &found), loss))
}

/// The score of labels, out of `own`, for the corpus' words.
pub(super) fn evaluation_of(own: &LabelSet, corpus: &Corpus, found: &[Vec<WordLabel>]) -> Evaluation {
    let labels = all_labels(own, corpus);
    let mut scorers = [OrphanRule::Start, OrphanRule::Drop].map(|orphans| Scorer::new(&labels, orphans));
    for (sentence, found) in corpus.sentences.iter().zip(found) {
        let gold = tags(&labels, sentence.tags.iter().map(String::as_str));
        let predicted = predicted_tags(&labels, own, found);
        for scorer in &mut scorers {
            scorer.add(&sentence.words, &gold, &predicted);
        }
    }
    let [score, strict] = scorers.map(|scorer| scorer.finish());
    Evaluation { score, strict }
}

/// The labels of a tagger's and the corpus' types: an entity of a type the tagger does not know is one it misses.
pub(super) fn all_labels(known: &LabelSet, corpus: &Corpus) -> LabelSet {
    let mut types: BTreeSet<String> = entity_types([corpus]);
    types.extend(known.types().iter().cloned());
    // Distinct types always make a label set; the tagger's own would score what it knows.
    LabelSet::iob2(types).unwrap_or_else(|_| known.clone())
}

/// The tags of label names; `O` for a name that is not a label.
pub(super) fn tags<'n>(labels: &LabelSet, names: impl Iterator<Item = &'n str>) -> Vec<Tag> {
    let tag = |name| labels.tag(labels.parse(name)?);
    names.map(|name| tag(name).unwrap_or(Tag::Outside)).collect()
}

/// The IOB2 tags, in `labels`, of a tagger's answers in its own, whatever scheme those are in.
pub(super) fn predicted_tags(labels: &LabelSet, own: &LabelSet, found: &[WordLabel]) -> Vec<Tag> {
    let same_type = |of| labels.parse_type(own.type_name(of)?);
    let translate = |tag| match tag {
        Tag::Begin(of) => same_type(of).map(Tag::Begin),
        Tag::Inside(of) => same_type(of).map(Tag::Inside),
        Tag::End(_) | Tag::Single(_) | Tag::Outside => None,
    };
    let own_tags = own.iob2_tags(found.iter().map(|word| word.label));
    own_tags
        .into_iter()
        .map(|tag| translate(tag).unwrap_or(Tag::Outside))
        .collect()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use nerve_tagging::{ByteSpan, split_corpus};

    /// Tags the words it knows.
    pub(crate) struct Lexicon {
        pub(crate) labels: LabelSet,
        pub(crate) words: Vec<(&'static str, &'static str)>,
    }

    impl Tagger for Lexicon {
        fn labels(&self) -> &LabelSet {
            &self.labels
        }

        fn split(&self, text: &str) -> Result<Vec<ByteSpan>, TaggerError> {
            Ok(split_corpus(text))
        }

        fn tag(&mut self, sentences: &[Vec<String>]) -> Result<Vec<Vec<WordLabel>>, TaggerError> {
            let label = |word: &String| WordLabel {
                label: self
                    .words
                    .iter()
                    .find(|(known, _)| known == word)
                    .and_then(|(_, name)| self.labels.parse(name))
                    .unwrap_or(self.labels.outside()),
                score: 1.0,
            };
            Ok(sentences
                .iter()
                .map(|words| words.iter().map(label).collect())
                .collect())
        }
    }

    pub(crate) fn corpus(text: &str) -> Corpus {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.conll");
        std::fs::write(&path, text).unwrap();
        Corpus::read(&path).unwrap()
    }

    #[test]
    fn a_tagger_of_another_scheme_is_scored_by_its_entities() {
        let mut tagger = Lexicon {
            labels: LabelSet::learn(["O", "B-per", "E-per", "S-per", "S-loc"]).unwrap(),
            words: vec![
                ("Ann", "B-per"),
                ("Lee", "E-per"),
                ("Bob", "S-per"),
                ("Rome", "S-loc"),
            ],
        };
        let corpus = corpus("Ann\tB-per\nLee\tI-per\nBob\tB-per\n\nRome\tB-loc\n");
        let found = evaluate(&mut tagger, &corpus).unwrap();
        assert_eq!((found.score.counts.predicted, found.score.counts.correct), (3, 3));
        assert_eq!(found.strict.counts.correct, 3);
        assert_eq!(found.score.token_accuracy, 1.0);
    }

    #[test]
    fn unknown_types_are_missed_and_orphans_told_apart() {
        let mut tagger = Lexicon {
            labels: LabelSet::from_names(["B-per", "O", "I-per"]).unwrap(),
            words: vec![("Bob", "I-per"), ("Ann", "B-per")],
        };
        let corpus = corpus("Bob\tB-per\nin\tO\nRome\tB-loc\n\nAnn\tB-per\n");
        let found = evaluate(&mut tagger, &corpus).unwrap();
        assert_eq!((found.score.counts.gold, found.score.counts.correct), (3, 2));
        assert_eq!(found.strict.counts.correct, 1);
        assert_eq!(found.score.token_accuracy, 0.5);
    }
}
