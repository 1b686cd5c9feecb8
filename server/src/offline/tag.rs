//! Tags a file.

use std::pin::pin;

use nerve_engine::{BulkLimits, Engine, EngineConfig};

use crate::offline::bulk::Bulk;
use crate::offline::columns::source::TableSource;
use crate::offline::columns::tag::tag_every_row;
use crate::offline::input::InputFile;
use crate::offline::lines::tag_every_line;
use crate::offline::output::Output;
use crate::offline::tally::Tally;
use crate::offline::work::{TableFormat, TagFile, TagFileError, Work};

/// Tags every line or row of the input and writes the results in order, in bounded memory, unless `interrupt` completes before.
///
/// A file appears at its path when it is complete.
pub async fn tag_file(
    config: EngineConfig,
    work: TagFile,
    interrupt: impl Future<Output = ()>,
) -> Result<Tally, TagFileError> {
    let mut interrupt = pin!(interrupt);
    let input = InputFile::open(&work.file)?;
    let output = Output::create(work.out.as_deref())?;
    let limits = BulkLimits::of(&config);
    let engine = tokio::select! {
        opened = Engine::open(config) => opened?,
        () = &mut interrupt => return Err(TagFileError::Interrupted),
    };
    let tally = tokio::select! {
        tally = tag_with(&engine, limits, work, input, output) => tally,
        // The incomplete output file is removed.
        () = &mut interrupt => Err(TagFileError::Interrupted),
    };
    engine.close().await;
    tally
}

/// [`tag_file`] with an open engine.
async fn tag_with(
    engine: &Engine,
    limits: BulkLimits,
    work: TagFile,
    input: InputFile,
    output: Output,
) -> Result<Tally, TagFileError> {
    let tagger = engine.live();
    let reading = work.options.reading();
    let view = work.options.view(&tagger.model().labels)?;
    engine.ready().await?;
    let bulk = Bulk {
        tagger,
        limits,
        reading,
        view,
    };
    match work.work {
        Work::Lines {
            input: format,
            output: written,
        } => tag_every_line(bulk, &work.file, input, format, written, output).await,
        Work::Rows {
            input: format,
            column,
            output: written,
        } => {
            let source = match format {
                TableFormat::Arrow => TableSource::arrow(&work.file, input)?,
                TableFormat::Parquet => TableSource::parquet(&work.file, input)?,
            };
            tag_every_row(bulk, &work.file, source, &column, written, output).await
        }
    }
}
