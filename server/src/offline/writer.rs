//! Writes results in one of the output formats.

use std::io::Write;

use nerve_corpus::conll::ConllWriteError;
use nerve_engine::{AnswerOptions, TaggedLine, Tagger};

use crate::http::stream::StreamLine;
use crate::offline::conll;
use crate::offline::html::Page;
use crate::offline::work::TextFormat;

/// Writes results in one of the output formats.
pub(crate) struct Writer<'t> {
    format: TextFormat,
    view: AnswerOptions,
    tagger: &'t Tagger,
    page: Page,
}

impl<'t> Writer<'t> {
    pub(crate) fn new(format: TextFormat, view: AnswerOptions, tagger: &'t Tagger) -> Self {
        Self {
            format,
            view,
            tagger,
            page: Page::new(tagger.model()),
        }
    }

    pub(crate) fn begin(&self, out: &mut impl Write) -> std::io::Result<()> {
        match self.format {
            TextFormat::Ndjson | TextFormat::Conll => Ok(()),
            TextFormat::Html => self.page.begin(out),
        }
    }

    /// Writes the result of a line. Returns the message of its error if it failed.
    pub(crate) fn line(
        &self,
        out: &mut impl Write,
        answered: &TaggedLine,
    ) -> std::io::Result<Result<(), String>> {
        let outcome = answered.outcome.as_ref().map_err(ToString::to_string);
        match self.format {
            TextFormat::Ndjson => {
                let (line, _refusal) = StreamLine::new(self.tagger, answered, &self.view);
                serde_json::to_writer(&mut *out, &line)?;
                out.write_all(b"\n")?;
                Ok(outcome.map(|_| ()))
            }
            TextFormat::Conll => match outcome {
                Ok(tagged) => match conll::write(out, tagged, &self.tagger.model().labels) {
                    Err(ConllWriteError::Io(error)) => Err(error),
                    written => Ok(written.map_err(|error| error.to_string())),
                },
                Err(problem) => Ok(Err(problem)),
            },
            TextFormat::Html => {
                match outcome {
                    Ok(tagged) => self.page.text(out, answered.number, tagged, &self.view)?,
                    Err(ref problem) => self.page.failure(out, answered.number, problem)?,
                }
                Ok(outcome.map(|_| ()))
            }
        }
    }

    pub(crate) fn end(&self, out: &mut impl Write) -> std::io::Result<()> {
        match self.format {
            TextFormat::Ndjson | TextFormat::Conll => Ok(()),
            TextFormat::Html => self.page.end(out),
        }
    }
}
