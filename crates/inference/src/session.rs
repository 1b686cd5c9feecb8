//! An ONNX Runtime session of a model, from token ids to label logits.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use half::f16;
use ort::session::SessionInputValue;
use ort::value::{Shape, TensorRef};
use thiserror::Error;

use crate::device::Device;
use crate::encoder::EncoderGraph;
use crate::first_alone::FirstAlone;
use crate::interface::{Float, GraphError, Input, Integer, Interface};
use crate::runtime::{Runtime, SessionOptions};
use nerve_kernels::operator_domain;
use nerve_repository::onnx::{Outline, SELECTION};

/// Why a session cannot be opened or run.
#[derive(Debug, Error)]
pub enum SessionError {
    /// ONNX Runtime cannot open the model on the device.
    #[error("{}: ONNX Runtime cannot open the model: {reason}", path.display())]
    Open {
        /// The model file.
        path: PathBuf,
        /// The error of ONNX Runtime.
        reason: String,
    },
    /// The device is CUDA, but the library was built without CUDA.
    #[error(
        "{} has no CUDA execution provider; download a library that has one with `make onnxruntime-cuda` and name it with --onnxruntime",
        library.display()
    )]
    NoCuda {
        /// The path of the ONNX Runtime library.
        library: PathBuf,
    },
    /// The device is CUDA, but the graph of the bundle runs only on the CPU.
    #[error(
        "{}: its operator {operator} runs on the CPU only; for {device}, export the model with --precision fp16",
        path.display()
    )]
    ProcessorGraph {
        /// The model file.
        path: PathBuf,
        /// The name of the operator.
        operator: String,
        /// The device.
        device: Device,
    },
    /// The graph is not a supported token classifier.
    #[error(transparent)]
    Graph(#[from] GraphError),
    /// A run failed.
    #[error("inference failed: {reason}")]
    Run {
        /// The error of ONNX Runtime.
        reason: String,
    },
}

impl SessionError {
    fn open(path: &Path, error: &ort::Error) -> Self {
        Self::Open {
            path: path.to_owned(),
            reason: error.to_string(),
        }
    }

    fn run(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Run {
            reason: error.into().to_string(),
        }
    }
}

/// The opening of sessions: the first one with Nerve's operator opens alone.
static OPENING: FirstAlone = FirstAlone::new();

/// One session of a model. A run needs exclusive access, so each worker has its own session.
pub struct Session {
    session: ort::session::Session,
    path: PathBuf,
    interface: Interface,
    pad: u32,
}

/// The label logits of the tokens of a batch.
#[derive(Clone, Debug, PartialEq)]
pub struct Logits {
    data: Vec<f32>,
    rows: Rows,
    labels: usize,
}

/// The tokens to which the rows of logits belong.
#[derive(Clone, Debug, PartialEq)]
enum Rows {
    /// Every token of every sequence; all sequences are padded to this length.
    EveryToken { length: usize },
    /// These tokens as (sequence, position) pairs, ascending.
    Selected(Vec<(usize, usize)>),
}

impl Logits {
    /// The label logits of one token; `None` if the token is not in the batch or not selected.
    pub fn row(&self, sequence: usize, position: usize) -> Option<&[f32]> {
        let row = match &self.rows {
            Rows::EveryToken { length } if position < *length => sequence * length + position,
            Rows::EveryToken { .. } => return None,
            Rows::Selected(tokens) => tokens.binary_search(&(sequence, position)).ok()?,
        };
        self.data.get(row * self.labels..(row + 1) * self.labels)
    }
}

/// The tokens whose logits a run computes.
#[derive(Clone, Copy)]
enum TokenSelection<'a> {
    EveryToken,
    /// These positions of each sequence.
    Positions(&'a [&'a [usize]]),
}

impl TokenSelection<'_> {
    /// The selected tokens of these sequences as (sequence, position) pairs, ascending. If none is selected, the
    /// first token, because ONNX Runtime cannot multiply a matrix without rows.
    fn tokens(self, sequences: &[&[u32]]) -> Vec<(usize, usize)> {
        let mut tokens = Vec::new();
        for (number, sequence) in sequences.iter().enumerate() {
            let token = |position| (number, position);
            match self {
                Self::EveryToken => tokens.extend((0..sequence.len()).map(token)),
                Self::Positions(positions) => {
                    let of_sequence = positions.get(number).copied().unwrap_or_default();
                    let inside = of_sequence.iter().copied().filter(|&at| at < sequence.len());
                    tokens.extend(inside.map(token));
                }
            }
        }
        if tokens.is_empty() {
            tokens.push((0, 0));
        }
        tokens.sort_unstable();
        tokens.dedup();
        tokens
    }
}

impl Session {
    /// Opens the model file at `path`; `pad` is the id of the padding token.
    pub(crate) fn open(
        path: &Path,
        runtime: &Runtime,
        options: &SessionOptions,
        interface: Interface,
        pad: u32,
    ) -> Result<Self, SessionError> {
        if options.device != Device::Cpu && !runtime.has_cuda() {
            return Err(SessionError::NoCuda {
                library: runtime.library().to_owned(),
            });
        }
        let open = || runtime.builder(options)?.commit_from_file(path);
        let session = OPENING
            .call_beside(open)
            .map_err(|error| SessionError::open(path, &error))?;
        Ok(Self::new(session, path, interface, pad))
    }

    /// Opens a model whose encoder was replaced by the operator of `nerve-kernels`; errors name it `path`.
    pub(crate) fn with_encoder(
        graph: &EncoderGraph,
        path: &Path,
        runtime: &Runtime,
        options: &SessionOptions,
        interface: Interface,
        pad: u32,
    ) -> Result<Self, SessionError> {
        let open = || {
            let domain = operator_domain(Arc::clone(&graph.encoder), options.intra_threads)?;
            let mut builder = runtime.builder(options)?.with_operators(domain)?;
            builder.commit_from_memory(&graph.model)
        };
        let session = OPENING
            .call(open)
            .map_err(|error| SessionError::open(path, &error))?;
        Ok(Self::new(session, path, interface, pad))
    }

    /// Opens a model in memory, whose logits must be `labels` wide; errors name it `path`.
    pub fn from_bytes(
        bytes: &[u8],
        path: &Path,
        runtime: &Runtime,
        options: &SessionOptions,
        labels: usize,
        pad: u32,
    ) -> Result<Self, SessionError> {
        let outline = Outline::parse(bytes).map_err(|reason| GraphError::NotOnnx {
            path: path.to_owned(),
            reason,
        })?;
        let interface = Interface::of(&outline, path, labels)?;
        let open = || runtime.builder(options)?.commit_from_memory(bytes);
        let session = OPENING
            .call_beside(open)
            .map_err(|error| SessionError::open(path, &error))?;
        Ok(Self::new(session, path, interface, pad))
    }

    fn new(session: ort::session::Session, path: &Path, interface: Interface, pad: u32) -> Self {
        Self {
            session,
            path: path.to_owned(),
            interface,
            pad,
        }
    }

    /// The logits of every token of these sequences of token ids, special tokens included.
    ///
    /// The sequences run as one batch, padded to the longest one, unless their logits would then depend on one
    /// another ([`crate::OneByOne`]).
    pub fn run(&mut self, sequences: &[&[u32]]) -> Result<Logits, SessionError> {
        self.run_batch(sequences, TokenSelection::EveryToken)
    }

    /// The logits of the tokens at these positions of each sequence, or of all tokens if the graph cannot select
    /// tokens.
    ///
    /// The rows are bit-identical to those of [`Self::run`]. After its attention, the last layer computes only the
    /// selected tokens.
    pub fn run_selected(
        &mut self,
        sequences: &[&[u32]],
        positions: &[&[usize]],
    ) -> Result<Logits, SessionError> {
        self.run_batch(sequences, TokenSelection::Positions(positions))
    }

    fn run_batch(&mut self, sequences: &[&[u32]], selection: TokenSelection) -> Result<Logits, SessionError> {
        if self.interface.one_by_one.is_some() && sequences.len() > 1 {
            return self.run_one_by_one(sequences);
        }
        let (logits, _) = self.run_with(sequences, selection, &[])?;
        Ok(logits)
    }

    /// The logits of sequences that run one by one; positions after the end of a sequence are zeros.
    fn run_one_by_one(&mut self, sequences: &[&[u32]]) -> Result<Logits, SessionError> {
        let length = sequences.iter().map(|sequence| sequence.len()).max().unwrap_or(0);
        let labels = self.interface.labels;
        let mut data = Vec::with_capacity(sequences.len() * length * labels);
        for sequence in sequences {
            let end = data.len() + length * labels;
            let (logits, _) = self.run_with(&[sequence], TokenSelection::EveryToken, &[])?;
            data.extend(logits.data);
            data.resize(end, 0.0);
        }
        let rows = Rows::EveryToken { length };
        Ok(Logits { data, rows, labels })
    }

    /// The values of these additional outputs of the graph for one sequence.
    pub fn run_observed(
        &mut self,
        sequence: &[u32],
        names: &[String],
    ) -> Result<Vec<Vec<f32>>, SessionError> {
        let (_, values) = self.run_with(&[sequence], TokenSelection::EveryToken, names)?;
        Ok(values)
    }

    fn run_with(
        &mut self,
        sequences: &[&[u32]],
        selection: TokenSelection,
        further: &[String],
    ) -> Result<(Logits, Vec<Vec<f32>>), SessionError> {
        let length = sequences.iter().map(|sequence| sequence.len()).max().unwrap_or(0);
        if length == 0 {
            return Err(SessionError::run("no tokens"));
        }
        let shape = [sequences.len(), length];
        let arrays: Vec<Integers> = self
            .interface
            .inputs
            .iter()
            .map(|&(_, input, integer)| Integers::new(integer, &padded(input, sequences, length, self.pad)))
            .collect();
        let mut values: Vec<(&str, SessionInputValue)> = Vec::with_capacity(arrays.len() + 1);
        for ((name, ..), array) in self.interface.inputs.iter().zip(&arrays) {
            let tensor: SessionInputValue = match array {
                Integers::I64(array) => {
                    let view = TensorRef::from_array_view((shape, array.as_slice()));
                    view.map_err(SessionError::run)?.into()
                }
                Integers::I32(array) => {
                    let view = TensorRef::from_array_view((shape, array.as_slice()));
                    view.map_err(SessionError::run)?.into()
                }
            };
            values.push((name, tensor));
        }
        let rows = match self.interface.selects {
            false => Rows::EveryToken { length },
            true => Rows::Selected(selection.tokens(sequences)),
        };
        let indices: Vec<i64> = match &rows {
            Rows::EveryToken { .. } => Vec::new(),
            Rows::Selected(tokens) => tokens
                .iter()
                .map(|(at, position)| (at * length + position) as i64)
                .collect(),
        };
        if self.interface.selects {
            let view = TensorRef::from_array_view(([indices.len()], indices.as_slice()));
            values.push((SELECTION, view.map_err(SessionError::run)?.into()));
        }
        let outputs = self.session.run(values).map_err(SessionError::run)?;
        let value = |name: &str| {
            let value = outputs.get(name);
            value.ok_or_else(|| SessionError::run(format!("no output {name}")))
        };
        let logits = value(&self.interface.logits)?;
        let (found, data): (&Shape, Vec<f32>) = match self.interface.float {
            Float::F32 => {
                let (found, data) = logits.try_extract_tensor::<f32>().map_err(SessionError::run)?;
                (found, data.to_vec())
            }
            Float::F16 => {
                let (found, data) = logits.try_extract_tensor::<f16>().map_err(SessionError::run)?;
                (found, data.iter().map(|x| x.to_f32()).collect())
            }
        };
        let tokens: &[usize] = match &rows {
            Rows::EveryToken { .. } => &shape,
            Rows::Selected(tokens) => &[tokens.len()],
        };
        check_shape(&self.interface, &self.path, found, tokens)?;
        let labels = self.interface.labels;
        let logits = Logits { data, rows, labels };
        let floats = |name: &String| {
            let (_, data) = value(name)?
                .try_extract_tensor::<f32>()
                .map_err(SessionError::run)?;
            Ok(data.to_vec())
        };
        let further = further.iter().map(floats).collect::<Result<_, SessionError>>()?;
        Ok((logits, further))
    }
}

/// Checks that the shape of the logits is `[tokens.., labels]`, because a model file need not state the width of its
/// logits.
fn check_shape(
    interface: &Interface,
    path: &Path,
    found: &[i64],
    tokens: &[usize],
) -> Result<(), SessionError> {
    let labels = interface.labels;
    let expected: Vec<i64> = tokens
        .iter()
        .chain([&labels])
        .map(|&extent| extent as i64)
        .collect();
    if found == expected {
        return Ok(());
    }
    match found {
        [of_tokens @ .., logits] if *of_tokens == expected[..tokens.len()] => {
            Err(SessionError::Graph(GraphError::LabelCount {
                path: path.to_owned(),
                labels,
                logits: *logits,
            }))
        }
        _ => Err(SessionError::run(format!(
            "the logits have the shape {found:?} instead of {expected:?}"
        ))),
    }
}

/// The elements of one input of a run.
enum Integers {
    I64(Vec<i64>),
    I32(Vec<i32>),
}

impl Integers {
    fn new(integer: Integer, values: &[u32]) -> Self {
        match integer {
            Integer::I64 => Self::I64(values.iter().map(|&value| i64::from(value)).collect()),
            // No embedding table has that many rows, so ONNX Runtime rejects an id that does not fit.
            Integer::I32 => Self::I32(
                values
                    .iter()
                    .map(|&value| i32::try_from(value).unwrap_or(i32::MAX))
                    .collect(),
            ),
        }
    }
}

fn padded(input: Input, sequences: &[&[u32]], length: usize, pad: u32) -> Vec<u32> {
    let mut array = Vec::with_capacity(sequences.len() * length);
    for sequence in sequences {
        let end = array.len() + length;
        match input {
            Input::Ids => array.extend_from_slice(sequence),
            Input::Mask => array.resize(array.len() + sequence.len(), 1),
            Input::TokenTypes => {}
        }
        array.resize(end, if input == Input::Ids { pad } else { 0 });
    }
    array
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shorter_sequences_are_padded_and_masked() {
        let sequences: [&[u32]; 2] = [&[5, 6, 7], &[8]];
        assert_eq!(padded(Input::Ids, &sequences, 3, 9), [5, 6, 7, 8, 9, 9]);
        assert_eq!(padded(Input::Mask, &sequences, 3, 9), [1, 1, 1, 1, 0, 0]);
        assert_eq!(padded(Input::TokenTypes, &sequences, 3, 9), [0; 6]);
    }

    fn logits(rows: Rows) -> Logits {
        let data = (0..12u8).map(f32::from).collect();
        Logits {
            data,
            rows,
            labels: 2,
        }
    }

    #[test]
    fn rows_outside_the_batch_are_none() {
        let logits = logits(Rows::EveryToken { length: 3 });
        assert_eq!(logits.row(1, 2), Some(&[10.0, 11.0][..]));
        assert_eq!(logits.row(0, 3), None);
        assert_eq!(logits.row(2, 0), None);
    }

    #[test]
    fn rows_are_those_of_the_tokens_that_are_selected() {
        let sequences: [&[u32]; 3] = [&[5, 6, 7], &[8, 9], &[4]];
        let every = TokenSelection::EveryToken.tokens(&sequences);
        assert_eq!(every, [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (2, 0)]);
        let these = TokenSelection::Positions(&[&[2, 1, 1], &[0, 2]]).tokens(&sequences);
        assert_eq!(these, [(0, 1), (0, 2), (1, 0)]);
        assert_eq!(TokenSelection::Positions(&[]).tokens(&sequences), [(0, 0)]);
        let logits = logits(Rows::Selected(these));
        assert_eq!(logits.row(1, 0), Some(&[4.0, 5.0][..]));
        assert_eq!(logits.row(0, 0), None);
        assert_eq!(logits.row(1, 1), None);
    }
}
