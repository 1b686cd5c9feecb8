//! Exports a checkpoint as a bundle, which is written, opened and evaluated before it gets its name.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use nerve_inference::{
    EncoderError, Model, ModelError, Runtime, SessionError, SessionOptions, TagError, TextEncoder, encode,
    tag,
};
use nerve_repository::onnx::OPSET;
use nerve_repository::{
    Calibration, CalibrationError, Checkpoint, CheckpointError, Evaluation, FILES, FORMAT_VERSION, FileError,
    FileInfo, GraphInfo, MANIFEST, Manifest, Precision, TOKENIZER_CONFIG, create_dir_synced, parent,
    rename_synced, set_readable, write_synced,
};
use nerve_tagging::conll::{self, ConllError, Sentence};
use nerve_tagging::{
    Decoding, OrphanRule, Scorer, Splitter, Tag, WindowLimits, WindowLimitsError, split_corpus,
};
use thiserror::Error;

use crate::calibrate::calibrate;
use crate::graph::{Arithmetic, LogitsOf, build};

/// What to export and where.
#[derive(Clone, Debug)]
pub struct BundleRequest {
    /// A Hugging Face checkpoint directory.
    pub checkpoint: PathBuf,
    /// The bundle directory to make; it must not exist.
    pub out: PathBuf,
    /// The arithmetic.
    pub precision: Precision,
    /// Which tokens the graph computes logits for, and so whether it is padding-free.
    pub logits_of: LogitsOf,
    /// CoNLL, or one text a line (`.txt`): what int8 ranges are observed on.
    pub calibration: Option<PathBuf>,
    /// How many of those texts are observed at most, evenly spaced over the file.
    pub calibration_texts: usize,
    /// A CoNLL file to evaluate the bundle on before it is written.
    pub evaluate: Option<PathBuf>,
    /// The model's name.
    pub name: String,
    /// The base model's name.
    pub base: Option<String>,
    /// Longest window in tokens, special tokens included; at most the positions of the model.
    pub max_length: usize,
    /// How running text is split into words.
    pub splitter: Splitter,
}

/// Why a checkpoint was not exported.
#[derive(Debug, Error)]
pub enum ExportError {
    /// The checkpoint is unusable.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The tokenizer is unusable.
    #[error(transparent)]
    Encoder(#[from] EncoderError),
    /// The checkpoint's temperature is unusable.
    #[error(transparent)]
    Calibration(#[from] CalibrationError),
    /// ONNX Runtime refuses the graph.
    #[error(transparent)]
    Session(#[from] SessionError),
    /// The written bundle does not open.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The written bundle does not answer.
    #[error(transparent)]
    Tag(#[from] TagError),
    /// int8 was asked for without text to observe.
    #[error("int8 needs --calibration FILE: activation ranges are fixed by observing real text")]
    NoCalibration,
    /// The calibration file holds no text.
    #[error("{}: no text", path.display())]
    EmptyCorpus {
        /// The file.
        path: PathBuf,
    },
    /// The maximum length does not fit the model.
    #[error("--max-length is {max_length}, but the model has {positions} positions")]
    MaxLength {
        /// The maximum length requested.
        max_length: usize,
        /// The positions of the model.
        positions: usize,
    },
    /// The maximum length leaves no room for text.
    #[error(transparent)]
    Limits(#[from] WindowLimitsError),
    /// The target exists.
    #[error("{} exists already; remove it or choose another --out", path.display())]
    Exists {
        /// The target.
        path: PathBuf,
    },
    /// A file cannot be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// A line of a corpus is not a word and a tag.
    #[error("{}: {source}", path.display())]
    Corpus {
        /// The file.
        path: PathBuf,
        /// The line.
        source: ConllError,
    },
    /// A corpus has a tag the model does not.
    #[error("{}: sentence {sentence}: tag `{tag}` is not a label of the model", path.display())]
    UnknownTag {
        /// The file.
        path: PathBuf,
        /// The sentence, counted from 1.
        sentence: usize,
        /// The tag.
        tag: String,
    },
    /// The manifest cannot be written as JSON.
    #[error("manifest: {0}")]
    Manifest(#[from] serde_json::Error),
}

/// Exports a checkpoint as a bundle and yields its manifest.
///
/// The bundle is written to a temporary directory beside the target, synced, opened, evaluated and then renamed, so that the
/// target is a complete bundle or does not exist.
pub fn export(request: &BundleRequest, runtime: &Runtime) -> Result<Manifest, ExportError> {
    let out = &request.out;
    if out.symlink_metadata().is_ok() {
        return Err(ExportError::Exists { path: out.clone() });
    }
    let checkpoint = Checkpoint::open(&request.checkpoint)?;
    let positions = checkpoint.config.max_length();
    if request.max_length > positions {
        return Err(ExportError::MaxLength {
            max_length: request.max_length,
            positions,
        });
    }
    let temperature = Calibration::read(&request.checkpoint)?.map(|fitted| fitted.temperature);
    let encoder = TextEncoder::open_dir(&request.checkpoint)?;
    let (before, after) = encoder.specials();
    let limits = WindowLimits::for_encoder(request.max_length, before + after)?;
    let graph_in = |arithmetic| build(&checkpoint, arithmetic, request.logits_of);
    let graph = match request.precision {
        Precision::Fp32 => graph_in(Arithmetic::Float)?,
        Precision::Fp16 => graph_in(Arithmetic::Half)?,
        Precision::Int8 => {
            let path = request.calibration.as_ref().ok_or(ExportError::NoCalibration)?;
            let encoded = encode(
                &encoder,
                limits,
                &sample(read_words(path)?, request.calibration_texts),
            )?;
            if encoded.windows.is_empty() {
                return Err(ExportError::EmptyCorpus { path: path.clone() });
            }
            let observed = graph_in(Arithmetic::Observed)?;
            let ranges = calibrate(&checkpoint, &observed, &encoded.windows, runtime)?;
            graph_in(Arithmetic::Int8(&ranges))?
        }
    };

    let parent = parent(out);
    create_dir_synced(parent)?;
    let staging = tempfile::Builder::new()
        .prefix(".bundle-")
        .tempdir_in(parent)
        .map_err(FileError::at(parent))?;
    let dir = staging.path();
    let config = serde_json::to_vec_pretty(&checkpoint.config)?;
    write_synced(&dir.join("model.onnx"), &graph.bytes)?;
    write_synced(&dir.join("config.json"), &config)?;
    encoder.save(&dir.join("tokenizer.json"))?;

    let tokenizer_config = request.checkpoint.join(TOKENIZER_CONFIG);
    let has_tokenizer_config = tokenizer_config.is_file();
    if has_tokenizer_config {
        let settings = fs::read(&tokenizer_config).map_err(FileError::at(&tokenizer_config))?;
        write_synced(&dir.join(TOKENIZER_CONFIG), &settings)?;
    }

    let mut files = BTreeMap::new();
    for name in FILES
        .into_iter()
        .chain(has_tokenizer_config.then_some(TOKENIZER_CONFIG))
    {
        let path = dir.join(name);
        files.insert(
            name.to_owned(),
            FileInfo::of(&path).map_err(FileError::at(&path))?,
        );
    }
    let mut manifest = Manifest {
        format_version: FORMAT_VERSION,
        name: request.name.clone(),
        version: String::new(),
        labels: checkpoint.labels.names().to_vec(),
        max_length: request.max_length,
        precision: request.precision,
        splitter: request.splitter,
        temperature,
        graph: GraphInfo {
            inputs: graph.inputs,
            opset: OPSET,
            operators: graph.operators,
            padding_free: graph.padding_free,
        },
        files,
        base: request.base.clone(),
        evaluation: None,
        made_by: concat!(env!("CARGO_PKG_NAME"), " ", env!("CARGO_PKG_VERSION")).to_owned(),
    };
    manifest.version = manifest.content_version()?;
    let manifest_path = dir.join(MANIFEST);
    write_synced(&manifest_path, &serde_json::to_vec_pretty(&manifest)?)?;
    let model = Model::open(dir)?;
    if let Some(path) = &request.evaluate {
        manifest.evaluation = Some(evaluate(&model, path, runtime)?);
        write_synced(&manifest_path, &serde_json::to_vec_pretty(&manifest)?)?;
    } else {
        model.session(runtime, &SessionOptions::default())?;
    }
    set_readable(dir)?;
    rename_synced(dir, out)?;
    Ok(manifest)
}

/// At most `most` of the texts, evenly spaced.
fn sample(texts: Vec<Vec<String>>, most: usize) -> Vec<Vec<String>> {
    let step = texts.len().div_ceil(most.max(1)).max(1);
    texts.into_iter().step_by(step).collect()
}

/// Entity precision, recall and F1 of a model on a CoNLL file.
pub(crate) fn evaluate(model: &Model, path: &Path, runtime: &Runtime) -> Result<Evaluation, ExportError> {
    let sentences = read_conll(path)?;
    let words: Vec<Vec<String>> = sentences.iter().map(|sentence| sentence.words.clone()).collect();
    let mut session = model.session(runtime, &SessionOptions::default())?;
    let answers = tag(model, &mut session, &words, Decoding::default())?;
    let labels = model.labels();
    let mut scorer = Scorer::new(labels, OrphanRule::Start);
    for (index, (sentence, answer)) in sentences.iter().zip(&answers).enumerate() {
        let gold = sentence.tags.iter().map(|name| {
            labels
                .parse(name)
                .and_then(|id| labels.tag(id))
                .ok_or_else(|| ExportError::UnknownTag {
                    path: path.to_owned(),
                    sentence: index + 1,
                    tag: name.clone(),
                })
        });
        let gold: Vec<Tag> = gold.collect::<Result<_, _>>()?;
        let predicted: Vec<Tag> = answer.iter().filter_map(|word| labels.tag(word.label)).collect();
        scorer.add(&sentence.words, &gold, &predicted);
    }
    let split = path
        .file_stem()
        .unwrap_or(path.as_os_str())
        .to_string_lossy()
        .into_owned();
    Ok(Evaluation::new(split, scorer.finish().entity))
}

fn read_conll(path: &Path) -> Result<Vec<Sentence>, ExportError> {
    let text = fs::read_to_string(path).map_err(FileError::at(path))?;
    let sentences = conll::parse(&text).map_err(|source| ExportError::Corpus {
        path: path.to_owned(),
        source,
    })?;
    Ok(sentences.into_iter().map(|(_, sentence)| sentence).collect())
}

/// The words of a corpus file: CoNLL, or one running text a line where the name ends in `.txt`.
pub(crate) fn read_words(path: &Path) -> Result<Vec<Vec<String>>, ExportError> {
    if path.extension().is_none_or(|extension| extension != "txt") {
        return Ok(read_conll(path)?
            .into_iter()
            .map(|sentence| sentence.words)
            .collect());
    }
    let text = fs::read_to_string(path).map_err(FileError::at(path))?;
    let words = |line: &str| {
        split_corpus(line)
            .into_iter()
            .filter_map(|span| span.slice(line))
            .map(str::to_owned)
            .collect()
    };
    Ok(text.lines().map(words).collect())
}
