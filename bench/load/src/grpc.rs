//! Calls of `inference.GRPCInferenceService/ModelInfer` on a connection of HTTP/2, one at a time.

use std::hash::{DefaultHasher, Hasher};
use std::net::SocketAddr;

use crate::response::{Failure, Response};

const PATH: &str = "/inference.GRPCInferenceService/ModelInfer";
const FRAME_HEAD: usize = 9;
/// The compression flag and the length before each message.
const MESSAGE_HEAD: usize = 5;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RESET: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GO_AWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
/// The flag of the last frame of a stream, and of an acknowledgement.
const END: u8 = 1;
const END_HEADERS: u8 = 4;

/// The frames of a call with one text, for the stream 0. [`Session::start`] sets the stream.
pub(crate) fn call(address: SocketAddr, model: &str, text: &str) -> Vec<u8> {
    let mut headers = vec![0x83, 0x86];
    literal(&mut headers, &[0x04], PATH);
    literal(&mut headers, &[0x01], &address.to_string());
    literal(&mut headers, &[0x0f, 0x10], "application/grpc");
    literal(&mut headers, b"\x00\x02te", "trailers");
    let message = message(model, text);
    let mut data = vec![0];
    data.extend_from_slice(&(message.len() as u32).to_be_bytes());
    data.extend_from_slice(&message);
    let mut frames = frame(HEADERS, END_HEADERS, &headers);
    frames.extend(frame(DATA, END, &data));
    frames
}

/// A header that is not compressed: the index or text of its name, and its value of less than 127 bytes.
fn literal(headers: &mut Vec<u8>, name: &[u8], value: &str) {
    headers.extend_from_slice(name);
    headers.push(value.len() as u8);
    headers.extend_from_slice(value.as_bytes());
}

/// A `ModelInferRequest` with one text.
fn message(model: &str, text: &str) -> Vec<u8> {
    let contents = field(8, text.as_bytes());
    let input = [
        field(1, b"text"),
        field(2, b"BYTES"),
        field(3, &[1]),
        field(5, &contents),
    ]
    .concat();
    [field(1, model.as_bytes()), field(5, &input)].concat()
}

/// A length-delimited field of a protocol buffer.
fn field(number: u8, content: &[u8]) -> Vec<u8> {
    let mut bytes = vec![number << 3 | 2];
    let mut length = content.len();
    while length >= 0x80 {
        bytes.push(length as u8 | 0x80);
        length >>= 7;
    }
    bytes.push(length as u8);
    bytes.extend_from_slice(content);
    bytes
}

fn frame(kind: u8, flags: u8, content: &[u8]) -> Vec<u8> {
    let [_, length @ ..] = (content.len() as u32).to_be_bytes();
    [&length[..], &[kind, flags], &[0; 4], content].concat()
}

/// The state of a connection: the stream of the current call and what has arrived on it.
#[derive(Default)]
pub(crate) struct Session {
    stream: u32,
    data: Vec<u8>,
}

impl Session {
    /// The frames of the next call, preceded by the preface on a new connection.
    pub(crate) fn start(&mut self, call: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        if self.stream == 0 {
            bytes.extend_from_slice(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
            bytes.extend(frame(SETTINGS, 0, &[]));
            self.stream = 1;
        } else {
            self.stream += 2;
        }
        self.data.clear();
        let mut rest = call;
        while let Some((head, content)) = rest.split_at_checked(FRAME_HEAD) {
            let (content, after) = content.split_at(length(head));
            bytes.extend_from_slice(&head[..5]);
            bytes.extend_from_slice(&self.stream.to_be_bytes());
            bytes.extend_from_slice(content);
            rest = after;
        }
        bytes
    }

    /// Takes the complete frames out of `received`. The response, if the call has ended. Frames to be sent are appended to
    /// `outgoing`.
    pub(crate) fn read(
        &mut self,
        received: &mut Vec<u8>,
        outgoing: &mut Vec<u8>,
    ) -> Result<Option<Response>, Failure> {
        let mut at = 0;
        let mut ended = None;
        while let Some((head, rest)) = received[at..].split_at_checked(FRAME_HEAD) {
            let Some(content) = rest.get(..length(head)) else {
                break;
            };
            let (kind, flags) = (head[3], head[4]);
            match kind {
                SETTINGS if flags & END == 0 => outgoing.extend(frame(SETTINGS, END, &[])),
                PING if flags & END == 0 => outgoing.extend(frame(PING, END, content)),
                DATA => {
                    self.data.extend_from_slice(content);
                    // The window of the connection; a stream's own is never exhausted by one answer of a short text.
                    if !content.is_empty() {
                        outgoing.extend(frame(WINDOW_UPDATE, 0, &(content.len() as u32).to_be_bytes()));
                    }
                }
                HEADERS if flags & END != 0 => ended = Some(self.response()),
                RESET | GO_AWAY => return Err(Failure::Closed),
                _ => {}
            }
            at += FRAME_HEAD + content.len();
        }
        received.drain(..at);
        Ok(ended)
    }

    /// The response of the current call. A call that fails has no data.
    fn response(&self) -> Response {
        let body = self.data.get(MESSAGE_HEAD..).unwrap_or_default();
        let mut hasher = DefaultHasher::new();
        hasher.write(body);
        Response {
            status: if self.data.is_empty() { 500 } else { 200 },
            hash: hasher.finish(),
            body_bytes: body.len(),
            last: false,
        }
    }
}

/// The length of a frame's content.
fn length(head: &[u8]) -> usize {
    usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_answered_by_data_and_the_end_of_its_stream() {
        let call = call("127.0.0.1:1".parse().unwrap(), "m", "a text");
        let mut session = Session::default();
        let first = session.start(&call);
        assert!(first.starts_with(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04"));
        assert!(first.ends_with(b"a text"));
        let second = session.start(&call);
        assert_eq!((second.len(), &second[5..9]), (call.len(), &[0, 0, 0, 3][..]));
        let answer = [
            frame(SETTINGS, 0, &[]),
            frame(HEADERS, END_HEADERS, b"head"),
            frame(DATA, 0, b"\0\0\0\0\x02ok"),
            frame(HEADERS, END_HEADERS | END, b"tail"),
        ]
        .concat();
        for end in 0..answer.len() {
            let (mut received, mut outgoing) = (answer[..end].to_vec(), Vec::new());
            assert_eq!(
                Session::default().read(&mut received, &mut outgoing),
                Ok(None),
                "{end}"
            );
        }
        let (mut received, mut outgoing) = (answer, Vec::new());
        let found = session.read(&mut received, &mut outgoing).unwrap().unwrap();
        assert_eq!((found.status, found.body_bytes), (200, 2));
        assert!(received.is_empty() && !outgoing.is_empty());
        session.start(&call);
        let failed = session.read(&mut frame(HEADERS, END_HEADERS | END, b""), &mut Vec::new());
        assert_eq!(failed.unwrap().unwrap().status, 500);
        let gone = session.read(&mut frame(GO_AWAY, 0, b""), &mut Vec::new());
        assert_eq!(gone, Err(Failure::Closed));
    }
}
