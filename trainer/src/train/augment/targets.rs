//! The targets of a changed sentence.

use nerve_tagging::LabelSet;

use crate::train::augment::augmenter::AugmentedSentence;
use crate::train::augment::word::WordSource;
use crate::train::example::SentenceTargets;

/// The words of a changed sentence with their targets: those of the unchanged sentence follow their words, a symbol is `O` for
/// certain, and the words of a changed mention have their label and no teacher's distribution.
pub(in crate::train) fn changed_targets(
    original: &SentenceTargets,
    changed: AugmentedSentence,
    labels: &LabelSet,
) -> SentenceTargets {
    let width = original.soft.len() / original.words.len().max(1);
    let mut targets = SentenceTargets {
        unlabeled: original.unlabeled,
        ..SentenceTargets::default()
    };
    for word in changed.words {
        let label = match word.source {
            WordSource::Sentence(at) => {
                let row = original.soft.get(at * width..(at + 1) * width);
                targets.soft.extend_from_slice(row.unwrap_or_default());
                original.labels.get(at).copied().flatten()
            }
            WordSource::Symbol => {
                let outside = labels.outside();
                let probability = |label| if label == outside.0 { 1.0 } else { 0.0 };
                targets.soft.extend((0..width).map(probability));
                Some(outside)
            }
            WordSource::Mention => {
                targets.soft.resize(targets.soft.len() + width, 0.0);
                labels.parse(&word.tag)
            }
        };
        targets.labels.push(label);
        targets.hidden.push(changed.mask.filter(|_| word.hidden));
        targets.words.push(word.text);
    }
    targets
}

#[cfg(test)]
mod tests {
    use nerve_tagging::LabelId;

    use super::*;
    use crate::train::augment::word::AugmentedWord;

    fn word(text: &str, tag: &str, source: WordSource, hidden: bool) -> AugmentedWord {
        AugmentedWord {
            text: text.to_owned(),
            tag: tag.to_owned(),
            source,
            hidden,
        }
    }

    #[test]
    fn targets_follow_their_words() {
        let labels = LabelSet::iob2(["x"]).unwrap();
        let original = SentenceTargets {
            words: ["Ann", "sees"].map(str::to_owned).to_vec(),
            labels: vec![Some(LabelId(1)), None],
            soft: vec![0.2, 0.7, 0.1, 0.0, 0.0, 0.0],
            ..SentenceTargets::default()
        };
        let words = vec![
            word("😀", "O", WordSource::Symbol, false),
            word("Bob", "B-x", WordSource::Mention, true),
            word("Lee", "I-x", WordSource::Mention, false),
            word("ANN", "B-x", WordSource::Sentence(0), true),
            word("sees", "O", WordSource::Sentence(1), false),
        ];
        let changed = |mask| AugmentedSentence {
            words: words.clone(),
            mask,
        };
        let found = changed_targets(&original, changed(Some(4)), &labels);
        assert_eq!(found.words, ["😀", "Bob", "Lee", "ANN", "sees"]);
        let label = |label| Some(LabelId(label));
        assert_eq!(found.labels, [label(0), label(1), label(2), label(1), None]);
        let rows: Vec<&[f32]> = found.soft.chunks(3).collect();
        let zeros = [0.0; 3];
        assert_eq!(
            rows,
            [&[1.0, 0.0, 0.0][..], &zeros, &zeros, &[0.2, 0.7, 0.1], &zeros]
        );
        assert_eq!(found.hidden, [None, Some(4), None, Some(4), None]);
        let without_teachers = SentenceTargets {
            soft: Vec::new(),
            unlabeled: true,
            ..original
        };
        let found = changed_targets(&without_teachers, changed(None), &labels);
        assert!(found.soft.is_empty() && found.unlabeled);
    }
}
