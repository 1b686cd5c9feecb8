//! Results as lines or text.

use std::io::Write;

use nerve_engine::{AnswerOptions, TaggedLine, Tagger};

use crate::offline::output::Output;
use crate::offline::progress::Bar;
use crate::offline::tally::{Tally, TextUnit};
use crate::offline::work::{TagFileError, TextFormat};
use crate::offline::writer::Writer;

/// Results as lines or text, and where they are written.
///
/// A text that cannot be tagged is written as an error (NDJSON, HTML) or reported on standard error (CoNLL).
pub(crate) struct LineResults<'t> {
    format: TextFormat,
    writer: Writer<'t>,
    output: Output,
    tally: Tally,
}

impl<'t> LineResults<'t> {
    /// No results yet.
    pub(crate) fn begin(
        format: TextFormat,
        view: AnswerOptions,
        tagger: &'t Tagger,
        mut output: Output,
        unit: TextUnit,
    ) -> Result<Self, TagFileError> {
        let writer = Writer::new(format, view, tagger);
        writer.begin(&mut output).map_err(written)?;
        Ok(Self {
            format,
            writer,
            output,
            tally: Tally::of(unit),
        })
    }

    /// Writes the result of a text.
    pub(crate) fn add(&mut self, answered: &TaggedLine, bar: &Bar) -> Result<(), TagFileError> {
        self.tally.texts += 1;
        if let Err(problem) = self.writer.line(&mut self.output, answered).map_err(written)? {
            self.tally.failed += 1;
            if self.format != TextFormat::Ndjson {
                bar.report(&format!("{} {}: {problem}", self.tally.unit, answered.number));
            }
        }
        Ok(())
    }

    /// Passes on what has been written, and shows how much it is.
    pub(crate) fn flush(&mut self, bar: &Bar) -> Result<(), TagFileError> {
        bar.tagged(self.tally);
        self.output.flush().map_err(written)
    }

    /// Writes the end, and moves a file to its path.
    pub(crate) fn finish(mut self) -> Result<Tally, TagFileError> {
        self.writer.end(&mut self.output).map_err(written)?;
        self.output.finish().map_err(written)?;
        Ok(self.tally)
    }
}

fn written(source: std::io::Error) -> TagFileError {
    TagFileError::Write { source }
}
