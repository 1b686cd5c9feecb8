//! A sentence's labels as they are written.

use std::io::Write;

use nerve_corpus::conll::{self, ConllWriteError};
use nerve_tagging::{
    ByteSpan, LabelSet, OffsetMap, OffsetUnit, OrphanRule, WordLabel, WordSpan, entities, trim_invisible,
};
use serde::Serialize;

use crate::tag_file::sentence::SentenceToTag;

/// Writes a word and its label a line.
pub(super) fn conll(
    labels: &LabelSet,
    sentence: &SentenceToTag,
    found: &[WordLabel],
    out: &mut dyn Write,
) -> Result<(), ConllWriteError> {
    let label = |label: &WordLabel| labels.name(label.label).unwrap_or("O");
    let words = sentence.words.iter().map(String::as_str);
    conll::write(out, words.zip(found.iter().map(label)))
}

#[derive(Serialize)]
struct Line<'s> {
    line: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<&'s str>,
    entities: Vec<EntityLine<'s>>,
    words: Vec<WordLine<'s>>,
}

#[derive(Serialize)]
struct EntityLine<'s> {
    #[serde(rename = "type")]
    entity_type: &'s str,
    text: String,
    /// In code points of the line.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    place: Option<Place>,
    words: [usize; 2],
    score: f64,
}

#[derive(Serialize)]
struct Place {
    start: usize,
    end: usize,
}

#[derive(Serialize)]
struct WordLine<'s> {
    text: &'s str,
    label: &'s str,
    score: f32,
}

/// Writes one JSON object and a line's end.
pub(super) fn ndjson(
    labels: &LabelSet,
    sentence: &SentenceToTag,
    found: &[WordLabel],
    out: &mut dyn Write,
) -> std::io::Result<()> {
    let tags = labels.iob2_tags(found.iter().map(|word| word.label));
    let text = sentence.text.as_ref().map(|(text, _)| text.as_str());
    let map = OffsetMap::new(text.unwrap_or_default(), OffsetUnit::Codepoint);
    let entities = entities(tags, OrphanRule::Start).into_iter().map(|entity| {
        let range = entity.words.range();
        let covered = sentence.words.get(range.clone()).unwrap_or_default();
        let scores = found.get(range).unwrap_or_default();
        let sum: f64 = scores.iter().map(|word| f64::from(word.score)).sum();
        let span = span(sentence, entity.words);
        let sliced = span.zip(text).and_then(|(span, text)| span.slice(text));
        EntityLine {
            entity_type: labels.type_name(entity.entity_type).unwrap_or_default(),
            text: sliced.map_or_else(|| visible(&covered.join(" ")).to_owned(), str::to_owned),
            place: span.map(|span| Place {
                start: map.convert(span.start()),
                end: map.convert(span.end()),
            }),
            words: [entity.words.start(), entity.words.end()],
            score: sum / scores.len().max(1) as f64,
        }
    });
    let line = Line {
        line: sentence.line,
        text,
        entities: entities.collect(),
        words: sentence
            .words
            .iter()
            .zip(found)
            .map(|(word, label)| WordLine {
                text: word,
                label: labels.name(label.label).unwrap_or("O"),
                score: label.score,
            })
            .collect(),
    };
    serde_json::to_writer(&mut *out, &line)?;
    writeln!(out)
}

/// The text without invisible characters at its edges.
fn visible(text: &str) -> &str {
    let whole = ByteSpan::new(0, text.len());
    let trimmed = whole.map(|whole| trim_invisible(text, whole));
    trimmed.and_then(|span| span.slice(text)).unwrap_or(text)
}

/// Where words stand in the line they were split from.
fn span(sentence: &SentenceToTag, words: WordSpan) -> Option<ByteSpan> {
    let (text, spans) = sentence.text.as_ref()?;
    let covered = spans.get(words.range())?;
    Some(trim_invisible(text, covered.first()?.cover(*covered.last()?)))
}
