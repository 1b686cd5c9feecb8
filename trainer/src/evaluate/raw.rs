//! The evaluation of a tagger on running text, which includes the errors of splitting text into words.

use nerve_corpus::Corpus;
use nerve_inference::{TagError, Tagger};
use nerve_tagging::{
    ByteSpan, ComparableTags, LabelSet, OrphanRule, Tag, detokenize, entities, trim_invisible,
};

use crate::evaluate::spans::{SpanScore, TextEntity, score_spans};

/// The score, by character spans, of a tagger that splits each sentence of a corpus into words itself.
pub fn evaluate_raw(tagger: &mut dyn Tagger, corpus: &Corpus) -> Result<SpanScore, TagError> {
    let texts: Vec<(String, Vec<ByteSpan>)> = corpus.sentences.iter().map(|s| detokenize(&s.words)).collect();
    let split = texts
        .iter()
        .map(|(text, _)| tagger.split(text))
        .collect::<Result<Vec<Vec<ByteSpan>>, _>>()?;
    let words: Vec<Vec<String>> = texts
        .iter()
        .zip(&split)
        .map(|((text, _), spans)| {
            let word = |span: &ByteSpan| span.slice(text).unwrap_or_default().to_owned();
            spans.iter().map(word).collect()
        })
        .collect();
    let found = tagger.tag(&words)?.labels;
    let comparable = ComparableTags::new(tagger.labels(), &corpus.sentences);
    let labels = comparable.labels();
    let pairs: Vec<(Vec<TextEntity>, Vec<TextEntity>)> = corpus
        .sentences
        .iter()
        .enumerate()
        .map(|(index, sentence)| {
            let (gold, predicted) = (comparable.gold(sentence), comparable.predicted(&found[index]));
            (
                text_entities(labels, gold, &texts[index].0, &texts[index].1),
                text_entities(labels, predicted, &texts[index].0, &split[index]),
            )
        })
        .collect();
    Ok(score_spans(
        pairs.iter().map(|(gold, found)| (&gold[..], &found[..])),
    ))
}

/// The entities of tagged words, as spans of the text that contains the words, without invisible characters at their edges.
fn text_entities(labels: &LabelSet, tags: Vec<Tag>, text: &str, words: &[ByteSpan]) -> Vec<TextEntity> {
    entities(tags, OrphanRule::Start)
        .into_iter()
        .filter_map(|entity| {
            let covered = words.get(entity.words.range())?;
            Some(TextEntity {
                span: trim_invisible(text, covered.first()?.cover(*covered.last()?)),
                entity_type: labels.type_name(entity.entity_type)?.to_owned(),
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::evaluation::tests::{Lexicon, corpus};
    use super::*;

    #[test]
    fn spans_agree_where_the_words_differ() {
        // The corpus splits `It's` into three words and the dots into two. The splitter makes one word of each, so no
        // word is `s`.
        let corpus = corpus("It\tO\n'\tO\ns\tO\nNew\tB-loc\nYork\tI-loc\n.\tO\n.\tO\n\n#\tO\nAnn\tB-per\n");
        let mut tagger = Lexicon {
            labels: LabelSet::iob2(["loc", "per"]).unwrap(),
            words: vec![
                ("New", "B-loc"),
                ("York", "I-loc"),
                ("Ann", "B-per"),
                ("s", "B-per"),
            ],
        };
        let score = evaluate_raw(&mut tagger, &corpus).unwrap();
        assert_eq!(score.types["loc"].f1, 1.0);
        assert_eq!(score.types["per"].f1, 1.0);
        assert_eq!(
            (score.counts.gold, score.counts.predicted, score.counts.correct),
            (2, 2, 2)
        );
    }
}
