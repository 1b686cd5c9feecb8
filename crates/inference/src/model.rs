//! An open model, read from a bundle, from the current version of a store, or from a plain Hugging Face export.

use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use nerve_repository::onnx::{CONTRIB, Outline};
use nerve_repository::{
    BundleEvaluation, ConfigError, HubSource, LocateError, Located, MANIFEST, Manifest, ManifestError,
    ModelConfig, PlainConfig, TokenizerConfig, locate, plain_graph, plain_version,
};
use nerve_tagging::{Decoder, LabelSet, Splitter, TagScheme, Temperature, WindowLimits, WindowLimitsError};
use serde::Serialize;
use thiserror::Error;

use crate::device::Device;
use crate::encoder::EncoderGraph;
use crate::interface::{GraphError, Interface, OneByOne, precision};
use crate::kernels::{GraphFormat, Kernels, KernelsInUse, UnusableKernels, choose_kernels};
use crate::pipeline_tokenizer::PipelineTokenizer;
use crate::runtime::{Runtime, SessionOptions};
use crate::session::{Session, SessionError};
use crate::text_tokenizer::TextTokenizer;
use crate::tokenizer_error::TokenizerError;
use crate::word_tagger::WordTagger;

/// Why a model directory cannot be opened.
#[derive(Debug, Error)]
pub enum ModelError {
    /// The path contains no model.
    #[error(transparent)]
    Locate(#[from] LocateError),
    /// An option for plain exports is given with a bundle.
    #[error("{}: --{option} is for plain exports; the manifest of this bundle states it", path.display())]
    NotPlain {
        /// The path of the bundle.
        path: PathBuf,
        /// The name of the option.
        option: &'static str,
    },
    /// The graph of a bundle uses an unsupported operator.
    #[error("{}: the graph uses the operator {operator}, which belongs neither to ONNX nor to ONNX Runtime", path.display())]
    Operator {
        /// The path of the manifest.
        path: PathBuf,
        /// The name of the operator, with its domain.
        operator: String,
    },
    /// The graph is not a supported token classifier.
    #[error(transparent)]
    Graph(#[from] GraphError),
    /// The manifest is invalid, or a file does not match it.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// The configuration or its labels are invalid.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The tokenizer is invalid.
    #[error(transparent)]
    Tokenizer(#[from] TokenizerError),
    /// The maximum length leaves no room for text.
    #[error("{}: maximum length {max_length}: {source}", path.display())]
    MaxLength {
        /// The directory.
        path: PathBuf,
        /// The maximum length, in tokens.
        max_length: usize,
        /// The reason.
        source: WindowLimitsError,
    },
    /// The kernels asked for cannot compute the encoder.
    #[error(transparent)]
    Kernels(#[from] UnusableKernels),
    /// The tokenizer has ids beyond the last row of the embedding table.
    #[error("{}: the tokenizer has {tokens} ids, but the embedding table has {rows} rows; the tokenizer is of another model", path.display())]
    Vocabulary {
        /// The directory.
        path: PathBuf,
        /// The highest id of the tokenizer plus one.
        tokens: usize,
        /// The number of rows of the embedding table.
        rows: usize,
    },
}

/// How to open a model. The options about its files are for plain exports, which have no manifest.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OpenOptions {
    /// Which kernels compute the encoder.
    pub kernels: Kernels,
    /// The device of the sessions to come. Nerve's kernels are for the CPU.
    pub device: Device,
    /// The path of the graph, relative to the directory; `model.onnx` or `onnx/model.onnx` if absent.
    pub onnx_file: Option<PathBuf>,
    /// How running text is split into words; at the tokenizer's pre-tokens if absent.
    pub splitter: Option<Splitter>,
    /// The model of the hub that the files of a plain export are from, which names the model.
    pub source: Option<HubSource>,
}

/// The description of a model that `/info` shows.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ModelInfo {
    /// The name of the model.
    pub name: String,
    /// The hash of everything that affects the answers of the model.
    pub version: String,
    /// `fp32`, `fp16` or `int8`. For a plain export, the graph shows the precision: `fp32`, `fp16`, `int8`,
    /// `int8-dynamic` or `int4`.
    pub precision: String,
    /// The label names, in the order of the logits.
    pub labels: Vec<String>,
    /// The tagging scheme of the labels.
    pub label_scheme: TagScheme,
    /// The longest window in tokens, special tokens included.
    pub max_length: usize,
    /// How running text is split into words.
    pub splitter: Splitter,
    /// The temperature by which logits are divided to compute scores; 1 if none is fitted.
    pub temperature: f64,
    /// Why windows run one by one; absent if they share batches.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub one_by_one: Option<OneByOne>,
    /// Whether the graph computes no padding, so that windows of different lengths can share a batch at no cost.
    pub padding_free: bool,
    /// The kernels that compute the encoder.
    pub kernels: KernelsInUse,
    /// The base model from which the model was fine-tuned.
    pub base: Option<String>,
    /// The model of the hub whose files these are, or that was exported.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<HubSource>,
    /// The scores measured at the export.
    pub evaluation: Option<BundleEvaluation>,
}

/// An open and validated model, which opens sessions.
pub struct Model {
    info: ModelInfo,
    labels: LabelSet,
    decoder: Decoder,
    tokenizer: Arc<TextTokenizer>,
    limits: WindowLimits,
    /// The longest sequence of the `transformers` pipeline, special tokens included.
    pipeline_max_length: usize,
    graph: PathBuf,
    interface: Interface,
    pad: u32,
    /// An operator for which a bundle runs only on the CPU.
    processor_operator: Option<String>,
    /// The graph with the encoder of `nerve-kernels`, if it runs; shared by all sessions.
    encoder: Option<EncoderGraph>,
}

impl Model {
    /// Opens the model at a path: a bundle, a store (its version `current`), or a directory with `config.json`, a
    /// tokenizer and `model.onnx` or `onnx/model.onnx`.
    pub fn open(path: &Path) -> Result<Self, ModelError> {
        Self::open_with(path, &OpenOptions::default())
    }

    /// The same as [`Self::open`], with options for plain exports.
    pub fn open_with(path: &Path, options: &OpenOptions) -> Result<Self, ModelError> {
        // The link is resolved once, so that files of two versions are not mixed if `current` changes in the
        // meantime.
        Self::open_located(&locate(path)?, options)
    }

    /// Opens the model in a located directory.
    pub fn open_located(at: &Located, options: &OpenOptions) -> Result<Self, ModelError> {
        // A version of a store without a manifest is an incomplete copy, not a plain export.
        if at.in_store || at.dir.join(MANIFEST).is_file() {
            Self::open_bundle(&at.dir, options)
        } else {
            Self::open_plain(&at.dir, options)
        }
    }

    fn open_bundle(dir: &Path, options: &OpenOptions) -> Result<Self, ModelError> {
        let not_plain = |option| ModelError::NotPlain {
            path: dir.to_owned(),
            option,
        };
        if options.onnx_file.is_some() {
            return Err(not_plain("onnx-file"));
        }
        let manifest = Manifest::read(dir)?;
        // A checkpoint that was exported with an option has it in its manifest.
        if options
            .splitter
            .is_some_and(|splitter| splitter != manifest.splitter)
        {
            return Err(not_plain("splitter"));
        }
        let config_path = dir.join("config.json");
        let config = ModelConfig::read(&config_path)?;
        let labels = config.labels(&config_path)?;
        if labels.names() != manifest.labels {
            return Err(ManifestError::Labels {
                path: dir.join(MANIFEST),
            }
            .into());
        }
        let operators = &manifest.graph.operators;
        if let Some(operator) = operators.iter().find(|operator| is_foreign(operator)) {
            return Err(ModelError::Operator {
                path: dir.join(MANIFEST),
                operator: operator.clone(),
            });
        }
        let processor_operator = PROCESSOR_OPERATORS
            .into_iter()
            .find(|only| operators.iter().any(|operator| operator == only));
        let graph = dir.join("model.onnx");
        let outline = read_outline(&graph)?;
        let interface = Interface::of(&outline, &graph, labels.len())?;
        // `open_dir` would read files that the manifest does not list.
        let tokenizer = TextTokenizer::open(&dir.join("tokenizer.json"))?;
        let model_max_length = match manifest.has_tokenizer_config() {
            true => TokenizerConfig::read(dir)?.model_max_length,
            false => None,
        };
        let temperature = manifest.scores_temperature(&dir.join(MANIFEST))?;
        let transitions = manifest.transition_scores(&dir.join(MANIFEST))?;
        let decoder = Decoder::new(&labels)
            .with_temperature(temperature)
            .with_transitions(transitions)
            .ok_or_else(|| ManifestError::Transitions {
                path: dir.join(MANIFEST),
                labels: labels.len(),
            })?;
        let format = GraphFormat::Bundle {
            precision: manifest.precision,
            padding_free: manifest.graph.padding_free,
        };
        let (encoder, kernels) = choose_kernels(options.kernels, options.device, format, &graph)?;
        let info = ModelInfo {
            name: manifest.name,
            version: manifest.version,
            precision: manifest.precision.to_string(),
            labels: manifest.labels,
            label_scheme: labels.scheme(),
            max_length: manifest.max_length.min(config.max_length()),
            splitter: manifest.splitter,
            temperature: temperature.get(),
            one_by_one: interface.one_by_one,
            padding_free: manifest.graph.padding_free,
            kernels,
            base: manifest.base,
            source: manifest.source,
            evaluation: manifest.evaluation,
        };
        let parts = ModelParts {
            labels,
            decoder,
            tokenizer,
            graph,
            interface,
            rows: outline.table_rows("input_ids").or(Some(config.vocab_size)),
            pad: config.pad_token_id,
            pipeline_max_length: model_max_length.map(|length| length.min(config.max_length())),
            processor_operator: processor_operator.map(str::to_owned),
            encoder,
        };
        Self::assemble(dir, info, parts)
    }

    fn open_plain(dir: &Path, options: &OpenOptions) -> Result<Self, ModelError> {
        let graph = plain_graph(dir, options.onnx_file.as_deref())?;
        let config = PlainConfig::read(dir)?;
        let outline = read_outline(&graph)?;
        let interface = Interface::of(&outline, &graph, config.labels.len())?;
        let tokenizer = TextTokenizer::open_dir(dir)?;
        // The directory of a model of the hub is named after its commit.
        let named = options
            .source
            .as_ref()
            .map_or(dir, |source| Path::new(&source.id));
        let name = named.file_name().unwrap_or(dir.as_os_str());
        let splitter = options.splitter.unwrap_or(Splitter::Bert);
        let (encoder, kernels) = choose_kernels(options.kernels, options.device, GraphFormat::Plain, &graph)?;
        let info = ModelInfo {
            name: name.to_string_lossy().into_owned(),
            version: plain_version(dir, &graph, &outline, splitter)?,
            precision: precision(&outline).to_owned(),
            labels: config.labels.names().to_vec(),
            label_scheme: config.labels.scheme(),
            max_length: config.max_length,
            splitter,
            temperature: Temperature::default().get(),
            one_by_one: interface.one_by_one,
            padding_free: false,
            kernels,
            base: None,
            source: options.source.clone(),
            evaluation: None,
        };
        let parts = ModelParts {
            pad: config.pad(|token| tokenizer.token_to_id(token))?,
            decoder: Decoder::new(&config.labels),
            labels: config.labels,
            tokenizer,
            graph,
            interface,
            rows: outline.table_rows("input_ids").or(config.vocab_size),
            pipeline_max_length: None,
            processor_operator: None,
            encoder,
        };
        Self::assemble(dir, info, parts)
    }

    fn assemble(dir: &Path, info: ModelInfo, parts: ModelParts) -> Result<Self, ModelError> {
        let tokens = parts.tokenizer.vocab_size().max(parts.pad as usize + 1);
        if let Some(rows) = parts.rows.filter(|rows| tokens > *rows) {
            return Err(ModelError::Vocabulary {
                path: dir.to_owned(),
                tokens,
                rows,
            });
        }
        let (before, after) = parts.tokenizer.specials();
        let limits = WindowLimits::for_encoder(info.max_length, before + after).map_err(|source| {
            ModelError::MaxLength {
                path: dir.to_owned(),
                max_length: info.max_length,
                source,
            }
        })?;
        // A maximum length without room for text cannot be a truncation length.
        let pipeline_max_length = parts
            .pipeline_max_length
            .filter(|&length| length > before + after);
        let pipeline_max_length = pipeline_max_length.unwrap_or(info.max_length);
        Ok(Self {
            info,
            labels: parts.labels,
            decoder: parts.decoder,
            tokenizer: Arc::new(parts.tokenizer),
            pipeline_max_length,
            limits,
            graph: parts.graph,
            interface: parts.interface,
            pad: parts.pad,
            processor_operator: parts.processor_operator,
            encoder: parts.encoder,
        })
    }

    /// The description of the model.
    pub fn info(&self) -> &ModelInfo {
        &self.info
    }

    /// The labels of the model.
    pub fn labels(&self) -> &LabelSet {
        &self.labels
    }

    /// The decoder from logits to word labels, with the transition scores of the model and scores at its temperature.
    pub fn decoder(&self) -> Decoder {
        self.decoder.clone()
    }

    /// The tokenizer of the model.
    pub fn tokenizer(&self) -> &Arc<TextTokenizer> {
        &self.tokenizer
    }

    /// A tokenizer that reads text as the `transformers` pipeline does.
    ///
    /// Its longest sequence is `model_max_length` of the directory's `tokenizer_config.json`, or else the maximum
    /// length of the model.
    pub fn pipeline_tokenizer(&self) -> PipelineTokenizer {
        PipelineTokenizer::new(&self.tokenizer, self.pipeline_max_length)
    }

    /// How running text is split into words.
    pub fn splitter(&self) -> Splitter {
        self.info.splitter
    }

    /// The limits of a window.
    pub fn limits(&self) -> WindowLimits {
        self.limits
    }

    /// Opens a session of the model; each run checks that the width of the logits is the number of labels.
    pub fn session(&self, runtime: &Runtime, options: &SessionOptions) -> Result<Session, SessionError> {
        if let Some(operator) = &self.processor_operator
            && options.device != Device::Cpu
        {
            return Err(SessionError::ProcessorGraph {
                path: self.graph.clone(),
                operator: operator.clone(),
                device: options.device,
            });
        }
        let (interface, path) = (self.interface.clone(), self.graph.as_path());
        match &self.encoder {
            Some(graph) => Session::with_encoder(graph, path, runtime, options, interface, self.pad),
            None => Session::open(path, runtime, options, interface, self.pad),
        }
    }

    /// A tagger on a new session of the model.
    pub fn tagger(
        &self,
        runtime: &Runtime,
        options: &SessionOptions,
    ) -> Result<WordTagger<Session>, SessionError> {
        let session = self.session(runtime, options)?;
        let tagger = WordTagger::new(
            session,
            Arc::clone(&self.tokenizer),
            self.labels.clone(),
            self.limits,
        );
        Ok(tagger
            .with_splitter(self.info.splitter)
            .with_decoder(self.decoder.clone()))
    }
}

/// The parts of a model, read from any kind of directory.
struct ModelParts {
    labels: LabelSet,
    decoder: Decoder,
    tokenizer: TextTokenizer,
    graph: PathBuf,
    interface: Interface,
    /// The number of rows of the word embedding table, if known.
    rows: Option<usize>,
    pad: u32,
    /// The longest sequence of the `transformers` pipeline, if it differs from that of the model.
    pipeline_max_length: Option<usize>,
    processor_operator: Option<String>,
    encoder: Option<EncoderGraph>,
}

/// Operators of bundles that run only on the CPU: integer matrix products, and operators that compute shapes.
const PROCESSOR_OPERATORS: [&str; 2] = ["com.microsoft.QGemm", "Shape"];

/// Whether an operator, named as in a manifest, belongs neither to ONNX nor to ONNX Runtime.
fn is_foreign(operator: &str) -> bool {
    operator
        .rsplit_once('.')
        .is_some_and(|(domain, _)| domain != CONTRIB)
}

/// The outline of a model file, after a check that all its weight files exist.
fn read_outline(path: &Path) -> Result<Outline, GraphError> {
    let bytes = std::fs::read(path).map_err(|source| GraphError::Read {
        path: path.to_owned(),
        source,
    })?;
    let outline = Outline::parse(&bytes).map_err(|reason| GraphError::NotOnnx {
        path: path.to_owned(),
        reason,
    })?;
    let dir = path.parent().unwrap_or(Path::new("."));
    for file in outline.external_files() {
        // A file in another directory is not hashed, and recent versions of ONNX Runtime do not open it.
        let inside = Path::new(file)
            .components()
            .all(|part| matches!(part, Component::Normal(_)));
        if !inside || !dir.join(file).is_file() {
            return Err(GraphError::Weights {
                path: path.to_owned(),
                file: file.to_owned(),
            });
        }
    }
    Ok(outline)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Otherwise a server would keep the weights of every version that it has replaced.
    #[test]
    fn the_encoder_is_freed_with_the_model_and_its_last_session() {
        let options = OpenOptions {
            kernels: Kernels::Nerve,
            ..OpenOptions::default()
        };
        let path = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../models/default"));
        let model = Model::open_with(path, &options).unwrap();
        let encoder = Arc::downgrade(&model.encoder.as_ref().unwrap().encoder);
        let runtime = Runtime::load(None).unwrap();
        let mut sessions = [1, 2].map(|_| model.session(&runtime, &SessionOptions::default()).unwrap());
        drop(model);
        for session in &mut sessions {
            session.run(&[&[101, 7592, 102], &[101, 102]]).unwrap();
        }
        assert_eq!(
            encoder.strong_count(),
            4,
            "one for the operator and one for the kernel of each session"
        );
        drop(sessions);
        assert_eq!(encoder.strong_count(), 0);
    }
}
