//! What tests share: a local HTTP server, a tiny corpus with its vocabulary.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Counts the requests a server answered.
pub(crate) struct Requests(Arc<AtomicUsize>);

impl Requests {
    pub(crate) fn count(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

/// The address of a server that answers a path with a body, or 404 where there is none, until the process ends.
pub(crate) fn serve(body: impl Fn(&str) -> Option<Vec<u8>> + Send + 'static) -> (String, Requests) {
    serve_with_status(move |path| body(path).ok_or("404 Not Found"))
}

/// The address of a server that answers a path with a body, or with an error status, until the process ends.
pub(crate) fn serve_with_status(
    body: impl Fn(&str) -> Result<Vec<u8>, &'static str> + Send + 'static,
) -> (String, Requests) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let count = Arc::new(AtomicUsize::new(0));
    let counted = count.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
            let request = lines.next().unwrap().unwrap();
            while lines.next().is_some_and(|line| !line.unwrap().is_empty()) {}
            counted.fetch_add(1, Ordering::SeqCst);
            let found = body(request.split(' ').nth(1).unwrap());
            let status = found.as_ref().map_or_else(|status| *status, |_| "200 OK");
            let bytes = found.unwrap_or_default();
            let length = bytes.len();
            let commit = "0123456789012345678901234567890123456789";
            let head = format!(
                "HTTP/1.1 {status}\r\ncontent-length: {length}\r\ncontent-range: bytes 0-0/{length}\r\netag: \"e{length}\"\r\nx-repo-commit: {commit}\r\nconnection: close\r\n\r\n"
            );
            stream.write_all(head.as_bytes()).unwrap();
            // A client that asked for the head alone may have gone.
            let _ = stream.write_all(&bytes);
        }
    });
    (url, Requests(count))
}

/// Writes `vocab.txt` and a corpus, in which every `ann` and `bob` is a person, as train and dev.
pub(crate) fn write_corpus(dir: &Path) {
    let specials = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\n";
    std::fs::write(
        dir.join("vocab.txt"),
        format!("{specials}ann\nbob\nsees\nand\na\ndog\n"),
    )
    .unwrap();
    let text = "Ann\tB-per\nsees\tO\na\tO\ndog\tO\n\nBob\tB-per\nand\tO\nAnn\tB-per\n\na\tO\ndog\tO\nsees\tO\nBob\tB-per\n\n";
    std::fs::write(dir.join("train.conll"), text.repeat(6)).unwrap();
    std::fs::write(dir.join("dev.conll"), text).unwrap();
    std::fs::write(dir.join("test.conll"), "Ann\tB-per\nsees\tO\nRome\tB-loc\n").unwrap();
}
