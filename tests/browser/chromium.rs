//! Chromium with an empty profile, controlled through chromedriver.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::LazyLock;

use fantoccini::{Client, ClientBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use serde_json::json;

use crate::fixture::repository;

/// The programs and the script that the tests need.
pub(crate) struct Tools {
    chromium: PathBuf,
    chromedriver: PathBuf,
    /// axe-core's script.
    pub(crate) axe: PathBuf,
}

static TOOLS: LazyLock<Result<Tools, &str>> = LazyLock::new(|| {
    let chromium = program("CHROMIUM", &["chromium", "chromium-browser", "google-chrome"]);
    let chromedriver = program("CHROMEDRIVER", &["chromedriver"]);
    let axe = repository().join("target/tools/axe/axe_playwright_python/axe.min.js");
    Ok(Tools {
        chromium: chromium.ok_or("Chromium is missing: apt-get install chromium, or CHROMIUM=PATH")?,
        chromedriver: chromedriver
            .ok_or("chromedriver is missing: apt-get install chromium-driver, or CHROMEDRIVER=PATH")?,
        axe: axe
            .is_file()
            .then_some(axe)
            .ok_or("axe-core is missing: make browser-test fetches it")?,
    })
});

/// The tools. Prints a message and returns `None` if one is missing. With BROWSER_TEST=required a missing tool fails the test.
pub(crate) fn tools() -> Option<&'static Tools> {
    match &*TOOLS {
        Ok(tools) => Some(tools),
        Err(missing) => {
            let required = std::env::var_os("BROWSER_TEST").is_some_and(|value| value == "required");
            assert!(!required, "{missing}");
            // The test runner captures what `eprintln!` writes in a test that passes.
            let _ = writeln!(std::io::stderr(), "browser test SKIPPED: {missing}");
            None
        }
    }
}

/// The program that the variable names, or the first of `names` in PATH.
fn program(variable: &str, names: &[&str]) -> Option<PathBuf> {
    if let Some(path) = std::env::var_os(variable) {
        return Some(path.into());
    }
    let path = std::env::var_os("PATH")?;
    let directories: Vec<PathBuf> = std::env::split_paths(&path).collect();
    names
        .iter()
        .flat_map(|name| directories.iter().map(move |directory| directory.join(name)))
        .find(|program| program.is_file())
}

/// A chromedriver process, which is stopped together with its browsers when dropped.
pub(crate) struct Driver {
    process: Child,
    url: String,
    /// Stays open as long as the process, which may write to it at any time.
    _output: BufReader<ChildStdout>,
}

impl Driver {
    fn start(chromedriver: &Path) -> Self {
        let mut process = Command::new(chromedriver)
            .arg("--port=0")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut output = BufReader::new(process.stdout.take().unwrap());
        let port = output
            .by_ref()
            .lines()
            .map_while(Result::ok)
            .find_map(|line| {
                Some(
                    line.split_once("successfully on port ")?
                        .1
                        .trim_end_matches('.')
                        .to_owned(),
                )
            })
            .expect("chromedriver prints its port");
        Self {
            process,
            url: format!("http://127.0.0.1:{port}"),
            _output: output,
        }
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        // SIGKILL would leave its browsers running.
        let agent: ureq::Agent = ureq::Agent::config_builder().proxy(None).build().into();
        let _ = agent.get(format!("{}/shutdown", self.url)).call();
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Tools {
    pub(crate) fn driver(&self) -> Driver {
        Driver::start(&self.chromedriver)
    }

    /// A new browser, which records its console messages and its requests.
    pub(crate) async fn browser(&self, driver: &Driver) -> Client {
        let capabilities = json!({
            "goog:loggingPrefs": { "browser": "ALL", "performance": "ALL" },
            "goog:chromeOptions": {
                "binary": self.chromium,
                "args": [
                    "--headless",
                    "--no-sandbox",
                    "--disable-gpu",
                    "--disable-quic",
                    "--no-first-run",
                    "--disable-background-networking",
                    "--disable-component-update",
                    "--disable-sync",
                ],
            },
        });
        let mut builder = ClientBuilder::new(HttpConnector::new());
        builder.capabilities(capabilities.as_object().unwrap().clone());
        builder.connect(&driver.url).await.unwrap()
    }
}
