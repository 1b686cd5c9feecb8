//! A tagged text to the answer that a client reads.

use nerve_tagging::{
    ByteSpan, Entity, EntityType, LabelSet, OffsetTable, OffsetUnit, OrphanRule, Tag, WordLabel, WordSpan,
    entities, trim_invisible,
};
use serde::Serialize;
use utoipa::ToSchema;

use crate::pipeline::tagged::TaggedText;

/// The entities and words of one text.
#[derive(Debug, PartialEq, Serialize, ToSchema)]
pub struct Answer<'a> {
    /// The entities in order of the text, never overlapping.
    pub entities: Vec<EntityAnswer<'a>>,
    /// Every word of the text with its label, or every token where `aggregation` is `none` or `simple`; absent where
    /// `include_words` is false.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub words: Option<Vec<WordAnswer<'a>>>,
}

/// A typed part of the text.
#[derive(Debug, PartialEq, Serialize, ToSchema)]
pub struct EntityAnswer<'a> {
    /// The entity's type.
    #[serde(rename = "type")]
    #[schema(example = "person")]
    pub entity_type: &'a str,
    /// The part of the text from `start` to `end`, exactly; invisible characters at its edges are left out.
    #[schema(example = "Barack Obama")]
    pub text: &'a str,
    /// Where it begins in the text, in the unit asked for.
    pub start: usize,
    /// Where it ends: the first place after it.
    pub end: usize,
    /// The mean of its words' scores; words without a token do not count.
    #[schema(minimum = 0, maximum = 1)]
    pub score: f32,
    /// The first word, and the first word after it; tokens where `words` lists tokens.
    pub words: [usize; 2],
}

/// A word and its label.
#[derive(Debug, PartialEq, Serialize, ToSchema)]
pub struct WordAnswer<'a> {
    /// The word as it stands in the text.
    #[schema(example = "Obama")]
    pub text: &'a str,
    /// Where it begins in the text, in the unit asked for.
    pub start: usize,
    /// Where it ends: the first place after it.
    pub end: usize,
    /// The label decided on.
    #[schema(example = "I-person")]
    pub label: &'a str,
    /// The label's probability. A word without a token has the score of the entity around it, or else 1.
    #[schema(minimum = 0, maximum = 1)]
    pub score: f32,
}

/// How an answer is shown.
#[derive(Clone, Debug, PartialEq)]
pub struct AnswerOptions {
    /// The unit of offsets.
    pub offsets: OffsetUnit,
    /// Entities with a lower score are left out.
    pub threshold: f32,
    /// The entity types to show; all if absent.
    pub types: Option<Vec<EntityType>>,
    /// Whether the answer lists every word.
    pub include_words: bool,
}

impl<'a> Answer<'a> {
    /// The answer for a tagged text. `found` is called for every entity, including those that the options leave out.
    ///
    /// An `I-X` with no open `X` before it, which occurs only with independent decoding, starts an entity.
    pub fn new(
        tagged: &'a TaggedText,
        labels: &'a LabelSet,
        view: &AnswerOptions,
        mut found: impl FnMut(EntityType),
    ) -> Self {
        let offsets = OffsetTable::new(&tagged.words.text, view.offsets);
        let mut shown = Vec::new();
        for entity in found_entities(tagged, labels) {
            found(entity.entity_type);
            shown.extend(EntityAnswer::new(tagged, labels, view, &offsets, entity));
        }
        let words = tagged.words.spans.iter().zip(&tagged.labels);
        let words = words.map(|(&span, &word)| WordAnswer::new(tagged, labels, &offsets, span, word));
        Self {
            entities: shown,
            words: view.include_words.then(|| words.collect()),
        }
    }
}

impl<'a> EntityAnswer<'a> {
    /// The entity, unless the options leave it out.
    pub(crate) fn new(
        tagged: &'a TaggedText,
        labels: &'a LabelSet,
        view: &AnswerOptions,
        offsets: &OffsetTable,
        entity: Entity,
    ) -> Option<Self> {
        let types = view.types.as_ref();
        let hidden = types.is_some_and(|types| !types.contains(&entity.entity_type));
        let score = mean_score(tagged, entity.words);
        if hidden || score < view.threshold {
            return None;
        }
        let text = tagged.words.text.as_str();
        let span = trim_invisible(text, cover(&tagged.words.spans, entity.words)?);
        Some(Self {
            entity_type: labels.type_name(entity.entity_type)?,
            text: span.slice(text).unwrap_or_default(),
            start: offsets.convert(text, span.start()),
            end: offsets.convert(text, span.end()),
            score,
            words: [entity.words.start(), entity.words.end()],
        })
    }
}

impl<'a> WordAnswer<'a> {
    /// The word at a span, with its label.
    pub(crate) fn new(
        tagged: &'a TaggedText,
        labels: &'a LabelSet,
        offsets: &OffsetTable,
        span: ByteSpan,
        word: WordLabel,
    ) -> Self {
        let text = tagged.words.text.as_str();
        Self {
            text: span.slice(text).unwrap_or_default(),
            start: offsets.convert(text, span.start()),
            end: offsets.convert(text, span.end()),
            label: labels.name(word.label).unwrap_or("O"),
            score: word.score,
        }
    }
}

/// The entities of the text; without joining, each token of an entity is one.
pub(crate) fn found_entities(tagged: &TaggedText, labels: &LabelSet) -> Vec<Entity> {
    let tags = tagged
        .labels
        .iter()
        .map(|word| labels.tag(word.label).unwrap_or(Tag::Outside));
    if tagged.joined {
        return entities(tags, OrphanRule::Start);
    }
    let alone = |(word, tag): (usize, Tag)| {
        Some(Entity {
            words: WordSpan::new(word, word + 1)?,
            entity_type: tag.entity_type()?,
        })
    };
    tags.enumerate().filter_map(alone).collect()
}

/// The mean of the words' scores, summed in f64 so that it lies between the lowest and the highest.
fn mean_score(tagged: &TaggedText, words: WordSpan) -> f32 {
    let scores = tagged.labels.get(words.range()).unwrap_or_default();
    let total: f64 = scores.iter().map(|word| f64::from(word.score)).sum();
    (total / scores.len().max(1) as f64) as f32
}

fn cover(spans: &[ByteSpan], words: WordSpan) -> Option<ByteSpan> {
    let covered = spans.get(words.range())?;
    Some(covered.first()?.cover(*covered.last()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::tagged::Words;
    use nerve_tagging::{LabelId, split_whitespace};

    const ALL: AnswerOptions = AnswerOptions {
        offsets: OffsetUnit::Codepoint,
        threshold: 0.0,
        types: None,
        include_words: true,
    };

    fn labels() -> LabelSet {
        LabelSet::iob2(["person", "location"]).unwrap()
    }

    /// `😀 Zoë 👩‍👧 Paul in São Paulo`: B-person, O, I-person (an orphan), O, B-location, I-location after an O emoji.
    fn tagged() -> TaggedText {
        let text = "😀 Zoë 👩\u{200d}👧 Paul in São  Paulo".to_owned();
        let spans = split_whitespace(&text);
        let label = |(id, score)| WordLabel {
            label: LabelId(id),
            score,
        };
        let labels = [
            (0, 1.0),
            (1, 0.5),
            (0, 0.9),
            (2, 0.25),
            (0, 1.0),
            (3, 1.0),
            (4, 0.5),
        ]
        .map(label)
        .to_vec();
        TaggedText {
            words: Words { text, spans },
            labels,
            joined: true,
        }
    }

    #[test]
    fn slicing_by_any_unit_gives_the_entitys_text() {
        let (tagged, labels) = (tagged(), labels());
        let text = &tagged.words.text;
        let code_points: Vec<char> = text.chars().collect();
        let utf16: Vec<u16> = text.encode_utf16().collect();
        for offsets in [OffsetUnit::Codepoint, OffsetUnit::Byte, OffsetUnit::Utf16] {
            let answer = Answer::new(&tagged, &labels, &AnswerOptions { offsets, ..ALL }, |_| ());
            let shown: Vec<_> = answer.entities.iter().map(|e| (e.entity_type, e.text)).collect();
            assert_eq!(
                shown,
                [("person", "Zoë"), ("person", "Paul"), ("location", "São  Paulo")]
            );
            let words = answer.words.unwrap();
            let parts = answer.entities.iter().map(|e| (e.start, e.end, e.text));
            for (start, end, part) in parts.chain(words.iter().map(|w| (w.start, w.end, w.text))) {
                let sliced = match offsets {
                    OffsetUnit::Codepoint => code_points[start..end].iter().collect(),
                    OffsetUnit::Byte => text[start..end].to_owned(),
                    OffsetUnit::Utf16 => String::from_utf16(&utf16[start..end]).unwrap(),
                };
                assert_eq!(sliced, part);
            }
        }
    }

    #[test]
    fn a_score_is_the_mean_of_the_words() {
        let (tagged, labels) = (tagged(), labels());
        let answer = Answer::new(&tagged, &labels, &ALL, |_| ());
        let scores: Vec<_> = answer.entities.iter().map(|e| (e.score, e.words)).collect();
        assert_eq!(scores, [(0.5, [1, 2]), (0.25, [3, 4]), (0.75, [5, 7])]);
        assert_eq!(answer.words.unwrap()[3].label, "I-person");
    }

    #[test]
    fn invisible_characters_at_an_edge_are_no_part_of_an_entity() {
        let labels = labels();
        let text = "met \u{2068}Barack \u{200b} Obama\u{200b} in".to_owned();
        let label = |id| WordLabel {
            label: LabelId(id),
            score: 1.0,
        };
        let tagged = TaggedText {
            words: Words {
                spans: split_whitespace(&text),
                text,
            },
            labels: [0, 1, 2, 2, 0].map(label).to_vec(),
            joined: true,
        };
        let answer = Answer::new(&tagged, &labels, &ALL, |_| ());
        let entity = &answer.entities[0];
        assert_eq!((entity.text, entity.words), ("Barack \u{200b} Obama", [1, 4]));
        assert_eq!((entity.start, entity.end), (5, 19));
        assert_eq!(answer.words.unwrap()[3].text, "Obama\u{200b}");
    }

    #[test]
    fn tokens_that_stand_for_themselves_are_not_joined() {
        let labels = labels();
        let alone = TaggedText {
            joined: false,
            ..tagged()
        };
        let answer = Answer::new(&alone, &labels, &ALL, |_| ());
        let shown: Vec<_> = answer
            .entities
            .iter()
            .map(|e| (e.entity_type, e.text, e.words))
            .collect();
        assert_eq!(
            shown,
            [
                ("person", "Zoë", [1, 2]),
                ("person", "Paul", [3, 4]),
                ("location", "São", [5, 6]),
                ("location", "Paulo", [6, 7])
            ]
        );
    }

    #[test]
    fn a_view_filters_entities_and_counts_all() {
        let (tagged, labels) = (tagged(), labels());
        let mut found = 0;
        let view = AnswerOptions {
            threshold: 0.5,
            include_words: false,
            ..ALL
        };
        let answer = Answer::new(&tagged, &labels, &view, |_| found += 1);
        assert_eq!((answer.entities.len(), found, answer.words), (2, 3, None));
        let view = AnswerOptions {
            types: Some(vec![EntityType(1)]),
            ..ALL
        };
        let answer = Answer::new(&tagged, &labels, &view, |_| ());
        assert_eq!(answer.entities.len(), 1);
        assert_eq!(answer.words.unwrap().len(), 7);
        let view = AnswerOptions {
            types: Some(Vec::new()),
            ..ALL
        };
        assert!(Answer::new(&tagged, &labels, &view, |_| ()).entities.is_empty());
    }
}
