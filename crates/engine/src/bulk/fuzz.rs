//! Hostile streams: chunks of bytes to lines to inputs.

use bytes::Bytes;

use crate::bulk::lines::{Line, LineSplitter};
use crate::bulk::record::{LineFormat, read};

/// A stream: the longest line, the length of its chunks, and its bytes.
///
/// However the bytes are divided into chunks, the lines are the same, none exceeds the limit, and each is a record or
/// an error.
pub fn lines(bytes: &[u8]) {
    let [longest, chunk, text @ ..] = bytes else {
        return;
    };
    let (limit, chunk) = (usize::from(*longest) * 4 + 1, usize::from(*chunk) + 1);
    let lines = split(text, limit, chunk);
    assert_eq!(lines, split(text, limit, text.len().max(1)));
    assert!(lines.iter().map(|line| line.number).eq(1..=lines.len() as u64));
    for line in &lines {
        assert!(line.bytes.as_ref().map_or(true, |bytes| bytes.len() <= limit));
        for format in [LineFormat::Ndjson, LineFormat::Text] {
            let record = read(line, format);
            if let Err(error) = record.source {
                assert!(!error.to_string().is_empty());
            }
        }
    }
}

fn split(text: &[u8], limit: usize, chunk: usize) -> Vec<Line> {
    let mut splitter = LineSplitter::new(limit);
    let mut lines = Vec::new();
    for chunk in text.chunks(chunk) {
        splitter.feed(Bytes::copy_from_slice(chunk));
        lines.extend(std::iter::from_fn(|| splitter.next_line()));
    }
    lines.extend(splitter.finish());
    lines
}
