//! The JSON of an answer, a part at a time.

use std::borrow::Borrow;
use std::io::Result;

use nerve_tagging::{Entity, EntityType, LabelSet, OffsetTable};
use serde::Serialize;

use crate::pipeline::answer::{AnswerOptions, EntityAnswer, WordAnswer, found_entities};
use crate::pipeline::tagged::TaggedText;

/// How many words or entities one step writes: some 20 kB.
const STEP: usize = 256;

/// Writes the JSON of an [`Answer`](crate::Answer) in short steps, so that an answer of any length neither occupies a
/// thread for long nor has to be in memory as values.
///
/// Every call gets the labels and options that the writer was created with.
pub struct AnswerWriter<T> {
    tagged: T,
    offsets: OffsetTable,
    entities: Vec<Entity>,
    /// Entities that are written or left out.
    entities_done: usize,
    /// Whether an entity has been written, so that a comma precedes the next.
    entity_written: bool,
    entities_complete: bool,
    words_done: usize,
}

impl<T: Borrow<TaggedText>> AnswerWriter<T> {
    /// The writer of the answer for a tagged text. `found` is called for every entity, including those that the
    /// options leave out.
    pub fn new(tagged: T, labels: &LabelSet, view: &AnswerOptions, found: impl FnMut(EntityType)) -> Self {
        let entities = found_entities(tagged.borrow(), labels);
        entities.iter().map(|entity| entity.entity_type).for_each(found);
        Self {
            offsets: OffsetTable::new(&tagged.borrow().words.text, view.offsets),
            tagged,
            entities,
            entities_done: 0,
            entity_written: false,
            entities_complete: false,
            words_done: 0,
        }
    }

    /// The memory of the writer, beside the tagged text.
    pub fn own_bytes(&self) -> usize {
        size_of_val(self.entities.as_slice()) + self.offsets.own_bytes()
    }

    /// Writes more of the answer's members, without the braces around them. True once all is written.
    pub fn members(&mut self, labels: &LabelSet, view: &AnswerOptions, out: &mut Vec<u8>) -> Result<bool> {
        if !self.entities_complete {
            if self.entities_done == 0 {
                out.extend_from_slice(b"\"entities\":");
            }
            self.entities_complete = self.entities(labels, view, out)?;
            return Ok(self.entities_complete && !view.include_words);
        }
        if self.words_done == 0 {
            out.extend_from_slice(b",\"words\":");
        }
        self.words(labels, out)
    }

    /// Writes more of the array of entities. True once it is complete.
    pub fn entities(&mut self, labels: &LabelSet, view: &AnswerOptions, out: &mut Vec<u8>) -> Result<bool> {
        if self.entities_done == 0 {
            out.push(b'[');
        }
        let tagged = self.tagged.borrow();
        for &entity in self.entities.iter().skip(self.entities_done).take(STEP) {
            self.entities_done += 1;
            if let Some(entity) = EntityAnswer::new(tagged, labels, view, &self.offsets, entity) {
                element(&entity, self.entity_written, out)?;
                self.entity_written = true;
            }
        }
        Ok(close(self.entities_done >= self.entities.len(), out))
    }

    /// Writes more of the array of words. True once it is complete.
    pub fn words(&mut self, labels: &LabelSet, out: &mut Vec<u8>) -> Result<bool> {
        if self.words_done == 0 {
            out.push(b'[');
        }
        let tagged = self.tagged.borrow();
        let words = tagged.words.spans.iter().zip(&tagged.labels);
        let count = words.len();
        for (&span, &word) in words.skip(self.words_done).take(STEP) {
            let word = WordAnswer::new(tagged, labels, &self.offsets, span, word);
            element(&word, self.words_done > 0, out)?;
            self.words_done += 1;
        }
        Ok(close(self.words_done >= count, out))
    }
}

/// Writes an element of an array, after a comma unless it is the first.
fn element(element: &impl Serialize, follows: bool, out: &mut Vec<u8>) -> Result<()> {
    if follows {
        out.push(b',');
    }
    Ok(serde_json::to_writer(out, element)?)
}

fn close(complete: bool, out: &mut Vec<u8>) -> bool {
    if complete {
        out.push(b']');
    }
    complete
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::answer::Answer;
    use crate::testing::tagged;
    use nerve_tagging::OffsetUnit;

    #[test]
    fn the_parts_are_the_json_of_the_answer() {
        let labels = LabelSet::iob2(["person", "location"]).unwrap();
        for words in [0, 1, STEP, STEP + 1, 5 * STEP + 3] {
            let texts: Vec<String> = (0..words).map(|word| format!("\"é{word}\\")).collect();
            let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
            let ids: Vec<usize> = (0..words).map(|word| word % 4).collect();
            let tagged = tagged(&texts, &ids);
            for (include_words, types) in [(true, None), (false, None), (true, Some(vec![EntityType(1)]))] {
                let view = AnswerOptions {
                    offsets: OffsetUnit::Codepoint,
                    threshold: 0.0,
                    types,
                    include_words,
                };
                let mut counts = (0, 0);
                let whole = Answer::new(&tagged, &labels, &view, |_| counts.0 += 1);
                let mut writer = AnswerWriter::new(&tagged, &labels, &view, |_| counts.1 += 1);
                let mut json = b"{".to_vec();
                let mut steps = 1;
                while !writer.members(&labels, &view, &mut json).unwrap() {
                    steps += 1;
                }
                json.push(b'}');
                let parts = String::from_utf8(json).unwrap();
                assert_eq!(parts, serde_json::to_string(&whole).unwrap());
                assert_eq!(counts.0, counts.1);
                assert!(!include_words || steps >= words / STEP, "{steps} steps");
            }
        }
    }
}
