//! Conversion between tags and entities.

use crate::span::WordSpan;
use crate::tag::{EntityType, Tag};

/// A run of words with an entity type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Entity {
    /// The words the entity covers; never empty.
    pub words: WordSpan,
    /// The entity's type.
    pub entity_type: EntityType,
}

/// The treatment of an `I-X` that does not continue an entity of type `X`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OrphanRule {
    /// The `I-X` starts an entity, as in the WNUT-17 and CoNLL-2000 scorers. Nerve's responses follow this rule.
    Start,
    /// The `I-X` and each `I-X` that continues it are ignored, as in strict IOB2.
    Drop,
}

/// The entities of a tag sequence, in order and without overlap.
///
/// `B-X` starts an entity. `I-X` continues an open entity of type `X`. `E-X` continues and closes it. `S-X` is an entity of
/// one word. Any other tag closes the open entity. An `I-X` or `E-X` without an open entity of type `X` (at the start, after
/// `O`, after a closed entity or another type) is treated as `orphans` specifies. An entity without its `E-X` ends at the
/// tag that closes it.
pub fn entities(tags: impl IntoIterator<Item = Tag>, orphans: OrphanRule) -> Vec<Entity> {
    let mut found = Vec::new();
    let mut open: Option<(usize, EntityType)> = None;
    let mut count = 0;
    for (word, tag) in tags.into_iter().enumerate() {
        count = word + 1;
        let extends = match (tag, open) {
            (Tag::Inside(next) | Tag::End(next), Some((_, of))) => next == of,
            _ => false,
        };
        if !extends {
            close(open.take(), word, &mut found);
            open = match tag {
                Tag::Begin(of) | Tag::Single(of) => Some((word, of)),
                Tag::Inside(of) | Tag::End(of) if orphans == OrphanRule::Start => Some((word, of)),
                Tag::Inside(_) | Tag::End(_) | Tag::Outside => None,
            };
        }
        if let Tag::End(_) | Tag::Single(_) = tag {
            close(open.take(), count, &mut found);
        }
    }
    close(open, count, &mut found);
    found
}

fn close(open: Option<(usize, EntityType)>, end: usize, found: &mut Vec<Entity>) {
    if let Some((start, entity_type)) = open
        && let Some(words) = WordSpan::new(start, end)
    {
        found.push(Entity { words, entity_type });
    }
}

/// The IOB2 tags of `word_count` words that contain these entities. `None` if two entities overlap or one extends beyond
/// the words.
pub fn tags(entities: &[Entity], word_count: usize) -> Option<Vec<Tag>> {
    let mut tags = vec![Tag::Outside; word_count];
    for entity in entities {
        let words = tags.get_mut(entity.words.range())?;
        if words.iter().any(|tag| *tag != Tag::Outside) {
            return None;
        }
        words.fill(Tag::Inside(entity.entity_type));
        *words.first_mut()? = Tag::Begin(entity.entity_type);
    }
    Some(tags)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const O: Tag = Tag::Outside;
    const B0: Tag = Tag::Begin(EntityType(0));
    const I0: Tag = Tag::Inside(EntityType(0));
    const I1: Tag = Tag::Inside(EntityType(1));
    const E0: Tag = Tag::End(EntityType(0));
    const S0: Tag = Tag::Single(EntityType(0));

    fn spans(sequence: &[Tag], orphans: OrphanRule) -> Vec<(usize, usize, usize)> {
        entities(sequence.iter().copied(), orphans)
            .into_iter()
            .map(|e| (e.words.start(), e.words.end(), e.entity_type.0))
            .collect()
    }

    #[test]
    fn adjacent_begins_are_two_entities() {
        assert_eq!(spans(&[B0, B0, I0, O], OrphanRule::Start), [(0, 1, 0), (1, 3, 0)]);
    }

    #[test]
    fn an_orphan_starts_or_is_dropped_with_its_run() {
        let sequence = [I0, I0, O, B0, I1, I1];
        assert_eq!(
            spans(&sequence, OrphanRule::Start),
            [(0, 2, 0), (3, 4, 0), (4, 6, 1)]
        );
        assert_eq!(spans(&sequence, OrphanRule::Drop), [(3, 4, 0)]);
    }

    #[test]
    fn marked_ends_close_entities() {
        let sequence = [B0, I0, E0, I0, S0, S0, E0, O, B0];
        let read = [(0, 3, 0), (3, 4, 0), (4, 5, 0), (5, 6, 0), (6, 7, 0), (8, 9, 0)];
        assert_eq!(spans(&sequence, OrphanRule::Start), read);
        assert_eq!(
            spans(&sequence, OrphanRule::Drop),
            [(0, 3, 0), (4, 5, 0), (5, 6, 0), (8, 9, 0)]
        );
    }

    #[test]
    fn overlapping_entities_have_no_tags() {
        let entity = |start, end| Entity {
            words: WordSpan::new(start, end).unwrap(),
            entity_type: EntityType(0),
        };
        assert_eq!(tags(&[entity(0, 2), entity(1, 3)], 3), None);
        assert_eq!(tags(&[entity(2, 4)], 3), None);
    }

    proptest! {
        #[test]
        fn tags_of_entities_spell_the_same_entities(
            raw in prop::collection::vec(0usize..8, 0..40)
        ) {
            let sequence: Vec<Tag> = raw.iter().map(|&t| match t {
                0 => O,
                1 => B0,
                2 => I0,
                3 => Tag::Begin(EntityType(1)),
                4 => E0,
                5 => S0,
                6 => Tag::End(EntityType(1)),
                _ => I1,
            }).collect();
            for orphans in [OrphanRule::Start, OrphanRule::Drop] {
                let found = entities(sequence.iter().copied(), orphans);
                let rewritten = tags(&found, sequence.len()).unwrap();
                prop_assert_eq!(entities(rewritten, OrphanRule::Drop), found);
            }
        }
    }
}
