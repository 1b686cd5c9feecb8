//! Tags the lines of a file.

use std::io::{Read, Write};
use std::path::Path;
use std::pin::pin;
use std::sync::Arc;

use futures_util::StreamExt;
use nerve_engine::{BulkError, EngineError, LineFormat, MemoryBudget, tag_lines};

use crate::offline::bulk::Bulk;
use crate::offline::input;
use crate::offline::output::Output;
use crate::offline::progress::Bar;
use crate::offline::tally::Tally;
use crate::offline::work::{TagFileError, TextFormat};
use crate::offline::writer::Writer;

/// Tags every line of an input and writes the results in order.
///
/// A line that cannot be tagged is written as an error (NDJSON, HTML) or reported on standard error (CoNLL).
pub(crate) async fn tag_every_line(
    bulk: Bulk,
    path: &Path,
    (input, size): (Box<dyn Read + Send>, Option<u64>),
    format: LineFormat,
    output_format: TextFormat,
    mut output: Output,
) -> Result<Tally, TagFileError> {
    let Bulk {
        tagger,
        limits,
        reading,
        view,
    } = bulk;
    let bar = Bar::new(size);
    let chunks = bar.watch(input::chunks(input).map_err(EngineError::Io)?);
    let mut answers = pin!(tag_lines(
        Arc::clone(&tagger),
        chunks,
        format,
        reading,
        limits,
        MemoryBudget::new(usize::MAX),
    ));
    let writer = Writer::new(output_format, view, &tagger);
    let mut tally = Tally::of("lines");
    let written = |source| TagFileError::Write { source };
    writer.begin(&mut output).map_err(written)?;
    while let Some(group) = answers.next().await {
        let group = group.map_err(|cut| match cut {
            BulkError::Input(source) => TagFileError::Read {
                path: path.to_owned(),
                source,
            },
            BulkError::Stopping => TagFileError::Stopped,
        })?;
        for answered in &group.lines {
            tally.texts += 1;
            if let Err(problem) = writer.line(&mut output, answered).map_err(written)? {
                tally.failed += 1;
                if output_format != TextFormat::Ndjson {
                    bar.report(&format!("line {}: {problem}", answered.number));
                }
            }
        }
        output.flush().map_err(written)?;
        bar.tagged(tally.texts);
    }
    writer.end(&mut output).map_err(written)?;
    output.finish().map_err(written)?;
    Ok(tally)
}
