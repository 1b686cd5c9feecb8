//! A value made from files, and made again when their content changes.

use std::fmt::Display;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use sha2::{Digest, Sha256};
use tracing::{error, info};

/// The largest file that is read, in bytes.
const MAX_BYTES: u64 = 1 << 20;

/// The content of a file, or why it cannot be read.
pub(crate) type Content = io::Result<Vec<u8>>;

type Make<T, E> = Box<dyn Fn(Vec<Content>) -> Result<T, E> + Send + Sync>;

/// A value made from the content of files. Content of which no value can be made leaves the previous value in use, so
/// that a file that is being written does no harm.
pub(crate) struct Reloaded<T, E> {
    /// What the value is, in the log.
    name: &'static str,
    paths: Vec<PathBuf>,
    make: Make<T, E>,
    current: RwLock<Arc<T>>,
    /// Of the content that was read last, whether or not it made a value.
    fingerprint: Mutex<[u8; 32]>,
}

impl<T, E: Display> Reloaded<T, E> {
    /// The value of these files as they are now. `make` is given their contents in order.
    pub(crate) fn load(
        name: &'static str,
        paths: Vec<PathBuf>,
        make: impl Fn(Vec<Content>) -> Result<T, E> + Send + Sync + 'static,
    ) -> Result<Self, E> {
        let contents = read_all(&paths);
        let fingerprint = Mutex::new(fingerprint(&contents));
        Ok(Self {
            name,
            paths,
            current: RwLock::new(Arc::new(make(contents)?)),
            make: Box::new(make),
            fingerprint,
        })
    }

    /// The value.
    pub(crate) fn get(&self) -> Arc<T> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Makes the value again if the content of a file has changed. Blocks.
    ///
    /// Modification times are not compared: a file that was read while it was being written may keep its time.
    pub(crate) fn refresh(&self) {
        // A pipe can be read only once.
        if self.paths.iter().any(|path| path.exists() && !path.is_file()) {
            return;
        }
        let contents = read_all(&self.paths);
        let read = fingerprint(&contents);
        let before = std::mem::replace(
            &mut *self.fingerprint.lock().unwrap_or_else(PoisonError::into_inner),
            read,
        );
        if read == before {
            return;
        }
        match (self.make)(contents) {
            Ok(value) => {
                *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(value);
                info!(of = self.name, "files read again");
            }
            // Logged once for each content.
            Err(problem) => error!(
                of = self.name,
                %problem,
                "changed files cannot be used; what was read before stays in use"
            ),
        }
    }
}

fn read_all(paths: &[PathBuf]) -> Vec<Content> {
    paths.iter().map(|path| read(path)).collect()
}

fn read(path: &Path) -> Content {
    let mut content = Vec::new();
    File::open(path)?.take(MAX_BYTES + 1).read_to_end(&mut content)?;
    match content.len() as u64 > MAX_BYTES {
        true => Err(io::Error::other(format!(
            "the file has more than {MAX_BYTES} bytes"
        ))),
        false => Ok(content),
    }
}

fn fingerprint(contents: &[Content]) -> [u8; 32] {
    let mut hash = Sha256::new();
    for content in contents {
        match content {
            Ok(bytes) => {
                hash.update(bytes.len().to_le_bytes());
                hash.update(bytes);
            }
            Err(problem) => hash.update(problem.to_string()),
        }
    }
    hash.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(path: &Path) -> Result<Reloaded<u8, String>, String> {
        Reloaded::load("a number", vec![path.to_owned()], |mut contents| {
            let content = contents.pop().unwrap().map_err(|error| error.to_string())?;
            let text = String::from_utf8(content).map_err(|error| error.to_string())?;
            text.trim().parse().map_err(|_| format!("no number: {text}"))
        })
    }

    #[test]
    fn changed_content_is_used_if_it_makes_a_value() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let path = file.path();
        // The time never changes, as when a file is read and written within the clock's resolution.
        let write = |text: &str| {
            std::fs::write(path, text).unwrap();
            file.as_file()
                .set_modified(std::time::SystemTime::UNIX_EPOCH)
                .unwrap();
        };
        write("1");
        let value = number(path).unwrap();
        for (text, expected) in [("2", 2), ("", 2), ("x", 2), ("3", 3), ("3", 3)] {
            write(text);
            value.refresh();
            assert_eq!(*value.get(), expected, "{text:?}");
        }
        std::fs::remove_file(path).unwrap();
        value.refresh();
        assert_eq!(*value.get(), 3);
        std::fs::write(path, "4").unwrap();
        value.refresh();
        assert_eq!(*value.get(), 4);
    }

    #[test]
    fn a_file_without_end_is_no_value() {
        let problem = number(Path::new("/dev/zero")).map(drop).unwrap_err();
        assert!(problem.contains("more than"), "{problem}");
    }
}
