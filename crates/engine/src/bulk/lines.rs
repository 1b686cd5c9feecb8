//! Chunks of bytes to lines of bounded length.

use bytes::Bytes;
use nerve_tagging::without_byte_order_mark;

/// One line without its line feed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Line {
    /// The line's number, from 1.
    pub(crate) number: u64,
    /// The line's bytes, unless they exceed the limit.
    pub(crate) bytes: Result<Bytes, LineTooLong>,
}

/// A line exceeds the limit; its bytes were discarded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LineTooLong {
    /// The limit in bytes.
    pub(crate) limit: usize,
}

/// Splits bytes that arrive in chunks into lines. It never holds more than a chunk and `limit` bytes.
pub(crate) struct LineSplitter {
    limit: usize,
    lines: u64,
    chunk: Bytes,
    /// The start of a line whose end has not arrived yet.
    begun: Vec<u8>,
    /// Whether the current line exceeds the limit: its bytes are skipped.
    too_long: bool,
}

impl LineSplitter {
    /// A splitter for lines of at most `limit` bytes.
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            limit,
            lines: 0,
            chunk: Bytes::new(),
            begun: Vec::new(),
            too_long: false,
        }
    }

    /// Adds a chunk. [`Self::next_line`] must have returned `None` before.
    pub(crate) fn feed(&mut self, chunk: Bytes) {
        self.chunk = chunk;
    }

    /// The next complete line.
    pub(crate) fn next_line(&mut self) -> Option<Line> {
        let Some(end) = self.chunk.iter().position(|&byte| byte == b'\n') else {
            let rest = std::mem::take(&mut self.chunk);
            self.keep(&rest);
            return None;
        };
        let part = self.chunk.split_to(end);
        let _line_feed = self.chunk.split_to(1);
        Some(self.line(part))
    }

    /// The last line, if it has no line feed.
    pub(crate) fn finish(&mut self) -> Option<Line> {
        (self.too_long || !self.begun.is_empty()).then(|| self.line(Bytes::new()))
    }

    /// Keeps the start of a line, or only notes that it exceeds the limit.
    fn keep(&mut self, part: &[u8]) {
        self.too_long |= part.len() > self.limit - self.begun.len();
        if self.too_long {
            self.begun = Vec::new();
        } else {
            self.begun.extend_from_slice(part);
        }
    }

    /// The line that ends with `part`.
    fn line(&mut self, part: Bytes) -> Line {
        self.lines += 1;
        let whole = if self.begun.is_empty() && !self.too_long && part.len() <= self.limit {
            Ok(part)
        } else {
            self.keep(&part);
            let whole = Bytes::from(std::mem::take(&mut self.begun));
            let too_long = std::mem::take(&mut self.too_long);
            if too_long {
                Err(LineTooLong { limit: self.limit })
            } else {
                Ok(whole)
            }
        };
        Line {
            number: self.lines,
            bytes: whole.map(|bytes| self.without_mark(bytes)),
        }
    }

    /// The line, without a byte order mark if it is the first.
    fn without_mark(&self, bytes: Bytes) -> Bytes {
        match self.lines {
            1 => bytes.slice_ref(without_byte_order_mark(&bytes)),
            _ => bytes,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn split(chunks: &[&[u8]], limit: usize) -> Vec<Option<Vec<u8>>> {
        let mut splitter = LineSplitter::new(limit);
        let mut lines = Vec::new();
        for chunk in chunks {
            splitter.feed(Bytes::copy_from_slice(chunk));
            while let Some(line) = splitter.next_line() {
                lines.push(line);
            }
            assert!(splitter.begun.len() <= limit);
        }
        lines.extend(splitter.finish());
        assert!(lines.iter().map(|line| line.number).eq(1..=lines.len() as u64));
        let bytes = |line: Line| line.bytes.ok().map(|bytes| bytes.to_vec());
        lines.into_iter().map(bytes).collect()
    }

    #[test]
    fn lines_of_any_end_and_length() {
        assert!(split(&[], 5).is_empty());
        assert_eq!(
            split(&[b"a\n\nbc"], 5),
            [Some(b"a".to_vec()), Some(vec![]), Some(b"bc".to_vec())]
        );
        assert_eq!(split(&[b"123456\n12345\n"], 5), [None, Some(b"12345".to_vec())]);
        assert_eq!(split(&[b"123", b"456", b"7\nx"], 5), [None, Some(b"x".to_vec())]);
        assert_eq!(split(&[b"123456"], 5), [None]);
        assert_eq!(
            split(&["\u{feff}a\n\u{feff}".as_bytes()], 5),
            [Some(b"a".to_vec()), Some("\u{feff}".as_bytes().to_vec())]
        );
    }

    proptest! {
        #[test]
        fn chunks_do_not_matter(
            text in prop::collection::vec(prop::sample::select(vec![b'a', b'b', b'\n']), 0..60),
            cuts in prop::collection::vec(0usize..60, 0..8),
            limit in 1usize..8,
        ) {
            let mut cuts: Vec<usize> = cuts.into_iter().filter(|&cut| cut <= text.len()).collect();
            cuts.extend([0, text.len()]);
            cuts.sort_unstable();
            let chunks: Vec<&[u8]> = cuts.windows(2).map(|pair| &text[pair[0]..pair[1]]).collect();
            let mut expected: Vec<&[u8]> = text.split(|&byte| byte == b'\n').collect();
            if expected.last().is_some_and(|last| last.is_empty()) {
                expected.pop();
            }
            let expected: Vec<_> = expected
                .into_iter()
                .map(|line| (line.len() <= limit).then(|| line.to_vec()))
                .collect();
            prop_assert_eq!(split(&chunks, limit), expected);
        }
    }
}
