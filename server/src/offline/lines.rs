//! Tags the lines of a file.

use std::path::Path;
use std::pin::pin;
use std::sync::Arc;

use futures_util::StreamExt;
use nerve_engine::{BulkError, EngineError, LineFormat, MemoryBudget, tag_lines};

use crate::offline::bulk::Bulk;
use crate::offline::input::{self, InputFile};
use crate::offline::line_results::LineResults;
use crate::offline::output::Output;
use crate::offline::progress::Bar;
use crate::offline::tally::{Tally, TextUnit};
use crate::offline::work::{TagFileError, TextFormat};

/// Tags every line of an input and writes the results in order.
pub(crate) async fn tag_every_line(
    bulk: Bulk,
    path: &Path,
    input: InputFile,
    format: LineFormat,
    output_format: TextFormat,
    output: Output,
) -> Result<Tally, TagFileError> {
    let Bulk {
        tagger,
        limits,
        reading,
        view,
    } = bulk;
    let bar = Bar::of_bytes(input.size());
    let chunks = bar.watch(input::chunks(input).map_err(EngineError::Io)?);
    let mut answers = pin!(tag_lines(
        Arc::clone(&tagger),
        chunks,
        format,
        reading,
        limits,
        MemoryBudget::new(usize::MAX),
    ));
    let mut results = LineResults::begin(output_format, view, &tagger, output, TextUnit::Line)?;
    while let Some(group) = answers.next().await {
        let group = group.map_err(|cut| match cut {
            BulkError::Input(source) => TagFileError::Read {
                path: path.to_owned(),
                source,
            },
            BulkError::Stopping => TagFileError::Stopped,
        })?;
        for answered in &group.lines {
            results.add(answered, &bar)?;
        }
        results.flush(&bar)?;
    }
    results.finish()
}
