//! A message of the protocol to a checked request.

use std::collections::HashMap;

use nerve_engine::RequestError;
use nerve_tagging::LabelSet;
use prost::Message;
use serde::de::DeserializeOwned;
use serde_json::{Map, Number, Value};

use crate::grpc::proto::infer_parameter::ParameterChoice;
use crate::grpc::proto::model_infer_request::{InferInputTensor, InferRequestedOutputTensor};
use crate::grpc::proto::{InferParameter, ModelInferRequest};
use crate::http::v2::error::V2Error;
use crate::http::v2::inference::Inference;
use crate::http::v2::outputs::{RequestedOutput, RequestedOutputParameters, selected};
use crate::http::v2::parameters::InferParameters;
use crate::http::v2::tensor::{TensorError, decode, input_texts, refuse_shared_memory, the_input};

/// The parameter of a number that the messages of KServe have no type for, and its clients send as a string.
const THRESHOLD: &str = "threshold";
/// The parameter of a tensor in shared memory.
const SHARED_MEMORY: &str = "shared_memory_region";

/// The bytes that a message takes in memory, nearly.
pub(crate) fn size(message: &ModelInferRequest) -> usize {
    let contents = message
        .inputs
        .iter()
        .filter_map(|input| input.contents.as_deref());
    let elements: usize = contents.map(|contents| contents.bytes_contents.len()).sum();
    message.encoded_len() + elements * size_of::<Vec<u8>>()
}

/// The request of a message for a model with these labels.
pub(crate) fn checked(
    message: ModelInferRequest,
    labels: &LabelSet,
    max_texts: usize,
) -> Result<Inference, V2Error> {
    let parameters: InferParameters = typed(message.parameters)?;
    let outputs = message
        .outputs
        .into_iter()
        .map(requested)
        .collect::<Result<_, V2Error>>()?;
    let selected = selected(outputs, false)?;
    let texts = texts(message.inputs, message.raw_input_contents)?;
    Inference::new(texts, &parameters, selected, labels, max_texts)
}

/// Parameters with the types that they have in JSON.
fn typed<T: DeserializeOwned>(parameters: HashMap<String, InferParameter>) -> Result<T, V2Error> {
    let values = parameters.into_iter().filter_map(|(name, parameter)| {
        let value = value(&name, parameter.parameter_choice?);
        Some(value.map(|value| (name, value)))
    });
    let values: Map<_, _> = values.collect::<Result<_, _>>().map_err(V2Error::Parameter)?;
    serde_json::from_value(Value::Object(values)).map_err(|error| {
        V2Error::Parameter(RequestError::Shape {
            problem: error.to_string(),
        })
    })
}

fn value(name: &str, parameter: ParameterChoice) -> Result<Value, RequestError> {
    let number = |number: f64| match Number::from_f64(number) {
        Some(number) => Ok(Value::Number(number)),
        None if name == THRESHOLD => Err(RequestError::Threshold { threshold: number }),
        // A number that JSON does not have is no value of any parameter, and least of all an absent one.
        None => Ok(number.to_string().into()),
    };
    Ok(match parameter {
        ParameterChoice::BoolParam(value) => value.into(),
        ParameterChoice::Int64Param(value) => value.into(),
        ParameterChoice::Uint64Param(value) => value.into(),
        ParameterChoice::DoubleParam(value) => number(value)?,
        ParameterChoice::StringParam(text) => match text.parse() {
            Ok(value) if name == THRESHOLD => number(value)?,
            _ => text.into(),
        },
    })
}

fn requested(output: InferRequestedOutputTensor) -> Result<RequestedOutput, V2Error> {
    let parameters: RequestedOutputParameters = typed(output.parameters)?;
    Ok(RequestedOutput {
        name: output.name,
        parameters: Some(parameters),
    })
}

/// The texts of the inputs, in their contents or raw.
fn texts(inputs: Vec<InferInputTensor>, raw: Vec<Vec<u8>>) -> Result<Vec<String>, TensorError> {
    let (count, entries) = (inputs.len(), raw.len());
    if entries > 0 && entries != count {
        return Err(TensorError::RawContents { count, entries });
    }
    let mut raw = raw.into_iter();
    the_input(inputs.into_iter().map(|input| {
        let (raw, contents) = (raw.next(), input.contents);
        let in_shared_memory = input
            .parameters
            .contains_key(SHARED_MEMORY)
            .then_some(Value::Null);
        refuse_shared_memory(&input.name, in_shared_memory.as_ref())?;
        input_texts(input.name, input.datatype, input.shape, || {
            match (raw, contents) {
                (Some(raw), None) => decode(&raw),
                (Some(raw), Some(contents)) if contents.bytes_contents.is_empty() => decode(&raw),
                (None, Some(contents)) => contents
                    .bytes_contents
                    .into_iter()
                    .enumerate()
                    .map(text)
                    .collect(),
                // No text at all, which the shape must say too.
                (None, None) => Ok(Vec::new()),
                (Some(_), Some(_)) => Err(TensorError::Contents),
            }
        })
    }))
}

fn text((index, bytes): (usize, Vec<u8>)) -> Result<String, TensorError> {
    String::from_utf8(bytes).map_err(|_| TensorError::NotUtf8 { index })
}
