//! The inputs and the logits of a graph, checked against those of a token classifier.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use serde::Serialize;
use thiserror::Error;

use nerve_repository::onnx::{DimensionValue, Outline, SELECTION, TensorTypeProto, ValueInfoProto};

/// Why a graph cannot be used.
#[derive(Debug, Error)]
pub enum GraphError {
    /// The file cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The model file.
        path: PathBuf,
        /// The error of the operating system.
        source: std::io::Error,
    },
    /// The file is not an ONNX model.
    #[error("{}: not an ONNX model: {reason}", path.display())]
    NotOnnx {
        /// The model file.
        path: PathBuf,
        /// The reason.
        reason: String,
    },
    /// A weights file is missing or in another directory than the model.
    #[error("{}: the weights file `{file}` is not in the same directory", path.display())]
    Weights {
        /// The model file.
        path: PathBuf,
        /// The file that the model names.
        file: String,
    },
    /// The graph has an unsupported input.
    #[error(
        "{}: the model has an input `{input}`; only input_ids, attention_mask, token_type_ids and {SELECTION} are supported",
        path.display()
    )]
    UnknownInput {
        /// The model file.
        path: PathBuf,
        /// The name of the input.
        input: String,
    },
    /// The graph has no input `input_ids`.
    #[error("{}: the model has no input `input_ids`", path.display())]
    NoIds {
        /// The model file.
        path: PathBuf,
    },
    /// An input does not have the element type or the shape of token ids.
    #[error("{}: the model's input `{input}` is {found}; it must be {expected}", path.display())]
    InputType {
        /// The model file.
        path: PathBuf,
        /// The name of the input.
        input: String,
        /// The type of the input.
        found: String,
        /// The supported type.
        expected: &'static str,
    },
    /// An axis of an input has a fixed size.
    #[error("{}: the {axis} axis of the model's input `{input}` is fixed to {extent}; export it with dynamic axes", path.display())]
    FixedAxis {
        /// The model file.
        path: PathBuf,
        /// The name of the input.
        input: String,
        /// `batch` or `length`.
        axis: &'static str,
        /// The size of the axis.
        extent: i64,
    },
    /// No output has the element type and the shape of logits.
    #[error("{}: no output is float32 or float16 {expected}, as the logits of a token classifier; the outputs are {found}", path.display())]
    NoLogits {
        /// The model file.
        path: PathBuf,
        /// The expected axes.
        expected: &'static str,
        /// The outputs and their types.
        found: String,
    },
    /// Several outputs have the type of logits, and none is named `logits`.
    #[error("{}: several outputs may be the logits, and none is named `logits`: {found}", path.display())]
    ManyLogits {
        /// The model file.
        path: PathBuf,
        /// The outputs and their types.
        found: String,
    },
    /// The number of labels is not the width of the logits.
    #[error("{}: config.json has {labels} labels, but the model's logits are {logits} wide", path.display())]
    LabelCount {
        /// The model file.
        path: PathBuf,
        /// The number of labels in the configuration.
        labels: usize,
        /// The size of the last axis of the logits.
        logits: i64,
    },
}

/// The inputs that an encoder graph may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Input {
    Ids,
    Mask,
    TokenTypes,
}

/// The element type of an input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Integer {
    I64,
    I32,
}

/// The element type of the logits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Float {
    F32,
    F16,
}

/// Why sequences cannot share a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum OneByOne {
    /// The graph derives the range of its activations from the whole batch, so the logits of a sequence would depend
    /// on the others.
    DynamicQuantization,
    /// The batch size of the graph is fixed to 1.
    FixedBatch,
    /// The graph has no attention mask, so padding would change the logits.
    NoAttentionMask,
}

impl std::fmt::Display for OneByOne {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::DynamicQuantization => "the graph is dynamically quantized",
            Self::FixedBatch => "the graph's batch axis is fixed to 1",
            Self::NoAttentionMask => "the graph has no attention_mask",
        })
    }
}

/// The inputs and the logits of a token classifier's graph.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Interface {
    /// The name, the kind and the element type of each `[batch, length]` input, in graph order.
    pub(crate) inputs: Vec<(String, Input, Integer)>,
    /// Whether the graph has the input [`SELECTION`], which selects the tokens whose logits it computes.
    pub(crate) selects: bool,
    /// The name of the logits output.
    pub(crate) logits: String,
    /// The element type of the logits.
    pub(crate) float: Float,
    /// The width of the logits, which is the number of labels.
    pub(crate) labels: usize,
    /// Why sequences run one by one; absent if they can share a batch.
    pub(crate) one_by_one: Option<OneByOne>,
}

impl Interface {
    /// Checks the graph of the file at `path`, whose logits must be `labels` wide.
    pub(crate) fn of(outline: &Outline, path: &Path, labels: usize) -> Result<Self, GraphError> {
        let (inputs, fixed_batch) = inputs(outline, path)?;
        let selects = selects(outline, path)?;
        let (logits, float) = logits(outline, path, labels, selects)?;
        let dynamic = outline
            .operators()
            .iter()
            .any(|op| op.starts_with("DynamicQuantize"));
        let masked = inputs.iter().any(|(_, input, _)| *input == Input::Mask);
        let one_by_one = if fixed_batch {
            Some(OneByOne::FixedBatch)
        } else if !masked {
            Some(OneByOne::NoAttentionMask)
        } else {
            dynamic.then_some(OneByOne::DynamicQuantization)
        };
        Ok(Self {
            inputs,
            selects,
            logits,
            float,
            labels,
            one_by_one,
        })
    }
}

/// The precision of a graph, as shown by its operators and weights.
pub(crate) fn precision(outline: &Outline) -> &'static str {
    let operators = outline.operators();
    if operators.iter().any(|op| op.starts_with("DynamicQuantize")) {
        "int8-dynamic"
    } else if operators
        .iter()
        .any(|op| op.contains("Quantize") || op.starts_with("QLinear") || *op == "QGemm")
    {
        "int8"
    } else if operators.contains("MatMulNBits") {
        "int4"
    } else if outline.weight_types().contains(&element::FLOAT16) {
        "fp16"
    } else {
        "fp32"
    }
}

type Inputs = Vec<(String, Input, Integer)>;

/// The inputs of a graph, and whether its batch axis is fixed to 1.
fn inputs(outline: &Outline, path: &Path) -> Result<(Inputs, bool), GraphError> {
    let mut inputs = Vec::new();
    let mut fixed_batch = false;
    for input in outline.inputs().filter(|input| input.name != SELECTION) {
        let kind = match input.name.as_str() {
            "input_ids" => Input::Ids,
            "attention_mask" => Input::Mask,
            "token_type_ids" => Input::TokenTypes,
            _ => {
                return Err(GraphError::UnknownInput {
                    path: path.to_owned(),
                    input: input.name.clone(),
                });
            }
        };
        let integer = match tensor(input).map(|tensor| tensor.elem_type) {
            Some(element::INT64) => Some(Integer::I64),
            Some(element::INT32) => Some(Integer::I32),
            _ => None,
        };
        let axes = extents(input);
        let matrix = axes.as_ref().is_none_or(|axes| axes.len() == 2);
        let Some(integer) = integer.filter(|_| matrix) else {
            return Err(GraphError::InputType {
                path: path.to_owned(),
                input: input.name.clone(),
                found: describe(input),
                expected: "int64 or int32 [batch, length]",
            });
        };
        let extent = |at: usize| axes.as_ref().and_then(|axes| axes.get(at).copied().flatten());
        let fixed = |axis, extent| GraphError::FixedAxis {
            path: path.to_owned(),
            input: input.name.clone(),
            axis,
            extent,
        };
        match extent(0) {
            None => {}
            Some(1) => fixed_batch = true,
            Some(extent) => return Err(fixed("batch", extent)),
        }
        if let Some(extent) = extent(1) {
            return Err(fixed("length", extent));
        }
        inputs.push((input.name.clone(), kind, integer));
    }
    if inputs.iter().all(|(_, input, _)| *input != Input::Ids) {
        return Err(GraphError::NoIds {
            path: path.to_owned(),
        });
    }
    Ok((inputs, fixed_batch))
}

/// Whether the graph has the input that selects tokens.
fn selects(outline: &Outline, path: &Path) -> Result<bool, GraphError> {
    let Some(input) = outline.inputs().find(|input| input.name == SELECTION) else {
        return Ok(false);
    };
    let is_int64 = tensor(input).is_some_and(|tensor| tensor.elem_type == element::INT64);
    let free = extents(input).is_none_or(|axes| axes == [None]);
    if is_int64 && free {
        return Ok(true);
    }
    Err(GraphError::InputType {
        path: path.to_owned(),
        input: input.name.clone(),
        found: describe(input),
        expected: "int64 [tokens] with a dynamic axis",
    })
}

/// The name and the element type of the logits output.
///
/// The logits are a float output with three axes, or two if tokens are selected; the size of the last axis is unknown
/// or equal to the number of labels. If several outputs qualify, the one named `logits` is used, or else the only one
/// whose size is known.
fn logits(
    outline: &Outline,
    path: &Path,
    labels: usize,
    selects: bool,
) -> Result<(String, Float), GraphError> {
    let (axes, expected) = match selects {
        false => (3, "[batch, length, labels]"),
        true => (2, "[tokens, labels]"),
    };
    let width = |output| extents(output)?.get(axes - 1).copied().flatten();
    let candidates: Vec<(&ValueInfoProto, Float)> = outline
        .outputs()
        .filter(|output| extents(output).is_none_or(|found| found.len() == axes))
        .filter_map(|output| Some((output, float(output)?)))
        .collect();
    let Some(first) = candidates.first() else {
        return Err(GraphError::NoLogits {
            path: path.to_owned(),
            expected,
            found: describe_all(outline.outputs()),
        });
    };
    let labels_wide = i64::try_from(labels).unwrap_or(i64::MAX);
    let mut fitting = candidates.clone();
    // If the file does not state the size of the last axis of an output, the first run checks it.
    fitting.retain(|(output, _)| width(output).is_none_or(|width| width == labels_wide));
    let mut known = fitting.clone();
    known.retain(|(output, _)| width(output).is_some());
    let named = fitting.iter().find(|(output, _)| output.name == "logits");
    let chosen = match (fitting.as_slice(), named, known.as_slice()) {
        ([], _, _) => {
            let named = candidates.iter().find(|(output, _)| output.name == "logits");
            return Err(GraphError::LabelCount {
                path: path.to_owned(),
                labels,
                logits: width(named.unwrap_or(first).0).unwrap_or_default(),
            });
        }
        ([only], _, _) | (_, Some(only), _) | (_, None, [only]) => only,
        (several, None, _) => {
            return Err(GraphError::ManyLogits {
                path: path.to_owned(),
                found: describe_all(several.iter().map(|(output, _)| *output)),
            });
        }
    };
    Ok((chosen.0.name.clone(), chosen.1))
}

fn float(output: &ValueInfoProto) -> Option<Float> {
    match tensor(output)?.elem_type {
        element::FLOAT => Some(Float::F32),
        element::FLOAT16 => Some(Float::F16),
        _ => None,
    }
}

/// Numbers of `TensorProto.DataType`.
mod element {
    pub(super) const FLOAT: i32 = 1;
    pub(super) const INT32: i32 = 6;
    pub(super) const INT64: i32 = 7;
    pub(super) const FLOAT16: i32 = 10;

    pub(super) fn name(number: i32) -> &'static str {
        match number {
            FLOAT => "float32",
            2 => "uint8",
            3 => "int8",
            INT32 => "int32",
            INT64 => "int64",
            8 => "string",
            9 => "bool",
            FLOAT16 => "float16",
            11 => "float64",
            16 => "bfloat16",
            _ => "of another type",
        }
    }
}

fn tensor(value: &ValueInfoProto) -> Option<&TensorTypeProto> {
    value.r#type.as_ref()?.tensor_type.as_ref()
}

/// The sizes of the axes of a value, with `None` for a dynamic axis; `None` if the file states no shape.
fn extents(value: &ValueInfoProto) -> Option<Vec<Option<i64>>> {
    let axes = &tensor(value)?.shape.as_ref()?.dim;
    let extent = |axis: &Option<DimensionValue>| match axis {
        // Old exporters write a dynamic axis as 0 or -1.
        Some(DimensionValue::Value(extent)) => Some(*extent).filter(|extent| *extent > 0),
        Some(DimensionValue::Param(_)) | None => None,
    };
    Some(axes.iter().map(|axis| extent(&axis.value)).collect())
}

fn describe(value: &ValueInfoProto) -> String {
    let Some(tensor) = tensor(value) else {
        return "not a tensor".to_owned();
    };
    let mut text = element::name(tensor.elem_type).to_owned();
    if let Some(axes) = extents(value) {
        let axis = |axis: &Option<i64>| axis.map_or("?".to_owned(), |extent| extent.to_string());
        let axes: Vec<String> = axes.iter().map(axis).collect();
        // Writing to a String never fails.
        let _ = write!(text, " [{}]", axes.join(", "));
    }
    text
}

fn describe_all<'v>(values: impl Iterator<Item = &'v ValueInfoProto>) -> String {
    let all: Vec<String> = values
        .map(|value| format!("`{}` ({})", value.name, describe(value)))
        .collect();
    all.join(", ")
}
