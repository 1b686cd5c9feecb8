//! A model on ONNX Runtime: token ids in, label logits out.

use std::path::{Path, PathBuf};

use half::f16;
use ort::session::SessionInputValue;
use ort::value::{Shape, TensorRef};
use thiserror::Error;

use crate::interface::{Float, GraphError, Input, Integer, Interface};
use crate::onnx::Outline;
use crate::runtime::{Device, Runtime, SessionOptions};

/// Why a session cannot be opened or run.
#[derive(Debug, Error)]
pub enum SessionError {
    /// ONNX Runtime refuses the model or the device.
    #[error("{}: ONNX Runtime cannot open the model: {reason}", path.display())]
    Open {
        /// The model file.
        path: PathBuf,
        /// What ONNX Runtime said.
        reason: String,
    },
    /// CUDA was asked for, and the library is one without it.
    #[error(
        "{} has no CUDA execution provider: `make onnxruntime-cuda` gets a library that has, for --onnxruntime",
        library.display()
    )]
    NoCuda {
        /// The ONNX Runtime library.
        library: PathBuf,
    },
    /// CUDA was asked for, and the bundle is one for processors.
    #[error(
        "{}: its operator {operator} runs on processors alone; for {device} export it with --precision fp16",
        path.display()
    )]
    ProcessorGraph {
        /// The model file.
        path: PathBuf,
        /// The operator.
        operator: String,
        /// The device asked for.
        device: Device,
    },
    /// The graph is not a token classifier's.
    #[error(transparent)]
    Graph(#[from] GraphError),
    /// A run failed.
    #[error("inference failed: {reason}")]
    Run {
        /// What ONNX Runtime said.
        reason: String,
    },
}

impl SessionError {
    fn run(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Run {
            reason: error.into().to_string(),
        }
    }
}

/// One loaded model. A run needs it exclusively, so each worker has its own.
pub struct Session {
    session: ort::session::Session,
    path: PathBuf,
    interface: Interface,
    pad: u32,
}

/// The label logits of a batch, `[sequences, length, labels]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Logits {
    data: Vec<f32>,
    length: usize,
    labels: usize,
}

impl Logits {
    /// The logits of this row-major data; `None` where the data is not sequences of `length * labels`.
    pub fn new(data: Vec<f32>, length: usize, labels: usize) -> Option<Self> {
        let whole = match length * labels {
            0 => data.is_empty(),
            size => data.len().is_multiple_of(size),
        };
        whole.then_some(Self { data, length, labels })
    }

    /// The label logits of one token of one sequence; `None` outside the batch.
    pub fn row(&self, sequence: usize, position: usize) -> Option<&[f32]> {
        let start = (sequence * self.length + position) * self.labels;
        if position >= self.length {
            return None;
        }
        self.data.get(start..start + self.labels)
    }

    /// Positions of each sequence, padding included.
    pub fn length(&self) -> usize {
        self.length
    }
}

impl Session {
    /// Opens the model file at `path`; `pad` is the id shorter sequences end with.
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
        let session = runtime
            .builder(options)
            .and_then(|mut builder| builder.commit_from_file(path))
            .map_err(|error| SessionError::Open {
                path: path.to_owned(),
                reason: error.to_string(),
            })?;
        Ok(Self::new(session, path, interface, pad))
    }

    /// Opens a model held in memory, whose logits must be `labels` wide; `path` is what errors call it.
    pub(crate) fn from_bytes(
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
        let session = runtime
            .builder(options)
            .and_then(|mut builder| builder.commit_from_memory(bytes))
            .map_err(|error| SessionError::Open {
                path: path.to_owned(),
                reason: error.to_string(),
            })?;
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

    /// The logits of these sequences of token ids, special tokens included.
    ///
    /// They run together, padded to the longest, unless the graph makes them depend on one another ([`crate::OneByOne`]).
    pub fn run(&mut self, sequences: &[&[u32]]) -> Result<Logits, SessionError> {
        if self.interface.one_by_one.is_some() && sequences.len() > 1 {
            return self.run_one_by_one(sequences);
        }
        let (logits, _) = self.run_with(sequences, &[])?;
        Ok(logits)
    }

    /// The logits of sequences that never meet; positions after a sequence's end are zeros.
    fn run_one_by_one(&mut self, sequences: &[&[u32]]) -> Result<Logits, SessionError> {
        let length = sequences.iter().map(|sequence| sequence.len()).max().unwrap_or(0);
        let labels = self.interface.labels;
        let mut data = Vec::with_capacity(sequences.len() * length * labels);
        for sequence in sequences {
            let end = data.len() + length * labels;
            let (logits, _) = self.run_with(&[sequence], &[])?;
            data.extend(logits.data);
            data.resize(end, 0.0);
        }
        Ok(Logits { data, length, labels })
    }

    /// The logits, and the values of further graph outputs by the order of their names.
    pub(crate) fn run_with(
        &mut self,
        sequences: &[&[u32]],
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
        let mut values: Vec<(&str, SessionInputValue)> = Vec::with_capacity(arrays.len());
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
        check_shape(&self.interface, &self.path, found, shape)?;
        let logits = Logits {
            data,
            length,
            labels: self.interface.labels,
        };
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

/// Checks the logits of a run of `batch` sequences of `length`; a file need not say how wide its logits are.
fn check_shape(
    interface: &Interface,
    path: &Path,
    found: &[i64],
    [batch, length]: [usize; 2],
) -> Result<(), SessionError> {
    let labels = interface.labels;
    let [rows, columns, width] = [batch, length, labels].map(|extent| extent as i64);
    match *found {
        [b, l, w] if (b, l, w) == (rows, columns, width) => Ok(()),
        [b, l, logits] if (b, l) == (rows, columns) => Err(SessionError::Graph(GraphError::LabelCount {
            path: path.to_owned(),
            labels,
            logits,
        })),
        _ => Err(SessionError::run(format!(
            "logits are {found:?}, not [{rows}, {columns}, {width}]"
        ))),
    }
}

/// The values of one input of a run.
enum Integers {
    I64(Vec<i64>),
    I32(Vec<i32>),
}

impl Integers {
    fn new(integer: Integer, values: &[u32]) -> Self {
        match integer {
            Integer::I64 => Self::I64(values.iter().map(|&value| i64::from(value)).collect()),
            // No table has that many rows, so what does not fit is refused as any id too high.
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

    #[test]
    fn rows_outside_the_batch_are_none() {
        let logits = Logits::new((0..12u8).map(f32::from).collect(), 3, 2).unwrap();
        assert_eq!(logits.row(1, 2), Some(&[10.0, 11.0][..]));
        assert_eq!(logits.row(0, 3), None);
        assert_eq!(logits.row(2, 0), None);
        assert_eq!(Logits::new(vec![0.0; 5], 3, 2), None);
    }
}
