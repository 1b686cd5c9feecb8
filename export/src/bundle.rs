//! Exports a checkpoint as a bundle. The bundle is written, opened and evaluated before it is renamed to its path.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use nerve_corpus::Corpus;
use nerve_inference::{Model, Runtime, SessionOptions, TextTokenizer, encode};
use nerve_repository::onnx::OPSET;
use nerve_repository::{
    BundleEvaluation, Calibration, Checkpoint, FILES, FORMAT_VERSION, FileError, FileInfo, GraphInfo,
    HubSource, MANIFEST, Manifest, Precision, TOKENIZER_CONFIG, create_dir_synced, parent, rename_synced,
    set_readable, write_synced,
};
use nerve_tagging::{Splitter, WindowLimits};

use crate::calibrate::calibrate;
use crate::cancellation::Cancellation;
use crate::export_error::ExportError;
use crate::graph::classifier::build;
use crate::graph::options::{Arithmetic, LogitsOf};

/// The program, as manifests name it.
pub(crate) const MADE_BY: &str = concat!(env!("CARGO_PKG_NAME"), " ", env!("CARGO_PKG_VERSION"));

/// The inputs and options of an export.
#[derive(Clone, Debug)]
pub struct BundleRequest {
    /// The directory of a Hugging Face checkpoint.
    pub checkpoint: PathBuf,
    /// The directory of the bundle, which must not exist yet.
    pub out: PathBuf,
    /// The precision of the graph.
    pub precision: Precision,
    /// The tokens whose logits the graph computes, which also decides whether it is padding-free.
    pub logits_of: LogitsOf,
    /// The words of the sentences from which int8 ranges are measured; other precisions need none.
    pub calibration: Vec<Vec<String>>,
    /// The maximum number of these sentences that are used, evenly spaced.
    pub calibration_texts: usize,
    /// The corpus on which the bundle is evaluated before it is renamed to its path.
    pub evaluate: Option<Corpus>,
    /// The name of the model.
    pub name: String,
    /// The name of the base model.
    pub base: Option<String>,
    /// The model of the hub that the checkpoint is.
    pub source: Option<HubSource>,
    /// The longest window in tokens, special tokens included; at most the number of positions of the model.
    pub max_length: usize,
    /// How running text is split into words.
    pub splitter: Splitter,
    /// Stops the export.
    pub cancellation: Cancellation,
}

/// Exports a checkpoint as a bundle and returns its manifest.
///
/// The bundle is written to a temporary directory next to its path, synced, opened, evaluated, and then renamed. So
/// the path contains a complete bundle or does not exist.
pub fn export(request: &BundleRequest, runtime: &Runtime) -> Result<Manifest, ExportError> {
    let out = &request.out;
    if out.symlink_metadata().is_ok() {
        return Err(ExportError::Exists { path: out.clone() });
    }
    let cancellation = &request.cancellation;
    let checkpoint = Checkpoint::open(&request.checkpoint)?;
    cancellation.check()?;
    let positions = checkpoint.config.max_length();
    if request.max_length > positions {
        return Err(ExportError::MaxLength {
            max_length: request.max_length,
            positions,
        });
    }
    let temperature = Calibration::read(&request.checkpoint)?.map(|fitted| fitted.temperature);
    let tokenizer = TextTokenizer::open_dir(&request.checkpoint)?;
    let (before, after) = tokenizer.specials();
    let limits = WindowLimits::for_encoder(request.max_length, before + after)?;
    let graph_in = |arithmetic| build(&checkpoint, arithmetic, request.logits_of);
    let graph = match request.precision {
        Precision::Fp32 => graph_in(Arithmetic::Float)?,
        Precision::Fp16 => graph_in(Arithmetic::Half)?,
        Precision::Int8 => {
            if request.calibration.is_empty() {
                return Err(ExportError::NoCalibration);
            }
            let sentences = sample(&request.calibration, request.calibration_texts);
            let encoded = encode(&tokenizer, limits, &sentences)?;
            if encoded.is_empty() {
                return Err(ExportError::EmptyCalibration {
                    sentences: sentences.len(),
                });
            }
            let observed = graph_in(Arithmetic::Observed)?;
            let ranges = calibrate(&checkpoint, &observed, &encoded, runtime, cancellation)?;
            graph_in(Arithmetic::Int8(&ranges))?
        }
    };

    cancellation.check()?;
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
    tokenizer.save(&dir.join("tokenizer.json"))?;

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
        transitions: checkpoint.transitions()?,
        graph: GraphInfo {
            inputs: graph.inputs,
            opset: OPSET,
            operators: graph.operators,
            padding_free: graph.padding_free,
        },
        files,
        base: request.base.clone(),
        source: request.source.clone(),
        evaluation: None,
        made_by: MADE_BY.to_owned(),
    };
    manifest.version = manifest.content_version()?;
    let manifest_path = dir.join(MANIFEST);
    write_synced(&manifest_path, &serde_json::to_vec_pretty(&manifest)?)?;
    cancellation.check()?;
    let model = Model::open(dir)?;
    if let Some(corpus) = &request.evaluate {
        manifest.evaluation = Some(evaluate(&model, corpus, runtime)?);
        write_synced(&manifest_path, &serde_json::to_vec_pretty(&manifest)?)?;
    } else {
        model.session(runtime, &SessionOptions::default())?;
    }
    set_readable(dir)?;
    rename_synced(dir, out)?;
    Ok(manifest)
}

/// At most `most` of the sentences, evenly spaced.
pub(crate) fn sample(sentences: &[Vec<String>], most: usize) -> Vec<Vec<String>> {
    let step = sentences.len().div_ceil(most.max(1)).max(1);
    sentences.iter().step_by(step).cloned().collect()
}

/// The entity precision, recall and F1 of a model on a corpus. A gold entity whose type the model does not have
/// counts as missed.
pub(crate) fn evaluate(
    model: &Model,
    corpus: &Corpus,
    runtime: &Runtime,
) -> Result<BundleEvaluation, ExportError> {
    let mut tagger = model.tagger(runtime, &SessionOptions::default())?;
    let found = nerve_inference::evaluate(&mut tagger, &corpus.sentences)?;
    Ok(BundleEvaluation::new(corpus.split_name(), found.score.entity))
}
