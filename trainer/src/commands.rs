//! The commands, from arguments to what they print.

use std::fs;
use std::io::{self, BufRead, BufReader, Write};
use std::path::Path;

use anyhow::{Result, anyhow};
use nerve_export::OpenOptions;
use nerve_tagging::conll::{self, Sentence};
use nerve_tagging::{Decoding, OrphanRule};
use nerve_trainer::corpus::Corpus;
use nerve_trainer::evaluate::{
    self, BundleTagger, CheckpointTagger, Tagger, evaluation_table, score_files, score_table, span_table,
};
use nerve_trainer::{Bar, TrainConfig, TrainOptions};
use serde::Serialize;

use crate::cli::ModelArgs;

/// Lines that are tagged together.
const LINES: usize = 256;

pub(crate) fn train(file: Option<&Path>, options: TrainOptions) -> Result<()> {
    let options = match file {
        Some(file) => options.or(TrainOptions::read(file)?),
        None => options,
    };
    let config = TrainConfig::new(options)?;
    let report = nerve_trainer::train(&config, &mut Bar::default())?;
    if let Some(test) = &report.test {
        print!("{}", evaluation_table(test));
    }
    println!("{}", report.best.display());
    Ok(())
}

pub(crate) fn evaluate(
    model: &ModelArgs,
    decoding: Decoding,
    data: &Path,
    json: Option<&Path>,
) -> Result<()> {
    let found = evaluate::evaluate(&mut *open(model, decoding)?, &Corpus::read(data)?)?;
    print!("{}", evaluation_table(&found));
    write_json(json, &found)
}

pub(crate) fn evaluate_raw(
    model: &ModelArgs,
    decoding: Decoding,
    data: &Path,
    json: Option<&Path>,
) -> Result<()> {
    let found = evaluate::evaluate_raw(&mut *open(model, decoding)?, &Corpus::read(data)?)?;
    print!("{}", span_table(&found));
    write_json(json, &found)
}

pub(crate) fn score(gold: &Path, predicted: &Path, strict: bool, json: bool) -> Result<()> {
    let orphans = if strict {
        OrphanRule::Drop
    } else {
        OrphanRule::Start
    };
    let score = score_files(gold, predicted, orphans)?;
    if json {
        println!("{}", serde_json::to_string(&score)?);
    } else {
        print!("{}", score_table(&score));
    }
    Ok(())
}

pub(crate) fn tag(model: &ModelArgs, text: &Path) -> Result<()> {
    let mut tagger = open(model, Decoding::default())?;
    let reader: Box<dyn BufRead> = if text == Path::new("-") {
        Box::new(io::stdin().lock())
    } else {
        let file = fs::File::open(text).map_err(|error| failed("read", text, &error))?;
        Box::new(BufReader::new(file))
    };
    let mut out = io::stdout().lock();
    let mut lines = reader.lines();
    loop {
        let chunk = lines.by_ref().take(LINES).collect::<io::Result<Vec<String>>>();
        let chunk = chunk.map_err(|error| failed("read", text, &error))?;
        if chunk.is_empty() {
            return Ok(());
        }
        out.write_all(conll::format(&tagged(&mut *tagger, &chunk)?).as_bytes())?;
    }
}

fn tagged(tagger: &mut dyn Tagger, lines: &[String]) -> Result<Vec<Sentence>> {
    let mut sentences = Vec::with_capacity(lines.len());
    for line in lines {
        let spans = tagger.split(line)?;
        let word = |span: nerve_tagging::ByteSpan| span.slice(line).map(str::to_owned);
        sentences.push(spans.into_iter().filter_map(word).collect::<Vec<String>>());
    }
    let labels = tagger.tag(&sentences)?;
    let name = |label| tagger.labels().name(label).unwrap_or("O").to_owned();
    let sentence = |(words, labels): (Vec<String>, Vec<nerve_tagging::WordLabel>)| Sentence {
        tags: labels.into_iter().map(|word| name(word.label)).collect(),
        words,
    };
    let all = sentences.into_iter().zip(labels);
    Ok(all.filter(|(words, _)| !words.is_empty()).map(sentence).collect())
}

fn open(model: &ModelArgs, decoding: Decoding) -> Result<Box<dyn Tagger>> {
    const MAX_LENGTH: usize = 128;
    let threads = model
        .threads
        .unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from));
    match (&model.checkpoint, &model.bundle) {
        (Some(dir), _) => {
            let max_length = model.max_length.unwrap_or(MAX_LENGTH);
            let tagger = CheckpointTagger::open(dir, max_length, threads)?;
            Ok(Box::new(tagger.with_decoding(decoding)))
        }
        (None, Some(dir)) => {
            let library = model.onnxruntime.as_deref();
            let plain = OpenOptions {
                onnx_file: model.onnx_file.clone(),
                splitter: model.splitter,
            };
            let tagger = BundleTagger::open(dir, &plain, library, threads)?;
            Ok(Box::new(tagger.with_decoding(decoding)))
        }
        (None, None) => anyhow::bail!("either --checkpoint or --bundle is needed"),
    }
}

fn write_json(path: Option<&Path>, figures: &impl Serialize) -> Result<()> {
    let Some(path) = path else {
        return Ok(());
    };
    let text = serde_json::to_vec_pretty(figures)?;
    fs::write(path, text).map_err(|error| failed("write", path, &error))
}

fn failed(action: &str, path: &Path, error: &io::Error) -> anyhow::Error {
    anyhow!("cannot {action} {}: {error}", path.display())
}
