//! A server that behaves as the Hugging Face hub does, with faults on request. It also stands in the tests of `nerve-repository`.
//!
//! It answers `/api/models/ID/revision/REVISION`, and `/api/datasets/...`, with `sha` and `siblings`, and `/ID/resolve/COMMIT/FILE` with the content, its
//! ETag and ranges of bytes. Files of weights are redirected to a second address, the storage, whose URLs are signed.

// Each of the two uses a part.
#![allow(dead_code)]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use ring::digest;

/// Extensions of files in large file storage.
const LARGE: [&str; 5] = [".safetensors", ".onnx", ".onnx_data", ".bin", ".parquet"];

/// A hub with models, and with data sets, whose ids begin with `datasets/`.
pub(crate) struct Hub {
    /// Its address, for `HF_ENDPOINT`.
    pub(crate) url: String,
    state: Arc<State>,
}

/// A request that the hub or its storage received.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    /// Whether the storage received it.
    pub(crate) is_storage: bool,
    /// `GET` or `HEAD`.
    pub(crate) method: String,
    /// The path with the query.
    pub(crate) path: String,
    /// The headers, with names in lower case.
    pub(crate) headers: BTreeMap<String, String>,
}

/// What goes wrong in place of an answer.
#[derive(Clone, Debug)]
pub(crate) enum Fault {
    /// An answer with this status and these headers.
    Status(u16, Vec<(&'static str, String)>),
    /// An answer with status 200 and this body.
    Body(&'static str),
    /// The connection is closed without an answer.
    Close,
    /// The connection is closed after so many bytes of the body.
    Cut(usize),
    /// No byte follows this many of the body until the hub is dropped.
    Stall(usize),
    /// One byte of the body is another.
    Alter,
    /// The whole content is sent in answer to a range.
    IgnoreRange,
    /// The answer has another value of this header; none if it is empty.
    Header(&'static str, &'static str),
}

struct State {
    storage: SocketAddr,
    stopped: AtomicBool,
    models: Mutex<BTreeMap<String, Model>>,
    token: Mutex<Option<String>>,
    faults: Mutex<Vec<(String, usize, Fault)>>,
    requests: Mutex<Vec<Request>>,
}

#[derive(Default)]
struct Model {
    /// The commits of branches and tags.
    revisions: BTreeMap<String, String>,
    commits: BTreeMap<String, BTreeMap<String, Vec<u8>>>,
}

/// An answer without fault.
struct Answer {
    status: u16,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
}

impl Hub {
    /// A hub without models.
    pub(crate) fn start() -> Self {
        let listen = || {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            (listener.local_addr().unwrap(), listener)
        };
        let ((hub, hub_listener), (storage, storage_listener)) = (listen(), listen());
        let state = Arc::new(State {
            storage,
            stopped: AtomicBool::new(false),
            models: Mutex::default(),
            token: Mutex::default(),
            faults: Mutex::default(),
            requests: Mutex::default(),
        });
        for (listener, is_storage) in [(hub_listener, false), (storage_listener, true)] {
            let state = state.clone();
            thread::spawn(move || accept(&listener, is_storage, &state));
        }
        let url = format!("http://{hub}");
        Self { url, state }
    }

    /// Commits the files of a model as the state of a branch or tag. Yields the name of the commit.
    pub(crate) fn commit(&self, id: &str, revision: &str, files: &[(&str, &[u8])]) -> String {
        let files: BTreeMap<String, Vec<u8>> = files
            .iter()
            .map(|(name, content)| (name.to_string(), content.to_vec()))
            .collect();
        let commit = sha1(format!("{id} {revision} {files:?}").as_bytes());
        let mut models = self.state.models.lock().unwrap();
        let model = models.entry(id.to_owned()).or_default();
        model.revisions.insert(revision.to_owned(), commit.clone());
        model.commits.insert(commit.clone(), files);
        commit
    }

    /// From now on, only requests with this token are answered.
    pub(crate) fn require_token(&self, token: &str) {
        *self.state.token.lock().unwrap() = Some(token.to_owned());
    }

    /// The next `times` requests whose `METHOD PATH` contains a text meet a fault.
    pub(crate) fn fail(&self, containing: &str, times: usize, fault: Fault) {
        let mut faults = self.state.faults.lock().unwrap();
        faults.push((containing.to_owned(), times, fault));
    }

    /// Removes the faults.
    pub(crate) fn repair(&self) {
        self.state.faults.lock().unwrap().clear();
    }

    /// The requests that were received, of those whose `METHOD PATH` contains a text.
    pub(crate) fn requests(&self, containing: &str) -> Vec<Request> {
        let requests = self.state.requests.lock().unwrap();
        let contains =
            |request: &&Request| format!("{} {}", request.method, request.path).contains(containing);
        requests.iter().filter(contains).cloned().collect()
    }

    /// Forgets the requests.
    pub(crate) fn forget(&self) {
        self.state.requests.lock().unwrap().clear();
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        self.state.stopped.store(true, Ordering::SeqCst);
        // The connections wake the listeners, which then end.
        let hub = self.url.trim_start_matches("http://").parse().unwrap();
        for address in [hub, self.state.storage] {
            let _ = TcpStream::connect_timeout(&address, Duration::from_secs(1));
        }
    }
}

fn accept(listener: &TcpListener, is_storage: bool, state: &Arc<State>) {
    for stream in listener.incoming() {
        if state.stopped.load(Ordering::SeqCst) {
            return;
        }
        let (Ok(stream), state) = (stream, state.clone()) else {
            continue;
        };
        // A client may close the connection at any time.
        thread::spawn(move || answer(stream, is_storage, &state));
    }
}

fn answer(mut stream: TcpStream, is_storage: bool, state: &State) -> Option<()> {
    let request = read(&stream, is_storage)?;
    state.requests.lock().unwrap().push(request.clone());
    let fault = state.next_fault(&request);
    let mut answer = match is_storage {
        true => state.stored(&request, matches!(fault, Some(Fault::IgnoreRange))),
        false => state.of_hub(&request, matches!(fault, Some(Fault::IgnoreRange))),
    };
    let mut length = answer.body.len();
    match &fault {
        Some(Fault::Status(status, headers)) => {
            let (headers, body) = (headers.clone(), Vec::new());
            answer = Answer {
                status: *status,
                headers,
                body,
            };
            length = 0;
        }
        Some(Fault::Body(body)) => {
            answer.body = body.as_bytes().to_vec();
            (answer.status, length) = (200, body.len());
        }
        Some(Fault::Close) => return None,
        Some(Fault::Cut(bytes) | Fault::Stall(bytes)) => answer.body.truncate(*bytes),
        Some(Fault::Alter) => {
            if let Some(byte) = answer.body.last_mut() {
                *byte ^= 1;
            }
        }
        Some(Fault::Header(name, value)) => {
            answer.headers.retain(|(header, _)| header != name);
            if !value.is_empty() {
                answer.headers.push((name, value.to_string()));
            }
        }
        Some(Fault::IgnoreRange) | None => {}
    }
    let mut head = format!("HTTP/1.1 {} X\r\nconnection: close\r\n", answer.status);
    if !answer.headers.iter().any(|(name, _)| *name == "content-length") {
        answer.headers.push(("content-length", length.to_string()));
    }
    for (name, value) in &answer.headers {
        let _ = write!(head, "{name}: {value}\r\n");
    }
    stream.write_all(format!("{head}\r\n").as_bytes()).ok()?;
    if request.method != "HEAD" {
        stream.write_all(&answer.body).ok()?;
    }
    if let Some(Fault::Stall(_)) = fault {
        while !state.stopped.load(Ordering::SeqCst) {
            thread::sleep(Duration::from_millis(10));
        }
    }
    Some(())
}

fn read(stream: &TcpStream, is_storage: bool) -> Option<Request> {
    let mut lines = BufReader::new(stream).lines();
    let first = lines.next()?.ok()?;
    let mut words = first.split(' ');
    let (method, path) = (words.next()?.to_owned(), words.next()?.to_owned());
    let mut headers = BTreeMap::new();
    while let Some(line) = lines.next()?.ok().filter(|line| !line.is_empty()) {
        let (name, value) = line.split_once(':')?;
        headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
    }
    Some(Request {
        is_storage,
        method,
        path,
        headers,
    })
}

impl State {
    fn next_fault(&self, request: &Request) -> Option<Fault> {
        let mut faults = self.faults.lock().unwrap();
        let request = format!("{} {}", request.method, request.path);
        let (_, times, fault) = faults
            .iter_mut()
            .find(|(containing, times, _)| *times > 0 && request.contains(containing.as_str()))?;
        *times -= 1;
        Some(fault.clone())
    }

    fn of_hub(&self, request: &Request, ignores_range: bool) -> Answer {
        let token = self.token.lock().unwrap().clone();
        let sent = request.headers.get("authorization");
        if token.is_some_and(|token| sent != Some(&format!("Bearer {token}"))) {
            let said = "Invalid username or password.".to_owned();
            return Answer::of_status(401, vec![("x-error-message", said)]);
        }
        let not_found = |code: &str| Answer::of_status(404, vec![("x-error-code", code.to_owned())]);
        let path = request.path.split('?').next().unwrap().replace("%2F", "/");
        let models = self.models.lock().unwrap();
        // Data sets are kept under `datasets/ID`.
        let listed = path.strip_prefix("/api/models/");
        if let Some(path) = listed.or_else(|| {
            path.strip_prefix("/api/")
                .filter(|path| path.starts_with("datasets/"))
        }) {
            let (id, revision) = path.split_once("/revision/").unwrap_or((path, "main"));
            let Some(model) = models.get(id) else {
                return not_found("RepoNotFound");
            };
            return match model.find(revision) {
                Some((commit, files)) => Answer::listing(id, commit, files),
                None => not_found("RevisionNotFound"),
            };
        }
        let Some((id, path)) = path.trim_start_matches('/').split_once("/resolve/") else {
            return Answer::of_status(404, vec![]);
        };
        let Some(model) = models.get(id) else {
            return not_found("RepoNotFound");
        };
        let found = model.all().find_map(|(revision, commit, files)| {
            let file = path.strip_prefix(revision)?.strip_prefix('/')?;
            Some((commit, file, files.get(file)))
        });
        let Some((commit, file, content)) = found else {
            return not_found("RevisionNotFound");
        };
        let Some(content) = content else {
            return not_found("EntryNotFound");
        };
        if !LARGE.iter().any(|extension| file.ends_with(extension)) {
            let etag = git_hash(content);
            let mut answer = Answer::content(content, &etag, request, ignores_range);
            answer.headers.push(("x-repo-commit", commit.clone()));
            return answer;
        }
        let etag = sha256(content);
        let location = format!("http://{}/{id}/{commit}/{file}?signature=secret", self.storage);
        Answer {
            status: 302,
            headers: vec![
                ("location", location),
                ("x-repo-commit", commit.clone()),
                ("x-linked-etag", format!("\"{etag}\"")),
                ("x-linked-size", content.len().to_string()),
                ("etag", format!("\"{etag}\"")),
            ],
            body: b"Found".to_vec(),
        }
    }

    fn stored(&self, request: &Request, ignores_range: bool) -> Answer {
        if request.method != "GET" || !request.path.ends_with("?signature=secret") {
            return Answer::of_status(403, vec![]);
        }
        let models = self.models.lock().unwrap();
        let path = request.path.split('?').next().unwrap().trim_start_matches('/');
        let content = models.iter().find_map(|(id, model)| {
            let (commit, file) = path
                .strip_prefix(id.as_str())?
                .strip_prefix('/')?
                .split_once('/')?;
            model.commits.get(commit)?.get(file)
        });
        match content {
            // As object storage has it: another ETag than the hub's.
            Some(content) => Answer::content(
                content,
                &format!("stored-{}", content.len()),
                request,
                ignores_range,
            ),
            None => Answer::of_status(404, vec![]),
        }
    }
}

impl Model {
    fn find(&self, revision: &str) -> Option<(&String, &BTreeMap<String, Vec<u8>>)> {
        let commit = self.revisions.get(revision).map_or(revision, String::as_str);
        self.commits.get_key_value(commit)
    }

    /// Each name of a commit, the commit and its files.
    fn all(&self) -> impl Iterator<Item = (&String, &String, &BTreeMap<String, Vec<u8>>)> {
        let names = self.revisions.keys().chain(self.commits.keys());
        names.filter_map(|name| self.find(name).map(|(commit, files)| (name, commit, files)))
    }
}

impl Answer {
    fn of_status(status: u16, headers: Vec<(&'static str, String)>) -> Self {
        let body = Vec::new();
        Self {
            status,
            headers,
            body,
        }
    }

    fn listing(id: &str, commit: &str, files: &BTreeMap<String, Vec<u8>>) -> Self {
        let siblings: Vec<String> = files
            .keys()
            .map(|file| format!("{{\"rfilename\": \"{file}\"}}"))
            .collect();
        let siblings = siblings.join(", ");
        let body = format!("{{\"id\": \"{id}\", \"sha\": \"{commit}\", \"siblings\": [{siblings}]}}");
        let headers = vec![("content-type", "application/json".to_owned())];
        let body = body.into_bytes();
        Self {
            status: 200,
            headers,
            body,
        }
    }

    /// The content, or the range of it that is asked for.
    fn content(content: &[u8], etag: &str, request: &Request, ignores_range: bool) -> Self {
        let etag = format!("\"{etag}\"");
        let range = request.headers.get("range").filter(|_| !ignores_range);
        let is_valid = request
            .headers
            .get("if-range")
            .is_none_or(|expected| *expected == etag);
        let start = range.filter(|_| is_valid).map(|range| {
            let start = range.trim_start_matches("bytes=").split('-').next().unwrap();
            start.parse::<usize>().unwrap()
        });
        let mut headers = vec![("etag", etag), ("accept-ranges", "bytes".to_owned())];
        let size = content.len();
        match start {
            Some(start) if start >= size => {
                headers.push(("content-range", format!("bytes */{size}")));
                Self::of_status(416, headers)
            }
            Some(start) => {
                headers.push(("content-range", format!("bytes {start}-{}/{size}", size - 1)));
                let body = content[start..].to_vec();
                Self {
                    status: 206,
                    headers,
                    body,
                }
            }
            None => Self {
                status: 200,
                headers,
                body: content.to_vec(),
            },
        }
    }
}

/// The name that Git gives the content of a file.
pub(crate) fn git_hash(content: &[u8]) -> String {
    sha1(&[format!("blob {}\0", content.len()).as_bytes(), content].concat())
}

/// The SHA-256 of the content of a file.
pub(crate) fn sha256(content: &[u8]) -> String {
    digits(digest::digest(&digest::SHA256, content).as_ref())
}

fn sha1(content: &[u8]) -> String {
    digits(digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, content).as_ref())
}

fn digits(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
