//! The outputs that a request asks for, and their tensors.

use nerve_engine::optional_object;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use crate::http::v2::tensor::{OutputName, TensorError, refuse_shared_memory};

/// An output that is wanted.
#[derive(Debug, Deserialize, ToSchema)]
pub(crate) struct RequestedOutput {
    /// `entities` or `words`.
    #[schema(example = "entities")]
    pub(crate) name: String,
    #[serde(default, deserialize_with = "optional_object")]
    pub(crate) parameters: Option<RequestedOutputParameters>,
}

/// How an output is to be sent. Other parameters are ignored.
#[derive(Debug, Default, Deserialize, ToSchema)]
pub(crate) struct RequestedOutputParameters {
    /// Whether it is sent as bytes behind the JSON.
    pub(crate) binary_data: Option<bool>,
    /// A number of classes, which only 0 is accepted for: no output of the model is a classification.
    classification: Option<u64>,
    #[schema(ignore)]
    shared_memory_region: Option<Value>,
}

/// An output of the answer, and whether it is sent as bytes.
#[derive(Clone, Copy)]
pub(crate) struct SelectedOutput {
    pub(crate) output: OutputName,
    pub(crate) binary: bool,
}

/// An output tensor.
#[derive(ToSchema)]
#[expect(
    dead_code,
    reason = "read by the contract's generator alone: answers are written in parts"
)]
pub(crate) struct OutputTensor {
    /// `entities` or `words`.
    #[schema(example = "entities")]
    name: &'static str,
    /// `BYTES`.
    #[schema(example = "BYTES")]
    datatype: &'static str,
    /// The number of texts.
    shape: [usize; 1],
    /// Present where the tensor is bytes behind the JSON.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    parameters: Option<OutputTensorParameters>,
    /// For each text a JSON array as a string; absent where the tensor is bytes behind the JSON.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    data: Option<Vec<String>>,
}

/// How an output is sent.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct OutputTensorParameters {
    /// How many of the bytes behind the JSON are the tensor.
    pub(crate) binary_data_size: usize,
}

/// The requested outputs, in order; all outputs if none is requested.
pub(crate) fn selected(
    asked: Vec<RequestedOutput>,
    binary_by_default: bool,
) -> Result<Vec<SelectedOutput>, TensorError> {
    let all = || {
        let selected = OutputName::ALL.map(|output| SelectedOutput {
            output,
            binary: binary_by_default,
        });
        selected.to_vec()
    };
    let mut selected: Vec<SelectedOutput> = Vec::new();
    for RequestedOutput { name, parameters } in asked {
        let Some(output) = OutputName::ALL.into_iter().find(|output| output.name() == name) else {
            return Err(TensorError::UnknownOutput { name });
        };
        if selected.iter().any(|selected| selected.output == output) {
            return Err(TensorError::OutputTwice { name });
        }
        let parameters = parameters.unwrap_or_default();
        if parameters.classification.is_some_and(|classes| classes > 0) {
            return Err(TensorError::Classification { name });
        }
        refuse_shared_memory(&name, parameters.shared_memory_region.as_ref())?;
        selected.push(SelectedOutput {
            output,
            binary: parameters.binary_data.unwrap_or(binary_by_default),
        });
    }
    Ok(if selected.is_empty() { all() } else { selected })
}
