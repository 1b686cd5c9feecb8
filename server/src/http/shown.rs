//! Messages that quote the client, cut to a length that costs nothing to answer with.

use std::fmt::{self, Display, Write};

/// The longest message that may quote the request.
const SHOWN_CHARS: usize = 300;
/// The longest part of a field that a message quotes, so that the message still says what is wrong with it.
const QUOTED_CHARS: usize = 100;
/// The dimensions of a shape that a message quotes.
const QUOTED_DIMENSIONS: usize = 8;

/// The beginning of a message. The rest is not written at all.
pub(crate) fn shown(message: &(impl Display + ?Sized)) -> String {
    cut(message, SHOWN_CHARS)
}

/// The beginning of a field.
pub(crate) fn quoted(field: &str) -> String {
    cut(field, QUOTED_CHARS)
}

/// The first dimensions of a shape.
pub(crate) fn quoted_shape(shape: &[i64]) -> String {
    let first = shape.iter().take(QUOTED_DIMENSIONS).map(i64::to_string);
    let mut dimensions: Vec<String> = first.collect();
    if shape.len() > QUOTED_DIMENSIONS {
        dimensions.push("…".to_owned());
    }
    format!("[{}]", dimensions.join(", "))
}

fn cut(message: &(impl Display + ?Sized), chars: usize) -> String {
    let mut start = Start {
        text: String::new(),
        left: chars,
    };
    // It fails once the message is too long.
    if write!(start, "{message}").is_err() {
        start.text.push('…');
    }
    start.text
}

/// A writer that takes so many characters more, and then fails.
struct Start {
    text: String,
    left: usize,
}

impl Write for Start {
    fn write_str(&mut self, part: &str) -> fmt::Result {
        for char in part.chars() {
            self.left = self.left.checked_sub(1).ok_or(fmt::Error)?;
            self.text.push(char);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_cut_between_characters() {
        assert_eq!(shown("naïve"), "naïve");
        assert_eq!(shown(&"é".repeat(SHOWN_CHARS)), "é".repeat(SHOWN_CHARS));
        let cut = format!("{}…", "é".repeat(SHOWN_CHARS));
        assert_eq!(shown(&"é".repeat(SHOWN_CHARS + 1)), cut);
        assert_eq!(quoted_shape(&[]), "[]");
        assert_eq!(quoted_shape(&[1, -2]), "[1, -2]");
        assert_eq!(quoted_shape(&[1; 1000]), "[1, 1, 1, 1, 1, 1, 1, 1, …]");
    }
}
