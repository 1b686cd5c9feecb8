//! Tags the lines of a file.

use std::io::{Read, Write};
use std::pin::pin;
use std::sync::Arc;

use futures_util::StreamExt;
use nerve_engine::{BulkError, BulkLimits, Engine, EngineConfig, EngineError, MemoryBudget, tag_lines};

use crate::offline::input;
use crate::offline::output::Output;
use crate::offline::progress::Bar;
use crate::offline::work::{OutputFormat, TagFile, TagFileError};
use crate::offline::writer::Writer;

/// The numbers of lines tagged and failed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Lines that are not blank.
    pub lines: u64,
    /// Lines that could not be tagged.
    pub failed: u64,
}

/// Tags every line of the input and writes the results in order, in bounded memory, unless `interrupt` completes before.
///
/// A line that cannot be tagged is written as an error (NDJSON, HTML) or reported on standard error (CoNLL). A file
/// appears at its path when it is complete.
pub async fn tag_file(
    config: EngineConfig,
    work: TagFile,
    interrupt: impl Future<Output = ()>,
) -> Result<Tally, TagFileError> {
    let mut interrupt = pin!(interrupt);
    let (input, size) = input::open(&work.file)?;
    let output = Output::create(work.out.as_deref())?;
    let limits = BulkLimits::of(&config);
    let engine = tokio::select! {
        opened = Engine::open(config) => opened?,
        () = &mut interrupt => return Err(TagFileError::Interrupted),
    };
    let tally = tokio::select! {
        tally = tag_with(&engine, limits, work, (input, size), output) => tally,
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
    (input, size): (Box<dyn Read + Send>, Option<u64>),
    mut output: Output,
) -> Result<Tally, TagFileError> {
    let tagger = engine.live();
    let reading = work.options.reading();
    let view = work.options.view(&tagger.model().labels)?;
    engine.ready().await?;
    let bar = Bar::new(size);
    let chunks = bar.watch(input::chunks(input).map_err(EngineError::Io)?);
    let mut answers = pin!(tag_lines(
        Arc::clone(&tagger),
        chunks,
        work.input,
        reading,
        limits,
        MemoryBudget::new(usize::MAX),
    ));
    let writer = Writer::new(work.output, view, &tagger);
    let mut tally = Tally::default();
    let written = |source| TagFileError::Write { source };
    writer.begin(&mut output).map_err(written)?;
    while let Some(group) = answers.next().await {
        let group = group.map_err(|cut| match cut {
            BulkError::Input(source) => TagFileError::Read {
                path: work.file.clone(),
                source,
            },
            BulkError::Stopping => TagFileError::Stopped,
        })?;
        for answered in &group.lines {
            tally.lines += 1;
            if let Err(problem) = writer.line(&mut output, answered).map_err(written)? {
                tally.failed += 1;
                if work.output != OutputFormat::Ndjson {
                    bar.report(&format!("line {}: {problem}", answered.number));
                }
            }
        }
        output.flush().map_err(written)?;
        bar.tagged(tally.lines);
    }
    writer.end(&mut output).map_err(written)?;
    output.finish().map_err(written)?;
    Ok(tally)
}
