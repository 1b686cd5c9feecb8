//! The answers of a tagger to the sentences of a corpus.

use nerve_corpus::Corpus;
use nerve_inference::{TagError, Tagger};
use nerve_tagging::{ComparableTags, Counts, Entity, Evaluation, LabelSet, OrphanRule, WordLabel, entities};

use crate::evaluate::errors::{AnalyzedSentence, ErrorAnalysis, analyze_errors};

/// The labels that a tagger gives to the words of a corpus.
#[derive(Clone, Debug, PartialEq)]
pub struct Answers {
    /// The labels of the tagger.
    pub labels: LabelSet,
    /// A label for every word of every sentence.
    pub words: Vec<Vec<WordLabel>>,
}

impl Answers {
    /// The answers of a tagger to a corpus.
    pub fn of(tagger: &mut dyn Tagger, corpus: &Corpus) -> Result<Self, TagError> {
        Ok(Self {
            words: tagger.tag(&corpus.words())?.labels,
            labels: tagger.labels().clone(),
        })
    }

    /// The scores on the corpus that was answered.
    pub fn evaluation(&self, corpus: &Corpus) -> Evaluation {
        Evaluation::of(&self.labels, &corpus.sentences, &self.words)
    }

    /// The errors on the corpus that was answered.
    pub fn errors(&self, corpus: &Corpus) -> ErrorAnalysis {
        let comparable = ComparableTags::new(&self.labels, &corpus.sentences);
        let pairs = self.entities(&comparable, corpus);
        let sentences = corpus.sentences.iter().zip(&pairs);
        let analyzed = sentences
            .map(|(sentence, (gold, predicted))| -> AnalyzedSentence { (&sentence.words, gold, predicted) });
        analyze_errors(comparable.labels(), analyzed)
    }

    /// The numbers of gold, predicted and correct entities of each sentence of the corpus that was answered.
    pub fn counts(&self, corpus: &Corpus) -> Vec<Counts> {
        let comparable = ComparableTags::new(&self.labels, &corpus.sentences);
        let of_sentence = |(gold, predicted): &(Vec<Entity>, Vec<Entity>)| Counts {
            gold: gold.len(),
            predicted: predicted.len(),
            correct: predicted.iter().filter(|entity| gold.contains(entity)).count(),
        };
        self.entities(&comparable, corpus)
            .iter()
            .map(of_sentence)
            .collect()
    }

    /// The gold and the predicted entities of each sentence.
    fn entities(&self, comparable: &ComparableTags<'_>, corpus: &Corpus) -> Vec<(Vec<Entity>, Vec<Entity>)> {
        let of_sentence = |(sentence, answer)| {
            let (gold, predicted) = (comparable.gold(sentence), comparable.predicted(answer));
            (
                entities(gold, OrphanRule::Start),
                entities(predicted, OrphanRule::Start),
            )
        };
        corpus
            .sentences
            .iter()
            .zip(self.words.iter().map(Vec::as_slice))
            .map(of_sentence)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evaluate::evaluation::tests::{Lexicon, corpus};

    #[test]
    fn the_counts_of_the_sentences_add_up_to_those_of_the_score() {
        let corpus = corpus("Ann\tB-per\nLee\tI-per\nin\tO\nRome\tB-loc\n\nBob\tB-per\nUlm\tO\n");
        let mut tagger = Lexicon {
            labels: LabelSet::iob2(["per"]).unwrap(),
            words: vec![("Ann", "B-per"), ("Bob", "B-per"), ("Ulm", "B-per")],
        };
        let answers = Answers::of(&mut tagger, &corpus).unwrap();
        let counts = |gold, predicted, correct| Counts {
            gold,
            predicted,
            correct,
        };
        assert_eq!(answers.counts(&corpus), [counts(2, 1, 0), counts(1, 2, 1)]);
        assert_eq!(answers.evaluation(&corpus).score.counts, counts(3, 3, 1));
    }
}
