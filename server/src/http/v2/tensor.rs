//! Tensors of texts, in JSON and as bytes behind it.

use nerve_engine::optional_object;
use serde::Deserialize;
use serde_json::Value;
use thiserror::Error;
use utoipa::ToSchema;

use crate::http::shown::{quoted, quoted_shape};

/// The name of the one input.
pub(crate) const INPUT: &str = "text";
/// The one data type.
pub(crate) const BYTES: &str = "BYTES";
/// Bytes of the length before each element of a binary tensor.
const LENGTH: usize = 4;

/// An output of the model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OutputName {
    /// The entities of each text, as a JSON array.
    Entities,
    /// The words of each text with their labels, as a JSON array.
    Words,
}

impl OutputName {
    /// Every output, in the order of the metadata.
    pub(crate) const ALL: [Self; 2] = [Self::Entities, Self::Words];

    /// The tensor's name.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Entities => "entities",
            Self::Words => "words",
        }
    }
}

/// An input tensor.
#[derive(Debug, Deserialize, ToSchema)]
pub(crate) struct InputTensor {
    /// `text`.
    #[schema(example = "text")]
    name: String,
    /// The number of texts, alone or before a 1.
    #[schema(example = json!([1]), value_type = Vec<u64>)]
    shape: Vec<i64>,
    /// `BYTES`.
    #[schema(example = "BYTES")]
    datatype: String,
    #[serde(default, deserialize_with = "optional_object")]
    parameters: Option<InputParameters>,
    /// The texts, flat or in rows of one; absent where they are bytes behind the JSON.
    #[schema(example = json!(["Barack Obama met Beyoncé"]))]
    data: Option<Vec<Element>>,
}

/// How an input is sent. Other parameters are ignored.
#[derive(Debug, Default, Deserialize, ToSchema)]
pub(crate) struct InputParameters {
    /// How many of the bytes behind the JSON are the tensor, each text after its length as 4 bytes, the lowest first.
    binary_data_size: Option<usize>,
    #[schema(ignore)]
    shared_memory_region: Option<Value>,
}

/// A text, or a row of one.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(untagged, expecting = "`data` must hold strings")]
pub(crate) enum Element {
    Text(String),
    Row(Vec<String>),
}

/// Why the tensors of a request are invalid.
#[derive(Debug, PartialEq, Eq, Error)]
pub(crate) enum TensorError {
    /// The input is missing.
    #[error("the input `{INPUT}` is missing")]
    MissingInput,
    /// There is an unknown input.
    #[error("unknown input `{}`; the model takes `{INPUT}`", quoted(name))]
    UnknownInput {
        /// As given.
        name: String,
    },
    /// The input is given twice.
    #[error("the input `{INPUT}` is given twice")]
    InputTwice,
    /// The input has another data type than `BYTES`.
    #[error("`{INPUT}` has datatype {}; it must be {BYTES}", quoted(datatype))]
    Datatype {
        /// As given.
        datatype: String,
    },
    /// The input has an unsupported shape.
    #[error("`{INPUT}` has shape {}; it must be [N] or [N, 1]", quoted_shape(shape))]
    Shape {
        /// As given.
        shape: Vec<i64>,
    },
    /// The shape does not match the number of texts.
    #[error("`{INPUT}` has shape {} and {texts} texts", quoted_shape(shape))]
    Count {
        /// As given.
        shape: Vec<i64>,
        /// The number of texts.
        texts: usize,
    },
    /// A row has no text, or several.
    #[error("row {index} of `{INPUT}` has {texts} texts; it must have one")]
    Row {
        /// The row's index, from 0.
        index: usize,
        /// The number of texts.
        texts: usize,
    },
    /// There is no data, or data of both kinds.
    #[error("`{INPUT}` must have either `data` or the parameter `binary_data_size`")]
    Data,
    /// A message has contents of both kinds.
    #[error("`{INPUT}` must have either `contents.bytes_contents` or an entry of `raw_input_contents`")]
    Contents,
    /// A message has raw contents for other inputs than its own.
    #[error("`raw_input_contents` has {entries} entries for {count} inputs")]
    RawContents {
        /// The number of inputs.
        count: usize,
        /// The number of entries.
        entries: usize,
    },
    /// The tensor is in a memory region that the server cannot see.
    #[error(
        "`{}` is in shared memory (`shared_memory_region`), which the server does not support",
        quoted(name)
    )]
    SharedMemory {
        /// The tensor.
        name: String,
    },
    /// Classes are requested of an output.
    #[error(
        "`{}` has no classes (`classification`); it is a JSON array for each text",
        quoted(name)
    )]
    Classification {
        /// The output.
        name: String,
    },
    /// The header's length exceeds the body.
    #[error(
        "inference-header-content-length is {}, but the body has {body} bytes",
        quoted(head)
    )]
    Head {
        /// As given.
        head: String,
        /// As received.
        body: usize,
    },
    /// The bytes behind the JSON have another length than announced.
    #[error("`binary_data_size` is {announced}, but {found} bytes follow the JSON")]
    Size {
        /// As given.
        announced: usize,
        /// As received.
        found: usize,
    },
    /// The bytes end within a text.
    #[error("text {index} of `{INPUT}` is longer than the bytes that follow")]
    Truncated {
        /// The text's index, from 0.
        index: usize,
    },
    /// A text is not UTF-8.
    #[error("text {index} of `{INPUT}` is not UTF-8")]
    NotUtf8 {
        /// The text's index, from 0.
        index: usize,
    },
    /// The model has no such output.
    #[error("unknown output `{}`; the model gives {}", quoted(name), OutputName::ALL.map(OutputName::name).join(", "))]
    UnknownOutput {
        /// As given.
        name: String,
    },
    /// An output is requested twice.
    #[error("the output `{}` is asked for twice", quoted(name))]
    OutputTwice {
        /// As given.
        name: String,
    },
}

/// The texts of the inputs; `binary` is the bytes behind the JSON.
pub(crate) fn texts(inputs: Vec<InputTensor>, binary: &[u8]) -> Result<Vec<String>, TensorError> {
    the_input(inputs.into_iter().map(|input| input.texts(binary)))
}

/// The texts of the one input.
pub(crate) fn the_input(
    inputs: impl Iterator<Item = Result<Vec<String>, TensorError>>,
) -> Result<Vec<String>, TensorError> {
    let mut texts = None;
    for input in inputs {
        if texts.replace(input?).is_some() {
            return Err(TensorError::InputTwice);
        }
    }
    texts.ok_or(TensorError::MissingInput)
}

/// The texts of an input, which `data` reads if the input is one of the model's.
pub(crate) fn input_texts(
    name: String,
    datatype: String,
    shape: Vec<i64>,
    data: impl FnOnce() -> Result<Vec<String>, TensorError>,
) -> Result<Vec<String>, TensorError> {
    if name != INPUT {
        return Err(TensorError::UnknownInput { name });
    }
    if datatype != BYTES {
        return Err(TensorError::Datatype { datatype });
    }
    let (&[count] | &[count, 1]) = shape.as_slice() else {
        return Err(TensorError::Shape { shape });
    };
    if count < 0 {
        return Err(TensorError::Shape { shape });
    }
    let texts = data()?;
    if i64::try_from(texts.len()) != Ok(count) {
        let texts = texts.len();
        return Err(TensorError::Count { shape, texts });
    }
    Ok(texts)
}

/// Fails if the tensor is to be passed in shared memory.
pub(crate) fn refuse_shared_memory(name: &str, region: Option<&Value>) -> Result<(), TensorError> {
    match region {
        None => Ok(()),
        Some(_) => Err(TensorError::SharedMemory {
            name: name.to_owned(),
        }),
    }
}

impl InputTensor {
    fn texts(self, binary: &[u8]) -> Result<Vec<String>, TensorError> {
        let (data, parameters) = (self.data, self.parameters.unwrap_or_default());
        refuse_shared_memory(&self.name, parameters.shared_memory_region.as_ref())?;
        input_texts(self.name, self.datatype, self.shape, || {
            let found = binary.len();
            match (data, parameters.binary_data_size) {
                (Some(_), None) if found > 0 => Err(TensorError::Size { announced: 0, found }),
                (Some(data), None) => data.into_iter().enumerate().map(text).collect(),
                (None, Some(announced)) if announced == found => decode(binary),
                (None, Some(announced)) => Err(TensorError::Size { announced, found }),
                (Some(_), Some(_)) | (None, None) => Err(TensorError::Data),
            }
        })
    }
}

fn text((index, element): (usize, Element)) -> Result<String, TensorError> {
    match element {
        Element::Text(text) => Ok(text),
        Element::Row(row) => {
            <[String; 1]>::try_from(row)
                .map(|[text]| text)
                .map_err(|row| TensorError::Row {
                    index,
                    texts: row.len(),
                })
        }
    }
}

/// The texts of a binary tensor.
pub(crate) fn decode(mut bytes: &[u8]) -> Result<Vec<String>, TensorError> {
    let mut texts = Vec::new();
    while !bytes.is_empty() {
        let index = texts.len();
        let truncated = || TensorError::Truncated { index };
        let (length, rest) = bytes.split_first_chunk::<LENGTH>().ok_or_else(truncated)?;
        let length = usize::try_from(u32::from_le_bytes(*length)).map_err(|_| truncated())?;
        let (text, rest) = rest.split_at_checked(length).ok_or_else(truncated)?;
        let text = std::str::from_utf8(text).map_err(|_| TensorError::NotUtf8 { index })?;
        texts.push(text.to_owned());
        bytes = rest;
    }
    Ok(texts)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(inputs: &str, binary: &[u8]) -> Result<Vec<String>, TensorError> {
        texts(serde_json::from_str(inputs).unwrap(), binary)
    }

    fn input(rest: &str) -> String {
        format!(r#"[{{"name": "text", "datatype": "BYTES", {rest}}}]"#)
    }

    #[test]
    fn texts_in_json_and_in_bytes() {
        let expected = Ok(vec!["a".to_owned(), String::new()]);
        assert_eq!(read(&input(r#""shape": [2], "data": ["a", ""]"#), b""), expected);
        assert_eq!(
            read(&input(r#""shape": [2, 1], "data": [["a"], [""]]"#), b""),
            expected
        );
        assert_eq!(
            read(&input(r#""shape": [2, 1], "data": ["a", ""]"#), b""),
            expected
        );
        let binary = b"\x01\0\0\0a\0\0\0\0";
        let tensor = input(r#""shape": [2], "parameters": {"binary_data_size": 9}"#);
        assert_eq!(read(&tensor, binary), expected);
        let none = input(r#""shape": [0], "parameters": {"binary_data_size": 0}"#);
        assert_eq!(read(&none, b""), Ok(vec![]));
    }

    #[test]
    fn each_mistake_has_its_error() {
        let binary = r#""shape": [1], "parameters": {"binary_data_size": 5}"#;
        let cases: [(String, &[u8], &str); 15] = [
            ("[]".to_owned(), b"", "is missing"),
            (
                r#"[{"name": "ids", "datatype": "BYTES", "shape": [0], "data": []}]"#.to_owned(),
                b"",
                "unknown input `ids`",
            ),
            (
                r#"[{"name": "text", "datatype": "INT64", "shape": [0], "data": []}]"#.to_owned(),
                b"",
                "datatype INT64",
            ),
            (input(r#""shape": [], "data": []"#), b"", "shape []"),
            (input(r#""shape": [-1], "data": []"#), b"", "shape [-1]"),
            (
                input(
                    r#""shape": [1], "parameters": {"shared_memory_region": "r", "shared_memory_byte_size": 5}"#,
                ),
                b"",
                "shared memory",
            ),
            (
                input(r#""shape": [1, 2], "data": ["a", "b"]"#),
                b"",
                "shape [1, 2]",
            ),
            (input(r#""shape": [2], "data": ["a"]"#), b"", "1 texts"),
            (input(r#""shape": [1, 1], "data": [["a", "b"]]"#), b"", "row 0 "),
            (input(r#""shape": [1]"#), b"", "either"),
            (input(r#""shape": [1], "data": ["a"]"#), b"x", "1 bytes follow"),
            (input(binary), b"\x01\0\0\0", "4 bytes follow"),
            (input(binary), b"\x02\0\0\0a", "text 0 of `text` is longer"),
            (input(binary), b"\x01\0\0\0\xff", "not UTF-8"),
            (
                input(r#""shape": [1], "parameters": {"binary_data_size": 3}"#),
                b"\x01\0\0",
                "longer",
            ),
        ];
        for (inputs, bytes, problem) in cases {
            let error = read(&inputs, bytes).unwrap_err().to_string();
            assert!(error.contains(problem), "{inputs}: {error}");
        }
        let twice = r#"[{"name": "text", "datatype": "BYTES", "shape": [0], "data": []}, {"name": "text", "datatype": "BYTES", "shape": [0], "data": []}]"#;
        assert_eq!(read(twice, b""), Err(TensorError::InputTwice));
    }

    proptest! {
        #[test]
        fn no_bytes_are_too_strange(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let _either = decode(&bytes);
        }
    }
}
