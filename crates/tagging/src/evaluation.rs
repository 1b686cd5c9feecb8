//! Scores of a tagger's labels against the tags of a corpus.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::decode::WordLabel;
use crate::entity::OrphanRule;
use crate::label::LabelSet;
use crate::score::{Score, Scorer};
use crate::sentence::Sentence;
use crate::tag::Tag;

/// The scores of a tagger on labeled sentences, under both rules for an orphan `I-X` ([`OrphanRule`]).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Evaluation {
    /// The score under [`OrphanRule::Start`], which is the one to report.
    #[serde(flatten)]
    pub score: Score,
    /// The score under [`OrphanRule::Drop`], that is, strict IOB2.
    pub strict: Score,
}

impl Evaluation {
    /// The evaluation of `answers`, a tagger's labels of the words of each sentence.
    ///
    /// A gold entity whose type is not in the tagger's `labels` counts as missed.
    pub fn of(labels: &LabelSet, sentences: &[Sentence], answers: &[Vec<WordLabel>]) -> Self {
        let tags = ComparableTags::new(labels, sentences);
        let scorer = |orphans| Scorer::new(tags.labels(), orphans);
        let (mut score, mut strict) = (scorer(OrphanRule::Start), scorer(OrphanRule::Drop));
        for (sentence, answer) in sentences.iter().zip(answers) {
            let (gold, predicted) = (tags.gold(sentence), tags.predicted(answer));
            for scorer in [&mut score, &mut strict] {
                scorer.add(&sentence.words, &gold, &predicted);
            }
        }
        Self {
            score: score.finish(),
            strict: strict.finish(),
        }
    }
}

/// A mapping from the tags of a corpus and the labels of a tagger to one label set with the entity types of both.
pub struct ComparableTags<'l> {
    tagger_labels: &'l LabelSet,
    labels: LabelSet,
}

impl<'l> ComparableTags<'l> {
    /// The mapping for a tagger with these labels and sentences with IOB2 tags.
    pub fn new(tagger_labels: &'l LabelSet, sentences: &[Sentence]) -> Self {
        let tags = sentences.iter().flat_map(|sentence| &sentence.tags);
        let mut types: BTreeSet<&str> = tags
            .filter_map(|tag| tag.split_once('-').map(|(_, name)| name))
            .collect();
        types.extend(tagger_labels.types().iter().map(String::as_str));
        Self {
            tagger_labels,
            // Distinct types always form a label set, so the alternative is never taken.
            labels: LabelSet::iob2(types).unwrap_or_else(|_| tagger_labels.clone()),
        }
    }

    /// The label set that both are mapped to.
    pub fn labels(&self) -> &LabelSet {
        &self.labels
    }

    /// The tags of a sentence. A tag that is not IOB2 becomes `O`.
    pub fn gold(&self, sentence: &Sentence) -> Vec<Tag> {
        let tag = |name: &String| self.labels.tag(self.labels.parse(name)?);
        let tags = sentence.tags.iter();
        tags.map(|name| tag(name).unwrap_or(Tag::Outside)).collect()
    }

    /// The IOB2 tags of a tagger's labels, which may be in any scheme.
    pub fn predicted(&self, answer: &[WordLabel]) -> Vec<Tag> {
        let own = self.tagger_labels;
        let same_type = |of| self.labels.parse_type(own.type_name(of)?);
        let translate = |tag| match tag {
            Tag::Begin(of) => same_type(of).map(Tag::Begin),
            Tag::Inside(of) => same_type(of).map(Tag::Inside),
            Tag::End(_) | Tag::Single(_) | Tag::Outside => None,
        };
        own.iob2_tags(answer.iter().map(|word| word.label))
            .into_iter()
            .map(|tag| translate(tag).unwrap_or(Tag::Outside))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sentence(words: &[&str], tags: &[&str]) -> Sentence {
        let owned = |all: &[&str]| all.iter().map(|&one| one.to_owned()).collect();
        Sentence {
            words: owned(words),
            tags: owned(tags),
        }
    }

    fn answer(labels: &LabelSet, names: &[&str]) -> Vec<WordLabel> {
        let label = |name: &&str| WordLabel {
            label: labels.parse(name).unwrap(),
            score: 1.0,
        };
        names.iter().map(label).collect()
    }

    #[test]
    fn a_tagger_of_another_scheme_is_scored_by_its_entities() {
        let labels = LabelSet::learn(["O", "B-per", "E-per", "S-per", "S-loc"]).unwrap();
        let sentences = [
            sentence(&["Ann", "Lee", "Bob"], &["B-per", "I-per", "B-per"]),
            sentence(&["Rome"], &["B-loc"]),
        ];
        let answers = [
            answer(&labels, &["B-per", "E-per", "S-per"]),
            answer(&labels, &["S-loc"]),
        ];
        let found = Evaluation::of(&labels, &sentences, &answers);
        assert_eq!((found.score.counts.predicted, found.score.counts.correct), (3, 3));
        assert_eq!(found.strict.counts.correct, 3);
        assert_eq!(found.score.token_accuracy, 1.0);
    }

    #[test]
    fn unknown_types_are_missed_and_orphans_told_apart() {
        let labels = LabelSet::from_names(["B-per", "O", "I-per"]).unwrap();
        let sentences = [
            sentence(&["Bob", "in", "Rome"], &["B-per", "O", "B-loc"]),
            sentence(&["Ann"], &["B-per"]),
        ];
        let answers = [answer(&labels, &["I-per", "O", "O"]), answer(&labels, &["B-per"])];
        let found = Evaluation::of(&labels, &sentences, &answers);
        assert_eq!((found.score.counts.gold, found.score.counts.correct), (3, 2));
        assert_eq!(found.strict.counts.correct, 1);
        assert_eq!(found.score.token_accuracy, 0.5);
    }
}
