//! CoNLL text to a corpus.

use std::path::Path;

use nerve_tagging::conll;

use super::CorpusError;
use super::file::{Corpus, Layout};

/// The sentences of CoNLL text; `path` is named in the error.
pub(super) fn parse(text: &str, path: &Path) -> Result<Corpus, CorpusError> {
    let parsed = conll::parse(text).map_err(|error| CorpusError::Line {
        path: path.to_owned(),
        line: error.line,
        problem: format!(
            "expected a word and a tag separated by a tab or spaces, found `{}`",
            error.content
        ),
    })?;
    let (first_lines, sentences) = parsed.into_iter().unzip();
    Ok(Corpus {
        path: path.to_owned(),
        sentences,
        first_lines,
        layout: Layout::WordPerLine,
    })
}
