//! The command line, and the plan it spells.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::Parser;

/// Sends the bodies of a file to a server on this machine, one a request, over and over.
///
/// Without --rate the loop is closed: each connection sends its next request when it has its answer. With --rate it is
/// open: requests arrive at random (Poisson) whatever the answers do, and latencies count from the arrival.
#[derive(Debug, Parser)]
#[command(version)]
pub(crate) struct Arguments {
    /// The server; a loopback address
    #[arg(long)]
    address: SocketAddr,
    /// The path that is posted to
    #[arg(long, default_value = "/ner")]
    path: String,
    /// A JSON body a line
    #[arg(long, value_name = "FILE")]
    bodies: PathBuf,
    /// Connections; of an open loop, those it begins with
    #[arg(long, default_value_t = 32)]
    connections: usize,
    /// Arrivals a second, for an open loop
    #[arg(long)]
    rate: Option<f64>,
    /// The most connections of an open loop; later arrivals wait for one, and that counts
    #[arg(long, default_value_t = 4096)]
    max_connections: usize,
    /// How long is measured; of a closed loop, until each connection has had an answer, if that takes longer
    #[arg(long, default_value_t = 6.0)]
    seconds: f64,
    /// How long load is on before that; of a closed loop, as above
    #[arg(long, default_value_t = 1.0)]
    warmup_seconds: f64,
    /// How long answers are waited for after that, and by how much the above may be longer
    #[arg(long, default_value_t = 30.0)]
    drain_seconds: f64,
    /// How long a closed loop's connection rests after anything but an answer of status 200
    #[arg(long, default_value_t = 100)]
    rest_ms: u64,
    /// The seed of an open loop's arrivals
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// What is sent, how and for how long.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) address: SocketAddr,
    /// The requests as they are written, head and body.
    pub(crate) requests: Vec<Vec<u8>>,
    pub(crate) connections: usize,
    pub(crate) max_connections: usize,
    /// Arrivals a second; a closed loop where absent.
    pub(crate) rate: Option<f64>,
    pub(crate) warmup: Duration,
    pub(crate) measured: Duration,
    pub(crate) drain: Duration,
    pub(crate) rest: Duration,
    pub(crate) seed: u64,
}

impl Arguments {
    pub(crate) fn plan(self) -> Result<Plan> {
        ensure!(
            self.address.ip().is_loopback(),
            "{} is not a loopback address",
            self.address
        );
        ensure!(self.connections > 0, "--connections must be at least 1");
        ensure!(
            self.rate.is_none_or(|rate| rate.is_finite() && rate > 0.0),
            "--rate must be above 0"
        );
        let bodies = std::fs::read_to_string(&self.bodies)
            .with_context(|| format!("cannot read {}", self.bodies.display()))?;
        let requests: Vec<Vec<u8>> = bodies
            .lines()
            .filter(|body| !body.is_empty())
            .map(|body| request(self.address, &self.path, body))
            .collect();
        ensure!(!requests.is_empty(), "{} holds no body", self.bodies.display());
        let seconds = |option: &str, value: f64| {
            Duration::try_from_secs_f64(value).with_context(|| format!("--{option} is {value}"))
        };
        Ok(Plan {
            address: self.address,
            requests,
            connections: self.connections,
            max_connections: self.max_connections.max(self.connections),
            rate: self.rate,
            warmup: seconds("warmup-seconds", self.warmup_seconds)?,
            measured: seconds("seconds", self.seconds)?,
            drain: seconds("drain-seconds", self.drain_seconds)?,
            rest: Duration::from_millis(self.rest_ms),
            seed: self.seed,
        })
    }
}

fn request(address: SocketAddr, path: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!(
        "POST {path} HTTP/1.1\r\nhost: {address}\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
    )
    .into_bytes()
}
