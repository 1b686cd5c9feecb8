//! A keep-alive connection that sends one request at a time and receives its response.

use std::hash::{DefaultHasher, Hasher};
use std::io::{ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::time::Instant;

use mio::net::TcpStream;

use crate::grpc::Session;
use crate::response::{Failure, Response};

/// A request that has arrived: the index of its body, and the time at which it should be sent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Arrived {
    pub(crate) body: usize,
    pub(crate) at: Instant,
}

/// An open connection and its current request.
pub(crate) struct Connection {
    pub(crate) stream: TcpStream,
    pub(crate) request: Option<Arrived>,
    /// The bytes to be sent, of which the first `written` have been.
    outgoing: Vec<u8>,
    written: usize,
    received: Vec<u8>,
    /// The state of gRPC; HTTP/1.1 without it.
    session: Option<Session>,
}

impl Connection {
    /// Starts to connect, without waiting.
    pub(crate) fn open(address: SocketAddr, is_grpc: bool) -> std::io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        // Each write is a whole request, so Nagle's algorithm would only delay it.
        stream.set_nodelay(true)?;
        Ok(Self {
            stream,
            request: None,
            outgoing: Vec::new(),
            written: 0,
            received: Vec::with_capacity(8192),
            session: is_grpc.then(Session::default),
        })
    }

    /// Makes `request`, with these bytes, the current request. [`Self::write`] sends it.
    pub(crate) fn start(&mut self, request: Arrived, bytes: &[u8]) {
        self.request = Some(request);
        self.outgoing.drain(..self.written);
        self.written = 0;
        match &mut self.session {
            None => {
                self.outgoing.extend_from_slice(bytes);
                self.received.clear();
            }
            Some(session) => self.outgoing.extend(session.start(bytes)),
        }
    }

    /// Writes as many of the remaining bytes as the socket accepts.
    pub(crate) fn write(&mut self) -> Result<(), Failure> {
        while self.written < self.outgoing.len() {
            match self.stream.write(&self.outgoing[self.written..]) {
                Ok(0) => return Err(Failure::Broken),
                Ok(count) => self.written += count,
                Err(error) => match error.kind() {
                    ErrorKind::WouldBlock | ErrorKind::NotConnected => return Ok(()),
                    ErrorKind::Interrupted => {}
                    _ => return Err(Failure::Broken),
                },
            }
        }
        Ok(())
    }

    /// The response if it is complete, or `None` if bytes are missing.
    pub(crate) fn read(&mut self) -> Result<Option<Response>, Failure> {
        let mut closed = false;
        let mut chunk = [0; 65536];
        loop {
            match self.stream.read(&mut chunk) {
                Ok(0) => {
                    closed = true;
                    break;
                }
                Ok(count) => self.received.extend_from_slice(&chunk[..count]),
                Err(error) => match error.kind() {
                    ErrorKind::WouldBlock | ErrorKind::NotConnected => break,
                    ErrorKind::Interrupted => {}
                    _ => return Err(Failure::Broken),
                },
            }
        }
        let complete = match &mut self.session {
            None => response(&self.received)?,
            Some(session) => {
                let complete = session.read(&mut self.received, &mut self.outgoing)?;
                self.write()?;
                complete
            }
        };
        match complete {
            Some(response) => Ok(Some(Response {
                last: response.last || closed,
                ..response
            })),
            None if closed => Err(Failure::Closed),
            None => Ok(None),
        }
    }
}

/// Parses a response. `None` if bytes are missing.
fn response(bytes: &[u8]) -> Result<Option<Response>, Failure> {
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let mut parsed = httparse::Response::new(&mut headers);
    let head = match parsed.parse(bytes) {
        Ok(httparse::Status::Complete(head)) => head,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(_) => return Err(Failure::Malformed),
    };
    let header = |name: &str| {
        let found = parsed
            .headers
            .iter()
            .find(|header| header.name.eq_ignore_ascii_case(name));
        found.and_then(|header| std::str::from_utf8(header.value).ok())
    };
    let length: usize = header("content-length")
        .and_then(|length| length.parse().ok())
        .ok_or(Failure::Malformed)?;
    let body = &bytes[head..];
    if body.len() < length {
        return Ok(None);
    }
    if body.len() > length {
        return Err(Failure::Malformed);
    }
    let mut hasher = DefaultHasher::new();
    hasher.write(body);
    Ok(Some(Response {
        status: parsed.code.ok_or(Failure::Malformed)?,
        hash: hasher.finish(),
        body_bytes: length,
        last: header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close")),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHOLE: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc";

    #[test]
    fn a_response_is_whole_with_its_last_byte() {
        for end in 0..WHOLE.len() {
            assert_eq!(response(&WHOLE[..end]), Ok(None), "{end}");
        }
        let found = response(WHOLE).unwrap().unwrap();
        assert_eq!((found.status, found.body_bytes, found.last), (200, 3, false));
    }

    #[test]
    fn bodies_are_told_apart_and_heads_are_not() {
        let hash = |bytes: &[u8]| response(bytes).unwrap().unwrap().hash;
        let other_head = b"HTTP/1.1 200 OK\r\nx-request-id: 7\r\ncontent-length: 3\r\n\r\nabc";
        assert_eq!(hash(WHOLE), hash(other_head));
        assert_ne!(
            hash(WHOLE),
            hash(b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nabd")
        );
    }

    #[test]
    fn what_is_no_response_with_a_length_is_malformed() {
        for bytes in [
            &b"SSH-2.0-OpenSSH\r\n"[..],
            b"HTTP/1.1 200 OK\r\n\r\n",
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n",
            b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\nab",
        ] {
            assert_eq!(response(bytes), Err(Failure::Malformed));
        }
    }

    #[test]
    fn a_server_may_end_the_connection() {
        let bytes = b"HTTP/1.1 429 Too Many Requests\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
        let found = response(bytes).unwrap().unwrap();
        assert_eq!((found.status, found.last), (429, true));
    }
}
