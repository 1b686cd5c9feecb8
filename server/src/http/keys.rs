//! API keys: for tagging, and for admin requests.

use std::path::PathBuf;

use actix_web::http::Method;
use actix_web::http::header::{AUTHORIZATION, HeaderMap, HeaderName};
use nerve_tagging::into_text;
use sha2::{Digest, Sha256};
use subtle::{Choice, ConstantTimeEq};
use thiserror::Error;

use crate::config::{KeySource, ServerConfig};
use crate::http::error::ApiError;
use crate::http::route::Route;
use crate::reloaded::Reloaded;

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

/// The keys of one source.
enum KeySet {
    /// Of a variable.
    Fixed(Vec<Hash>),
    /// Of a file, which is read again when its content changes.
    File(Reloaded<Vec<Hash>, KeyError>),
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

    /// Reads changed files again. A file without valid keys leaves the previous ones. Blocks.
    pub(crate) fn refresh(&self) {
        for keys in self.tagging.iter().chain(&self.admin) {
            if let KeySet::File(file) = keys {
                file.refresh();
            }
        }
    }
}

impl KeySet {
    fn read(source: KeySource) -> Result<Self, KeyError> {
        match source {
            KeySource::Variable { name, value } => Ok(Self::Fixed(hashes(&name, &value.replace(',', "\n"))?)),
            KeySource::File(path) => {
                let keys = Reloaded::load("API keys", vec![path.clone()], move |contents| {
                    let text: std::io::Result<String> =
                        contents.into_iter().map(|bytes| into_text(bytes?)).collect();
                    let text = text.map_err(|source| KeyError::Read {
                        path: path.clone(),
                        source,
                    })?;
                    hashes(&path.display().to_string(), &text)
                });
                Ok(Self::File(keys?))
            }
        }
    }

    /// Whether the key is one of these, in constant time.
    fn has(&self, key: &Hash) -> bool {
        let is_one_of = |hashes: &[Hash]| {
            let found = hashes
                .iter()
                .fold(Choice::from(0), |found, hash| found | hash.ct_eq(key));
            found.into()
        };
        match self {
            Self::Fixed(hashes) => is_one_of(hashes),
            Self::File(file) => is_one_of(&file.get()),
        }
    }
}

/// The hashes of the keys in a text, one a line.
fn hashes(origin: &str, text: &str) -> Result<Vec<Hash>, KeyError> {
    let origin = origin.to_owned();
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
        false => Ok(found),
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
    fn a_changed_file_is_read_again_unless_it_has_no_valid_keys() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let time = std::time::SystemTime::UNIX_EPOCH;
        // Read between truncation and writing, a file has the time that it keeps.
        let write = |bytes: &[u8]| {
            std::fs::write(file.path(), bytes).unwrap();
            file.as_file().set_modified(time).unwrap();
        };
        write(b"a\n");
        let read = KeySet::read(KeySource::File(file.path().to_owned())).unwrap();
        let keys = Keys {
            tagging: Some(read),
            admin: None,
        };
        let valid = |key: &str| keys.tagging.as_ref().unwrap().has(&hash(key));
        for (bytes, now, before) in [
            (&b""[..], "a", "b"),
            (b"b\n", "b", "a"),
            (b"sha256:x\n", "b", "a"),
            (b"# nobody\n", "b", "a"),
            (b"\xff\n", "b", "a"),
            (b"\xef\xbb\xbfc\nd\n", "c", "b"),
        ] {
            write(bytes);
            keys.refresh();
            assert!(valid(now) && !valid(before), "{bytes:?}");
        }
    }

    #[test]
    fn a_file_in_utf_16_is_named_as_such() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), b"\xff\xfea\0").unwrap();
        let problem = KeySet::read(KeySource::File(file.path().to_owned()))
            .map(drop)
            .unwrap_err();
        assert!(
            problem.to_string().contains("UTF-16; convert it to UTF-8"),
            "{problem}"
        );
    }
}
