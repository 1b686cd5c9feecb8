//! Distinct types for word indices and for half-open ranges of bytes and of words.

use std::ops::Range;

use serde::{Deserialize, Serialize};

/// The position of a word in its sentence or text, counted from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct WordIndex(pub usize);

macro_rules! half_open_span {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name {
            // Invariant: start <= end.
            start: usize,
            end: usize,
        }

        impl $name {
            /// The span `[start, end)`. `None` if `end` is less than `start`.
            pub fn new(start: usize, end: usize) -> Option<Self> {
                (start <= end).then_some(Self { start, end })
            }

            /// The first position inside the span.
            pub fn start(self) -> usize {
                self.start
            }

            /// The first position after the span.
            pub fn end(self) -> usize {
                self.end
            }

            /// The number of positions in the span.
            pub fn len(self) -> usize {
                self.end - self.start
            }

            /// Whether the span contains no position.
            pub fn is_empty(self) -> bool {
                self.start == self.end
            }

            /// The same span as a standard range.
            pub fn range(self) -> Range<usize> {
                self.start..self.end
            }

            /// The smallest span that contains both spans.
            pub fn cover(self, other: Self) -> Self {
                Self {
                    start: self.start.min(other.start),
                    end: self.end.max(other.end),
                }
            }
        }
    };
}

half_open_span! {
    /// A half-open range of UTF-8 bytes in a text.
    ByteSpan
}

half_open_span! {
    /// A half-open range of words in a sentence or text.
    WordSpan
}

impl ByteSpan {
    /// The slice of `text` at the span. `None` if the span extends beyond the text or splits a code point.
    pub fn slice(self, text: &str) -> Option<&str> {
        text.get(self.range())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_cannot_end_before_it_starts() {
        assert_eq!(ByteSpan::new(3, 2), None);
        assert_eq!(ByteSpan::new(3, 3).map(ByteSpan::is_empty), Some(true));
    }

    #[test]
    fn a_slice_inside_a_code_point_is_none() {
        let span = ByteSpan::new(0, 1).unwrap();
        assert_eq!(span.slice("é"), None);
    }
}
