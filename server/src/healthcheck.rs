//! The check whether a server is ready, from the same machine.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::time::Duration;

use thiserror::Error;

/// Shorter than the timeout that container engines give a health check.
const PATIENCE: Duration = Duration::from_secs(2);
const READY: &[u8] = b"HTTP/1.1 200 ";

/// Why a server is not ready.
#[derive(Debug, Error)]
pub enum HealthcheckError {
    /// The server cannot be reached.
    #[error("{address}: {source}")]
    Io {
        /// The address.
        address: SocketAddr,
        /// The cause.
        source: std::io::Error,
    },
    /// The answer is not HTTP.
    #[error("{address}: the answer is not HTTP; does the server use TLS?")]
    NotHttp {
        /// The address.
        address: SocketAddr,
    },
    /// The server answers that it is not ready.
    #[error("{address} is not ready: {status}")]
    NotReady {
        /// The address.
        address: SocketAddr,
        /// The first line of the answer.
        status: String,
    },
}

/// Whether the server at this address is ready. A server that listens on every address is reached through the
/// loopback address. Plain HTTP only.
pub fn healthcheck(listen: SocketAddr) -> Result<(), HealthcheckError> {
    let mut address = listen;
    if listen.ip().is_unspecified() {
        address.set_ip(match listen.ip() {
            IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        });
    }
    let answer = ask(address).map_err(|source| HealthcheckError::Io { address, source })?;
    if answer.starts_with(READY) {
        return Ok(());
    }
    if !answer.starts_with(b"HTTP/") {
        return Err(HealthcheckError::NotHttp { address });
    }
    let status = answer.split(|byte| *byte == b'\r').next().unwrap_or_default();
    Err(HealthcheckError::NotReady {
        address,
        status: String::from_utf8_lossy(status).into_owned(),
    })
}

/// The first bytes of the server's answer.
fn ask(address: SocketAddr) -> std::io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.write_all(
        format!("GET /health/ready HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n").as_bytes(),
    )?;
    let mut answer = Vec::new();
    stream.take(1024).read_to_end(&mut answer)?;
    Ok(answer)
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    /// The outcome of the check of a server that answers so.
    fn checked(answer: &'static [u8]) -> Result<(), String> {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let (mut stream, _) = listener.accept().unwrap();
                let mut head = [0; 1024];
                assert!(stream.read(&mut head).unwrap() > 0);
                stream.write_all(answer).unwrap();
            });
            healthcheck(address).map_err(|error| error.to_string())
        })
    }

    #[test]
    fn the_answer_says_whether_the_server_is_ready() {
        assert_eq!(checked(b"HTTP/1.1 200 OK\r\n\r\n"), Ok(()));
        let starting = checked(b"HTTP/1.1 503 Service Unavailable\r\n\r\n").unwrap_err();
        assert!(
            starting.ends_with("is not ready: HTTP/1.1 503 Service Unavailable"),
            "{starting}"
        );
        // The alert of a server that expects TLS.
        let alert = checked(b"\x15\x03\x03\0\x02\x02\x0a").unwrap_err();
        assert!(
            alert.ends_with("the answer is not HTTP; does the server use TLS?"),
            "{alert}"
        );
    }
}
