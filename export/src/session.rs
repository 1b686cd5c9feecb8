//! A model on ONNX Runtime: token ids in, label logits out.

use std::path::{Path, PathBuf};

use ort::session::SessionInputValue;
use ort::value::{TensorElementType, TensorRef};
use thiserror::Error;

use crate::runtime::{Runtime, SessionOptions};

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
    /// The model takes an input that no encoder has.
    #[error("{}: the model's input `{input}` is not an int64 input_ids, attention_mask or token_type_ids", path.display())]
    Input {
        /// The model file.
        path: PathBuf,
        /// The input's name.
        input: String,
    },
    /// The model does not yield token logits.
    #[error("{}: the model has no f32 output of three axes called logits", path.display())]
    Output {
        /// The model file.
        path: PathBuf,
    },
    /// The labels are more or fewer than the logits.
    #[error("{}: {labels} labels, but the model's logits are {logits} wide", path.display())]
    LabelCount {
        /// The model file.
        path: PathBuf,
        /// Labels in the configuration.
        labels: usize,
        /// The extent of the logits' last axis.
        logits: i64,
    },
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

/// The inputs an encoder graph may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Input {
    Ids,
    Mask,
    TokenTypes,
}

/// One loaded model. A run needs it exclusively, so each worker has its own.
pub struct Session {
    session: ort::session::Session,
    inputs: Vec<(String, Input)>,
    output: String,
    labels: usize,
    pad: i64,
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
    /// Opens the model file at `path`, whose logits must be `labels` wide; `pad` is the id shorter sequences end with.
    pub(crate) fn open(
        path: &Path,
        runtime: &Runtime,
        options: &SessionOptions,
        labels: usize,
        pad: u32,
    ) -> Result<Self, SessionError> {
        let session = runtime
            .builder(options)
            .and_then(|mut builder| builder.commit_from_file(path))
            .map_err(|error| SessionError::Open {
                path: path.to_owned(),
                reason: error.to_string(),
            })?;
        Self::new(session, path, labels, pad)
    }

    /// Opens a model held in memory; `path` is what errors call it.
    pub(crate) fn from_bytes(
        bytes: &[u8],
        path: &Path,
        runtime: &Runtime,
        options: &SessionOptions,
        labels: usize,
        pad: u32,
    ) -> Result<Self, SessionError> {
        let session = runtime
            .builder(options)
            .and_then(|mut builder| builder.commit_from_memory(bytes))
            .map_err(|error| SessionError::Open {
                path: path.to_owned(),
                reason: error.to_string(),
            })?;
        Self::new(session, path, labels, pad)
    }

    fn new(
        session: ort::session::Session,
        path: &Path,
        labels: usize,
        pad: u32,
    ) -> Result<Self, SessionError> {
        let mut inputs = Vec::new();
        for input in session.inputs() {
            let kind = match input.name() {
                "input_ids" => Some(Input::Ids),
                "attention_mask" => Some(Input::Mask),
                "token_type_ids" => Some(Input::TokenTypes),
                _ => None,
            };
            let int64 = input.dtype().tensor_type() == Some(TensorElementType::Int64);
            let Some(kind) = kind.filter(|_| int64) else {
                return Err(SessionError::Input {
                    path: path.to_owned(),
                    input: input.name().to_owned(),
                });
            };
            inputs.push((input.name().to_owned(), kind));
        }
        let output = session
            .outputs()
            .iter()
            .find(|output| output.name() == "logits")
            .filter(|output| output.dtype().tensor_type() == Some(TensorElementType::Float32))
            .ok_or_else(|| SessionError::Output {
                path: path.to_owned(),
            })?;
        let width = match output.dtype().tensor_shape().map(|shape| &shape[..]) {
            Some(&[_, _, width]) => width,
            _ => {
                return Err(SessionError::Output {
                    path: path.to_owned(),
                });
            }
        };
        // -1 is an extent the file leaves open; then the first run tells.
        if width >= 0 && width != labels as i64 {
            return Err(SessionError::LabelCount {
                path: path.to_owned(),
                labels,
                logits: width,
            });
        }
        let output = output.name().to_owned();
        Ok(Self {
            session,
            inputs,
            output,
            labels,
            pad: i64::from(pad),
        })
    }

    /// The logits of these sequences of token ids, special tokens included, padded to the longest.
    pub fn run(&mut self, sequences: &[&[u32]]) -> Result<Logits, SessionError> {
        let (logits, _) = self.run_with(sequences, &[])?;
        Ok(logits)
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
        let arrays: Vec<Vec<i64>> = self
            .inputs
            .iter()
            .map(|(_, input)| padded(*input, sequences, length, self.pad))
            .collect();
        let mut values: Vec<(&str, SessionInputValue)> = Vec::with_capacity(arrays.len());
        for ((name, _), array) in self.inputs.iter().zip(&arrays) {
            let tensor = TensorRef::from_array_view((shape, array.as_slice())).map_err(SessionError::run)?;
            values.push((name, tensor.into()));
        }
        let outputs = self.session.run(values).map_err(SessionError::run)?;
        let floats = |name: &str| {
            let value = outputs
                .get(name)
                .ok_or_else(|| SessionError::run(format!("no output {name}")))?;
            value.try_extract_tensor::<f32>().map_err(SessionError::run)
        };
        let (found, data) = floats(&self.output)?;
        let expected = [sequences.len() as i64, length as i64, self.labels as i64];
        if found[..] != expected {
            return Err(SessionError::run(format!(
                "logits are {found:?}, not {expected:?}"
            )));
        }
        let logits = Logits {
            data: data.to_vec(),
            length,
            labels: self.labels,
        };
        let further = further
            .iter()
            .map(|name| floats(name).map(|(_, data)| data.to_vec()))
            .collect::<Result<_, _>>()?;
        Ok((logits, further))
    }
}

fn padded(input: Input, sequences: &[&[u32]], length: usize, pad: i64) -> Vec<i64> {
    let mut array = Vec::with_capacity(sequences.len() * length);
    for sequence in sequences {
        let end = array.len() + length;
        match input {
            Input::Ids => array.extend(sequence.iter().map(|&id| i64::from(id))),
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
