//! API keys: for tagging, and for admin requests.

use std::path::{Path, PathBuf};
use std::sync::{PoisonError, RwLock};
use std::time::SystemTime;

use actix_web::http::Method;
use actix_web::http::header::{AUTHORIZATION, HeaderMap, HeaderName};
use sha2::{Digest, Sha256};
use subtle::{Choice, ConstantTimeEq};
use thiserror::Error;
use tracing::{error, info};

use crate::config::{KeySource, ServerConfig};
use crate::http::error::ApiError;
use crate::http::route::Route;

pub(crate) const API_KEY: HeaderName = HeaderName::from_static("x-api-key");
/// The prefix of a key that is given as its hash.
const HASHED: &str = "sha256:";

/// Why keys cannot be used.
#[derive(Debug, Error)]
pub enum KeyError {
    /// The file cannot be read.
    #[error("{}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// A line has no valid hash.
    #[error("{origin}, line {line}: `sha256:` must be followed by 64 hexadecimal digits")]
    Hash {
        /// The file or variable.
        origin: String,
        /// The line's number, from 1.
        line: usize,
    },
    /// There is no key, so that every request would be refused.
    #[error("{origin} has no key")]
    None {
        /// The file or variable.
        origin: String,
    },
}

/// The SHA-256 of a key. Keys themselves are not stored.
type Hash = [u8; 32];

/// The keys of a server.
pub(crate) struct Keys {
    /// For tagging; no key is needed if absent.
    tagging: Option<KeySet>,
    /// For admin requests; they are refused if absent.
    admin: Option<KeySet>,
}

/// The keys of one source, which is read again when it changes.
struct KeySet {
    source: KeySource,
    hashes: RwLock<(Vec<Hash>, Option<SystemTime>)>,
}

/// The key of a request, if it has one.
pub(crate) struct PresentedKey(Option<Hash>);

impl PresentedKey {
    /// The key in `authorization: Bearer` or `x-api-key`.
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let text = |name: &HeaderName| headers.get(name)?.to_str().ok();
        Self::in_values(text(&AUTHORIZATION), text(&API_KEY))
    }

    /// The key in the values of `authorization` and `x-api-key`.
    pub(crate) fn in_values(authorization: Option<&str>, api_key: Option<&str>) -> Self {
        let bearer = authorization.and_then(|value| {
            let (scheme, key) = value.split_once(' ')?;
            scheme.eq_ignore_ascii_case("bearer").then_some(key.trim())
        });
        Self(bearer.or(api_key).map(|key| Sha256::digest(key).into()))
    }
}

impl Keys {
    /// Reads the configured keys.
    pub(crate) fn read(config: &ServerConfig) -> Result<Self, KeyError> {
        let read = |source: &Option<KeySource>| source.clone().map(KeySet::read).transpose();
        Ok(Self {
            tagging: read(&config.api_keys)?,
            admin: read(&config.admin_keys)?,
        })
    }

    /// Whether a request of this route has the key it needs.
    pub(crate) fn check(
        &self,
        route: Route,
        method: &Method,
        presented: &PresentedKey,
    ) -> Result<(), ApiError> {
        let wanted = match (route.is_admin(), route.is_tagging() && method == Method::POST) {
            (true, _) => self.admin.as_ref().ok_or(ApiError::NoAdminKeys)?,
            (false, true) => match &self.tagging {
                Some(keys) => keys,
                None => return Ok(()),
            },
            (false, false) => return Ok(()),
        };
        match presented.0.is_some_and(|hash| wanted.has(&hash)) {
            true => Ok(()),
            false => Err(ApiError::Unauthorized),
        }
    }

    /// Reads changed files again. A file that cannot be read leaves its keys as they were. Blocks.
    pub(crate) fn refresh(&self) {
        for keys in self.tagging.iter().chain(&self.admin) {
            keys.refresh();
        }
    }
}

impl KeySet {
    fn read(source: KeySource) -> Result<Self, KeyError> {
        let hashes = RwLock::new(hashes(&source)?);
        Ok(Self { source, hashes })
    }

    /// Whether the key is one of these, in constant time.
    fn has(&self, key: &Hash) -> bool {
        let hashes = self.hashes.read().unwrap_or_else(PoisonError::into_inner);
        let found = hashes
            .0
            .iter()
            .fold(Choice::from(0), |found, hash| found | hash.ct_eq(key));
        found.into()
    }

    fn refresh(&self) {
        let KeySource::File(path) = &self.source else {
            return;
        };
        let before = self.hashes.read().unwrap_or_else(PoisonError::into_inner).1;
        if modified(path) == before {
            return;
        }
        match hashes(&self.source) {
            Ok(read) => {
                info!(keys = read.0.len(), "API keys read again");
                *self.hashes.write().unwrap_or_else(PoisonError::into_inner) = read;
            }
            // An operator who removes all keys means to refuse everybody.
            Err(problem @ KeyError::None { .. }) => {
                error!(%problem, "no API key is valid any more");
                *self.hashes.write().unwrap_or_else(PoisonError::into_inner) = (Vec::new(), modified(path));
            }
            Err(problem) => {
                error!(%problem, "the API keys cannot be read again; the previous keys stay valid");
                // The error is logged once per change of the file.
                self.hashes.write().unwrap_or_else(PoisonError::into_inner).1 = modified(path);
            }
        }
    }
}

fn modified(path: &Path) -> Option<SystemTime> {
    std::fs::metadata(path)
        .and_then(|of_file| of_file.modified())
        .ok()
}

/// The hashes of a source's keys, and the modification time of its file.
fn hashes(source: &KeySource) -> Result<(Vec<Hash>, Option<SystemTime>), KeyError> {
    let (origin, text, time) = match source {
        KeySource::File(path) => {
            let time = modified(path);
            let text = std::fs::read_to_string(path).map_err(|source| KeyError::Read {
                path: path.clone(),
                source,
            })?;
            (path.display().to_string(), text, time)
        }
        KeySource::Variable { name, value } => (name.clone(), value.replace(',', "\n"), None),
    };
    let mut found = Vec::new();
    for (line, key) in (1..).zip(text.lines()) {
        let key = key.trim();
        if key.is_empty() || key.starts_with('#') {
            continue;
        }
        found.push(match key.strip_prefix(HASHED) {
            Some(digits) => from_hex(digits).ok_or_else(|| KeyError::Hash {
                origin: origin.clone(),
                line,
            })?,
            None => Sha256::digest(key).into(),
        });
    }
    match found.is_empty() {
        true => Err(KeyError::None { origin }),
        false => Ok((found, time)),
    }
}

fn from_hex(digits: &str) -> Option<Hash> {
    let mut hash = Hash::default();
    if digits.len() != 2 * hash.len() || !digits.is_ascii() {
        return None;
    }
    for (byte, at) in hash.iter_mut().zip((0..).step_by(2)) {
        *byte = u8::from_str_radix(digits.get(at..at + 2)?, 16).ok()?;
    }
    Some(hash)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variable(value: &str) -> KeySource {
        KeySource::Variable {
            name: "KEYS".to_owned(),
            value: value.to_owned(),
        }
    }

    fn hash(key: &str) -> Hash {
        Sha256::digest(key).into()
    }

    #[test]
    fn keys_are_given_plain_or_hashed() {
        let hex: String = hash("b").iter().map(|byte| format!("{byte:02X}")).collect();
        let keys = KeySet::read(variable(&format!("a, sha256:{hex},,"))).unwrap();
        assert!(keys.has(&hash("a")) && keys.has(&hash("b")));
        assert!(!keys.has(&hash("c")) && !keys.has(&hash("")));
    }

    #[test]
    fn what_is_no_key_is_named() {
        let problem = |value: &str| KeySet::read(variable(value)).map(drop).unwrap_err().to_string();
        assert_eq!(problem(" # a comment,"), "KEYS has no key");
        assert!(problem("a,sha256:12").starts_with("KEYS, line 2"));
        assert!(problem(&format!("sha256:{}", "é".repeat(32))).contains("64 hexadecimal"));
        let missing = KeySet::read(KeySource::File("/nowhere/keys".into()));
        assert!(
            missing
                .map(drop)
                .unwrap_err()
                .to_string()
                .starts_with("/nowhere/keys: ")
        );
    }

    #[test]
    fn a_changed_file_is_read_again_unless_it_is_no_good() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let write = |text: &str, seconds: u64| {
            std::fs::write(file.path(), text).unwrap();
            let time = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(seconds);
            file.as_file().set_modified(time).unwrap();
        };
        write("a\n", 1);
        let keys = KeySet::read(KeySource::File(file.path().to_owned())).unwrap();
        write("b\n", 2);
        keys.refresh();
        assert!(keys.has(&hash("b")) && !keys.has(&hash("a")));
        write("sha256:x\n", 3);
        keys.refresh();
        assert!(keys.has(&hash("b")));
        write("c\n", 4);
        keys.refresh();
        assert!(keys.has(&hash("c")));
        write("# nobody\n", 5);
        keys.refresh();
        assert!(!keys.has(&hash("c")));
    }
}
