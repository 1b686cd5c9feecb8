//! The command line and the plan of requests that it describes.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::Parser;

use crate::grpc::call;

/// Sends the request bodies of a file repeatedly to a server on this machine and prints the measurements as JSON.
///
/// Without --rate the loop is closed: each connection sends its next request after it has received a response. With --rate
/// the loop is open: requests arrive at random (a Poisson process), independently of the responses, and latencies are measured
/// from the arrival.
#[derive(Debug, Parser)]
#[command(version)]
pub(crate) struct Arguments {
    /// Address of the server; must be a loopback address
    #[arg(long)]
    address: SocketAddr,
    /// Path of the POST requests
    #[arg(long, default_value = "/ner")]
    path: String,
    /// Calls gRPC's ModelInfer for the model of this name instead. The bodies are then those of `/ner`, of which each has a `text`
    #[arg(long, value_name = "MODEL", conflicts_with = "path")]
    grpc: Option<String>,
    /// File with one JSON request body per line
    #[arg(long, value_name = "FILE")]
    bodies: PathBuf,
    /// Number of connections; for an open loop, the initial number
    #[arg(long, default_value_t = 32)]
    connections: usize,
    /// Mean arrivals per second of an open loop
    #[arg(long)]
    rate: Option<f64>,
    /// Maximum number of connections of an open loop; if all are busy, requests wait, which adds to their latency
    #[arg(long, default_value_t = 4096)]
    max_connections: usize,
    /// Duration of the measurement; a closed loop continues until it has had one response per connection
    #[arg(long, default_value_t = 6.0)]
    seconds: f64,
    /// Duration of the load before the measurement; a closed loop continues as above
    #[arg(long, default_value_t = 1.0)]
    warmup_seconds: f64,
    /// Maximum wait for responses after the measurement, and maximum extension of the durations above
    #[arg(long, default_value_t = 30.0)]
    drain_seconds: f64,
    /// Pause of a connection of a closed loop after a failure or a status other than 200
    #[arg(long, default_value_t = 100)]
    rest_ms: u64,
    /// Seed of the arrivals of an open loop
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// A validated plan: the requests, the kind of loop and the durations.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) address: SocketAddr,
    /// The bytes of the requests, head and body.
    pub(crate) requests: Vec<Vec<u8>>,
    pub(crate) connections: usize,
    pub(crate) max_connections: usize,
    /// Arrivals per second of an open loop; `None` for a closed loop.
    pub(crate) rate: Option<f64>,
    pub(crate) warmup: Duration,
    pub(crate) measured: Duration,
    pub(crate) drain: Duration,
    pub(crate) rest: Duration,
    pub(crate) seed: u64,
    /// Whether the requests are calls of gRPC.
    pub(crate) is_grpc: bool,
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
            "--rate must be greater than 0"
        );
        let bodies = std::fs::read_to_string(&self.bodies)
            .with_context(|| format!("cannot read {}", self.bodies.display()))?;
        let requests: Vec<Vec<u8>> = bodies
            .lines()
            .filter(|body| !body.is_empty())
            .map(|body| match &self.grpc {
                None => Ok(request(self.address, &self.path, body)),
                Some(model) => grpc_call(self.address, model, body),
            })
            .collect::<Result<_>>()?;
        ensure!(
            !requests.is_empty(),
            "{} contains no request body",
            self.bodies.display()
        );
        let seconds = |option: &str, value: f64| {
            Duration::try_from_secs_f64(value)
                .with_context(|| format!("--{option} {value} is not a duration in seconds"))
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
            is_grpc: self.grpc.is_some(),
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

fn grpc_call(address: SocketAddr, model: &str, body: &str) -> Result<Vec<u8>> {
    let body: serde_json::Value = serde_json::from_str(body)?;
    let text = body["text"].as_str().context("a body has no `text`")?;
    let call = call(address, model, text);
    // One frame, and within the windows that a server grants at first.
    ensure!(call.len() < 16_384, "a text is too long for one frame");
    Ok(call)
}
