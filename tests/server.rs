//! A running `nerve-server`, and requests to it.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::fixture::binary;

/// A server on a port of its own, stopped when dropped.
pub(crate) struct Server {
    child: Child,
    /// The server's address, without a slash at its end.
    pub(crate) base: String,
    log: Arc<Mutex<String>>,
}

/// A response.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Value,
    pub(crate) request_id: String,
}

impl Server {
    /// Serves a model and waits until it is ready.
    pub(crate) fn start(model: &Path, options: &[&str]) -> Self {
        Self::start_with(model, options, &[])
    }

    /// [`Self::start`] with environment variables.
    pub(crate) fn start_with(model: &Path, options: &[&str], variables: &[(&str, &str)]) -> Self {
        let mut child = binary("nerve-server")
            .arg("--model")
            .arg(model)
            .args(["--listen", "127.0.0.1:0", "--log", "json"])
            .args(options)
            .envs(variables.iter().copied())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap());
        let log = Arc::new(Mutex::new(String::new()));
        let mut line = String::new();
        let address = loop {
            line.clear();
            assert!(
                lines.read_line(&mut line).unwrap() > 0,
                "the server exited before it was listening"
            );
            log.lock().unwrap().push_str(&line);
            let event: Value = serde_json::from_str(&line).unwrap_or_default();
            if let Some(address) = event.pointer("/fields/address").and_then(Value::as_str) {
                break address.to_owned();
            }
        };
        // The pipe must be read, because the server blocks when it is full.
        let heard = Arc::clone(&log);
        std::thread::spawn(move || {
            for line in lines.lines().map_while(Result::ok) {
                heard.lock().unwrap().push_str(&(line + "\n"));
            }
        });
        let server = Self {
            child,
            base: format!("http://{address}"),
            log,
        };
        let end = Instant::now() + Duration::from_secs(60);
        while server.get("/health/ready").status != 200 {
            assert!(Instant::now() < end, "the server is not ready after a minute");
            std::thread::sleep(Duration::from_millis(50));
        }
        server
    }

    pub(crate) fn get(&self, route: &str) -> Answer {
        let agent = agent();
        answer(agent.get(format!("{}{route}", self.base)).call().unwrap())
    }

    pub(crate) fn post(&self, route: &str, body: &Value) -> Answer {
        self.post_as(route, "application/json", &body.to_string())
    }

    pub(crate) fn post_as(&self, route: &str, content_type: &str, body: &str) -> Answer {
        let request = agent()
            .post(format!("{}{route}", self.base))
            .header("content-type", content_type);
        answer(request.send(body).unwrap())
    }

    /// Sends SIGTERM and returns the exit code.
    pub(crate) fn terminate(mut self) -> Option<i32> {
        self.signal("TERM");
        self.child.wait().unwrap().code()
    }

    /// Sends the server a signal.
    pub(crate) fn signal(&self, name: &str) {
        let sent = std::process::Command::new("kill")
            .args(["-s", name, &self.child.id().to_string()])
            .status()
            .unwrap();
        assert!(sent.success());
    }

    /// What the server has logged so far.
    pub(crate) fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn agent() -> ureq::Agent {
    ureq::Agent::config_builder()
        .http_status_as_error(false)
        .timeout_global(Some(Duration::from_secs(60)))
        .proxy(None)
        .build()
        .into()
}

fn answer(mut response: ureq::http::Response<ureq::Body>) -> Answer {
    let header = response
        .headers()
        .get("x-request-id")
        .expect("every response has x-request-id");
    let request_id = header.to_str().unwrap().to_owned();
    let status = response.status().as_u16();
    let text = response.body_mut().read_to_string().unwrap();
    Answer {
        status,
        request_id,
        body: serde_json::from_str(&text).unwrap_or(Value::String(text)),
    }
}
