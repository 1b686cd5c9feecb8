//! The WNUT-17 corpus (Derczynski et al. 2017), downloaded once and checked.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::error::CorpusError;

/// Where the corpus' authors publish it.
pub const WNUT17_URL: &str = "https://raw.githubusercontent.com/leondz/emerging_entities_17/master/";

/// One file of the corpus.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wnut17File {
    /// Its name in the authors' repository.
    pub remote: &'static str,
    /// Its name in the cache.
    pub local: &'static str,
    /// Its SHA-256, in lower-case hexadecimal.
    pub sha256: &'static str,
}

/// The corpus' files.
pub const WNUT17_FILES: [Wnut17File; 3] = [
    Wnut17File {
        remote: "wnut17train.conll",
        local: "train.conll",
        sha256: "731820e13f71af324c6b55a1575ec2ce59fbaa2a0806f8f0400b98d56cd6a7a5",
    },
    Wnut17File {
        remote: "emerging.dev.conll",
        local: "dev.conll",
        sha256: "e053b752b8155113ca66e7db08af5f2f5f43ab993694e4774f1ec5bad42312d8",
    },
    Wnut17File {
        remote: "emerging.test.annotated",
        local: "test.conll",
        sha256: "2aa79b764e56ec9264a1b30fdd9b70195bd00ff400b62edd8f399d5f13c178f0",
    },
];

/// The directory that holds the corpus, downloaded from `base_url` where the cache lacks it.
///
/// The cache is `nerve/wnut17` in `$XDG_CACHE_HOME`, else in `~/.cache`.
pub fn fetch_wnut17(base_url: &str) -> Result<PathBuf, CorpusError> {
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty());
    let cache = set("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(|| set("HOME").map(|home| Path::new(&home).join(".cache")))
        .ok_or(CorpusError::NoCache)?;
    let dir = cache.join("nerve").join("wnut17");
    fetch_files(&WNUT17_FILES, base_url, &dir)?;
    Ok(dir)
}

/// Downloads the files that `dir` lacks or holds in another version.
fn fetch_files(files: &[Wnut17File], base_url: &str, dir: &Path) -> Result<(), CorpusError> {
    std::fs::create_dir_all(dir).map_err(|source| CorpusError::Write {
        path: dir.to_owned(),
        source,
    })?;
    for file in files {
        let path = dir.join(file.local);
        let cached = std::fs::read(&path).is_ok_and(|bytes| sha256(&bytes) == file.sha256);
        if !cached {
            download(file, base_url, &path)?;
        }
    }
    Ok(())
}

fn download(file: &Wnut17File, base_url: &str, path: &Path) -> Result<(), CorpusError> {
    let url = format!("{}/{}", base_url.trim_end_matches('/'), file.remote);
    let bytes = ureq::get(&url)
        .call()
        .and_then(|mut response| response.body_mut().read_to_vec())
        .map_err(|error| CorpusError::Download {
            url: url.clone(),
            reason: error.to_string(),
        })?;
    let found = sha256(&bytes);
    if found != file.sha256 {
        return Err(CorpusError::Hash {
            url,
            found,
            expected: file.sha256.to_owned(),
        });
    }
    let written = tempfile::NamedTempFile::new_in(path.parent().unwrap_or(Path::new("."))).and_then(|made| {
        std::fs::write(made.path(), &bytes)?;
        made.persist(path).map_err(|error| error.error)
    });
    written.map(drop).map_err(|source| CorpusError::Write {
        path: path.to_owned(),
        source,
    })
}

fn sha256(bytes: &[u8]) -> String {
    let mut hex = String::with_capacity(64);
    for byte in Sha256::digest(bytes) {
        // Writing to a String cannot fail.
        let _ = write!(hex, "{byte:02x}");
    }
    hex
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{BufRead, BufReader, Write};
    use std::net::TcpListener;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    const HELLO: Wnut17File = Wnut17File {
        remote: "remote.txt",
        local: "local.txt",
        sha256: "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824",
    };

    /// The address of a server that has one file, `/base/remote.txt`, and the count of its requests.
    fn serve(file: &'static str) -> (String, Arc<AtomicUsize>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/base/", listener.local_addr().unwrap());
        let requests = Arc::new(AtomicUsize::new(0));
        let counted = requests.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
                let request = lines.next().unwrap().unwrap();
                while lines.next().is_some_and(|line| !line.unwrap().is_empty()) {}
                counted.fetch_add(1, Ordering::SeqCst);
                let (status, body) = match request.starts_with("GET /base/remote.txt ") {
                    true => ("200 OK", file),
                    false => ("404 Not Found", ""),
                };
                let length = body.len();
                write!(
                    stream,
                    "HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
                )
                .unwrap();
            }
        });
        (url, requests)
    }

    #[test]
    fn a_file_is_downloaded_once_and_checked() {
        let dir = tempfile::tempdir().unwrap();
        let (url, requests) = serve("hello");
        fetch_files(&[HELLO], &url, dir.path()).unwrap();
        fetch_files(&[HELLO], &url, dir.path()).unwrap();
        assert_eq!(std::fs::read(dir.path().join("local.txt")).unwrap(), b"hello");
        assert_eq!(requests.load(Ordering::SeqCst), 1);
    }

    #[test]
    fn another_file_of_the_name_is_refused_and_not_kept() {
        let dir = tempfile::tempdir().unwrap();
        let (url, _) = serve("something else");
        let error = fetch_files(&[HELLO], &url, dir.path()).unwrap_err();
        assert!(
            matches!(&error, CorpusError::Hash { expected, .. } if expected == HELLO.sha256),
            "{error}"
        );
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn an_absent_file_names_its_address() {
        let dir = tempfile::tempdir().unwrap();
        let (url, _) = serve("hello");
        let elsewhere = format!("{url}elsewhere/");
        let error = fetch_files(&[HELLO], &elsewhere, dir.path())
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("/elsewhere/remote.txt") && error.contains("404"),
            "{error}"
        );
    }

    #[test]
    fn a_spoilt_cache_is_mended() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("local.txt"), "hel").unwrap();
        let (url, _) = serve("hello");
        fetch_files(&[HELLO], &url, dir.path()).unwrap();
        assert_eq!(std::fs::read(dir.path().join("local.txt")).unwrap(), b"hello");
    }
}
