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
