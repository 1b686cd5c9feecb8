//! The lines of a file to a file of answers, by the code that answers streams.

mod conll;
mod html;
mod input;
mod output;
mod progress;
mod work;

use std::io::Write;
use std::sync::Arc;

use futures_util::StreamExt;
use nerve_inference::Runtime;

use crate::bulk::{Answered, BulkLimits, Cut, tag_lines};
use crate::config::ServerConfig;
use crate::device::with_device;
use crate::http::{ApiError, StreamLine};
use crate::models::{Files, Opened, Shared};
use crate::pipeline::{Tagger, View};
use crate::run::{ServerError, all_started};

use html::Page;
use output::Output;
use progress::Bar;
pub use work::{InputFormat, OutputFormat, TagFile, TagFileError};

/// How many lines were tagged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Lines that are not blank.
    pub lines: u64,
    /// Those of them that could not be tagged.
    pub failed: u64,
}

/// Tags every line of the input and writes what became of it, in order and in bounded memory.
///
/// A line that cannot be tagged is in the answer as its error (NDJSON, HTML) or reported on standard error (CoNLL), and
/// the next one follows. A file is written beside its place and put there when it is complete.
pub async fn tag_file(config: ServerConfig, work: TagFile) -> Result<Tally, TagFileError> {
    let (input, size) = input::open(&work.file)?;
    let mut output = Output::create(work.out.as_deref())?;
    let runtime = Runtime::load(config.onnxruntime.as_deref()).map_err(ServerError::Runtime)?;
    let config = with_device(config, &runtime);
    let (_, Opened { model, sessions }) = Opened::first(&Files::new(&config.model, &runtime, &config))?;
    let reading = work.options.reading();
    let view = work
        .options
        .view(&model.labels)
        .map_err(|wrong| TagFileError::Option(wrong.to_string()))?;
    let limits = BulkLimits::of(&config);
    let (tagger, started) = Tagger::start(model, sessions, &Shared::new(config)?)?;
    all_started(started).await?;
    tagger.health.set_warm();

    let tagger = Arc::new(tagger);
    let bar = Bar::new(size);
    let chunks = bar.watch(input::chunks(input).map_err(ServerError::Io)?);
    let mut answers = std::pin::pin!(tag_lines(
        Arc::clone(&tagger),
        chunks,
        work.input,
        reading,
        limits
    ));
    let writer = Writer::new(work.output, view, &tagger);
    let mut tally = Tally::default();
    let written = |source| TagFileError::Write { source };
    writer.begin(&mut output).map_err(written)?;
    while let Some(group) = answers.next().await {
        let group = group.map_err(|cut| match cut {
            Cut::Input(source) => TagFileError::Read {
                path: work.file.clone(),
                source,
            },
            Cut::Stopping => TagFileError::Stopped,
        })?;
        for answered in &group {
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

/// Writes answers in one of the formats.
struct Writer<'t> {
    format: OutputFormat,
    view: View,
    tagger: &'t Tagger,
    page: Page,
}

impl<'t> Writer<'t> {
    fn new(format: OutputFormat, view: View, tagger: &'t Tagger) -> Self {
        Self {
            format,
            view,
            tagger,
            page: Page::new(&tagger.model),
        }
    }

    fn begin(&self, out: &mut impl Write) -> std::io::Result<()> {
        match self.format {
            OutputFormat::Ndjson | OutputFormat::Conll => Ok(()),
            OutputFormat::Html => self.page.begin(out),
        }
    }

    /// Writes what became of a line; yields why it failed if it did.
    fn line(&self, out: &mut impl Write, answered: &Answered) -> std::io::Result<Result<(), String>> {
        let outcome = answered.outcome.as_ref().map_err(ApiError::to_string);
        match self.format {
            OutputFormat::Ndjson => {
                serde_json::to_writer(&mut *out, &StreamLine::new(self.tagger, answered, &self.view))?;
                out.write_all(b"\n")?;
                Ok(outcome.map(|_| ()))
            }
            OutputFormat::Conll => match outcome {
                Ok(tagged) => conll::write(out, tagged, &self.tagger.model.labels),
                Err(problem) => Ok(Err(problem)),
            },
            OutputFormat::Html => {
                match outcome {
                    Ok(tagged) => self.page.text(out, answered.number, tagged, &self.view)?,
                    Err(ref problem) => self.page.failure(out, answered.number, problem)?,
                }
                Ok(outcome.map(|_| ()))
            }
        }
    }

    fn end(&self, out: &mut impl Write) -> std::io::Result<()> {
        match self.format {
            OutputFormat::Ndjson | OutputFormat::Conll => Ok(()),
            OutputFormat::Html => self.page.end(out),
        }
    }
}
