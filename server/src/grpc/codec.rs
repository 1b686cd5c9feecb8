//! Bytes to messages, with a bound on what they take in memory.

use std::any::TypeId;
use std::marker::PhantomData;

use bytes::Buf;
use prost::Message;
use tonic::Status;
use tonic::codec::{BufferSettings, Codec, DecodeBuf, Decoder};
use tonic_prost::{ProstCodec, ProstEncoder};

use crate::grpc::proto::ModelInferRequest;

/// The maximum number of entries of the repeated fields of a message, all fields together. Texts of a tensor are no entries.
///
/// An empty entry takes two bytes of a message and over a hundred in memory.
const MAX_ENTRIES: usize = 1024;
/// The maximum number of dimensions of a tensor; the model's have one or two.
const MAX_DIMENSIONS: usize = 8;

/// A codec of protocol buffers that refuses a message with very many entries before it decodes them.
#[derive(Clone, Debug)]
pub(crate) struct BoundedCodec<T, U>(PhantomData<(T, U)>);

/// The decoder of [`BoundedCodec`].
#[derive(Clone, Debug)]
pub(crate) struct BoundedDecoder<U>(PhantomData<U>);

impl<T, U> Default for BoundedCodec<T, U> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<T: Message + Send + 'static, U: Message + Default + Send + 'static> Codec for BoundedCodec<T, U> {
    type Encode = T;
    type Decode = U;
    type Encoder = ProstEncoder<T>;
    type Decoder = BoundedDecoder<U>;

    fn encoder(&mut self) -> Self::Encoder {
        ProstCodec::<T, U>::raw_encoder(BufferSettings::default())
    }

    fn decoder(&mut self) -> Self::Decoder {
        BoundedDecoder(PhantomData)
    }
}

impl<U: Message + Default + 'static> Decoder for BoundedDecoder<U> {
    type Item = U;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<U>, Status> {
        decode_bounded(buffer).map(Some)
    }
}

/// The message in these bytes, which are in one piece.
pub(crate) fn decode_bounded<U: Message + Default + 'static>(bytes: &mut impl Buf) -> Result<U, Status> {
    let mut tally = Tally::default();
    let part = match TypeId::of::<U>() == TypeId::of::<ModelInferRequest>() {
        true => Part::Request,
        false => Part::Other,
    };
    tally.add(bytes.chunk(), part).map_err(Status::invalid_argument)?;
    U::decode(bytes)
        .map_err(|error| Status::invalid_argument(format!("the message cannot be decoded: {error}")))
}

/// A message, or a part of one, by what its fields are.
#[derive(Clone, Copy)]
enum Part {
    /// A `ModelInferRequest`.
    Request,
    Input,
    Output,
    Contents,
    /// A message that has no message with repeated fields in it.
    Other,
}

/// A field's number, and its content if it is length-delimited.
type Field<'m> = (u64, Option<&'m [u8]>);

/// What is counted of a message.
#[derive(Default)]
struct Tally {
    entries: usize,
    /// Of the current input.
    dimensions: usize,
}

impl Tally {
    /// Adds a part of a message, or says which limit it exceeds.
    fn add(&mut self, mut message: &[u8], part: Part) -> Result<(), String> {
        // A broken message ends the count; decoding then names the problem.
        while let Some((number, content)) = next_field(&mut message)? {
            match (part, number, content) {
                (Part::Request, 5, Some(input)) => {
                    self.entries += 1;
                    self.dimensions = 0;
                    self.add(input, Part::Input)?;
                }
                (Part::Request, 6, Some(output)) => {
                    self.entries += 1;
                    self.add(output, Part::Output)?;
                }
                (Part::Request | Part::Other, _, Some(_))
                | (Part::Input, 4, Some(_))
                | (Part::Output, 2, Some(_))
                | (Part::Contents, 1..=7, None) => self.entries += 1,
                (Part::Input, 3, None) => self.dimensions += 1,
                (Part::Input, 3, Some(packed)) => self.dimensions += varints(packed),
                (Part::Input, 5, Some(contents)) => self.add(contents, Part::Contents)?,
                // Elements that are no texts.
                (Part::Contents, 1..=7, Some(packed)) => self.entries += packed.len(),
                _ => {}
            }
            if self.entries > MAX_ENTRIES {
                return Err(format!(
                    "the message has more than {MAX_ENTRIES} inputs, outputs, parameters and elements other than bytes"
                ));
            }
            if self.dimensions > MAX_DIMENSIONS {
                return Err(format!("a shape has more than {MAX_DIMENSIONS} dimensions"));
            }
        }
        Ok(())
    }
}

/// The number of variable-length integers that end in these bytes.
fn varints(packed: &[u8]) -> usize {
    packed.iter().filter(|&&byte| byte < 0x80).count()
}

/// The next field. An error for a group, which would hide what follows it
/// and which no message has.
fn next_field<'m>(message: &mut &'m [u8]) -> Result<Option<Field<'m>>, String> {
    let field = |message: &mut &'m [u8]| {
        let key = varint(message)?;
        let content = match key & 7 {
            0 => varint(message).map(|_| None)?,
            1 => skip(message, 8).map(|_| None)?,
            2 => {
                let length = usize::try_from(varint(message)?).ok()?;
                Some(skip(message, length)?)
            }
            5 => skip(message, 4).map(|_| None)?,
            3 | 4 => return Some(Err("the message has a group".to_owned())),
            _ => return None,
        };
        Some(Ok((key >> 3, content)))
    };
    field(message).transpose()
}

/// The next bytes of a message.
fn skip<'m>(message: &mut &'m [u8], bytes: usize) -> Option<&'m [u8]> {
    let (skipped, rest) = message.split_at_checked(bytes)?;
    *message = rest;
    Some(skipped)
}

fn varint(message: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = message.split_first()?;
        *message = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::grpc::proto::model_infer_request::{InferInputTensor, InferRequestedOutputTensor};
    use crate::grpc::proto::{InferParameter, InferTensorContents};

    fn counted(bytes: &[u8]) -> Result<usize, String> {
        let mut tally = Tally::default();
        tally.add(bytes, Part::Request)?;
        Ok(tally.entries)
    }

    fn with_input(edit: impl FnOnce(&mut InferInputTensor)) -> Vec<u8> {
        let mut input = InferInputTensor::default();
        edit(&mut input);
        let request = ModelInferRequest {
            model_name: "m".to_owned(),
            inputs: vec![input],
            ..ModelInferRequest::default()
        };
        request.encode_to_vec()
    }

    #[test]
    fn entries_are_counted_at_every_depth() {
        let parameters = |count: usize| {
            let parameter = |index: usize| (index.to_string(), InferParameter::default());
            (0..count)
                .map(parameter)
                .collect::<std::collections::HashMap<_, _>>()
        };
        let request = |inputs| ModelInferRequest {
            model_name: "m".to_owned(),
            inputs: vec![InferInputTensor::default(); inputs],
            ..ModelInferRequest::default()
        };
        let contents = |contents| with_input(|input| input.contents = Some(Box::new(contents)));
        let texts = InferTensorContents {
            bytes_contents: vec![Vec::new(); 5000],
            ..InferTensorContents::default()
        };
        let numbers = InferTensorContents {
            int64_contents: vec![1; 5000],
            ..InferTensorContents::default()
        };
        let outputs = ModelInferRequest {
            outputs: vec![InferRequestedOutputTensor {
                parameters: parameters(5000),
                ..InferRequestedOutputTensor::default()
            }],
            ..ModelInferRequest::default()
        };
        assert_eq!(counted(&request(3).encode_to_vec()), Ok(4));
        assert_eq!(
            counted(&with_input(|input| input.parameters = parameters(10))),
            Ok(12)
        );
        assert_eq!(
            counted(&with_input(|input| input.shape = vec![i64::MAX; 8])),
            Ok(2)
        );
        assert_eq!(counted(&contents(texts)), Ok(2));
        for (many, problem) in [
            (request(100_000).encode_to_vec(), "more than 1024"),
            (
                with_input(|input| input.parameters = parameters(5000)),
                "more than 1024",
            ),
            (outputs.encode_to_vec(), "more than 1024"),
            (contents(numbers), "more than 1024"),
            (with_input(|input| input.shape = vec![1; 9]), "8 dimensions"),
            (
                [&b"\x7b\x7c"[..], &request(100_000).encode_to_vec()].concat(),
                "group",
            ),
        ] {
            let error = counted(&many).unwrap_err();
            assert!(error.contains(problem), "{error}");
            assert!(decode_bounded::<ModelInferRequest>(&mut many.as_slice()).is_err());
        }
        for broken in [
            &b""[..],
            b"\x2a",
            b"\x2a\xff",
            b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff",
        ] {
            assert_eq!(counted(broken), Ok(0));
        }
    }
}
