//! Bytes to messages, with a bound on what they take in memory.

use std::marker::PhantomData;

use bytes::Buf;
use prost::Message;
use tonic::Status;
use tonic::codec::{BufferSettings, Codec, DecodeBuf, Decoder};
use tonic_prost::{ProstCodec, ProstEncoder};

/// The maximum number of entries of the repeated fields of a message, all fields together. Elements of a tensor are no entries.
///
/// An empty entry takes two bytes of a message and over a hundred in memory.
const MAX_ENTRIES: usize = 1024;

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

impl<U: Message + Default> Decoder for BoundedDecoder<U> {
    type Item = U;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<U>, Status> {
        decode_bounded(buffer).map(Some)
    }
}

/// The message in these bytes, which are in one piece.
pub(crate) fn decode_bounded<U: Message + Default>(bytes: &mut impl Buf) -> Result<U, Status> {
    if entries(bytes.chunk()) > MAX_ENTRIES {
        let problem = format!("the message has more than {MAX_ENTRIES} inputs, outputs and parameters");
        return Err(Status::invalid_argument(problem));
    }
    U::decode(bytes)
        .map_err(|error| Status::invalid_argument(format!("the message cannot be decoded: {error}")))
}

/// The number of length-delimited fields at the top of a message, at most one more than allowed.
fn entries(mut message: &[u8]) -> usize {
    let mut count = 0;
    while count <= MAX_ENTRIES {
        // A broken message ends the count; decoding then names the problem.
        let Some(length) = next_field(&mut message) else {
            break;
        };
        count += usize::from(length.is_some());
    }
    count
}

/// Skips a field. The length of its content, if it is length-delimited.
fn next_field(message: &mut &[u8]) -> Option<Option<usize>> {
    let key = varint(message)?;
    match key & 7 {
        0 => varint(message).map(|_| None),
        1 => skip(message, 8).map(|()| None),
        2 => {
            let length = usize::try_from(varint(message)?).ok()?;
            skip(message, length).map(|()| Some(length))
        }
        5 => skip(message, 4).map(|()| None),
        _ => None,
    }
}

fn skip(message: &mut &[u8], bytes: usize) -> Option<()> {
    *message = message.split_at_checked(bytes)?.1;
    Some(())
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
    use crate::grpc::proto::ModelInferRequest;
    use crate::grpc::proto::model_infer_request::InferInputTensor;

    #[test]
    fn entries_are_counted_up_to_the_limit() {
        let request = |inputs| ModelInferRequest {
            model_name: "m".to_owned(),
            inputs: vec![InferInputTensor::default(); inputs],
            ..ModelInferRequest::default()
        };
        assert_eq!(entries(&request(3).encode_to_vec()), 4);
        assert_eq!(entries(&request(1_000_000).encode_to_vec()), MAX_ENTRIES + 1);
        for broken in [
            &b""[..],
            b"\x2a",
            b"\x2a\xff",
            b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff",
            b"\x0b",
        ] {
            assert_eq!(entries(broken), 0);
        }
    }
}
