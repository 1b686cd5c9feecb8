//! Where the hub and its cache are, and the token: from the environment variables that Python's `huggingface_hub` reads.

use std::env;
use std::ffi::OsString;
use std::fmt::{self, Debug, Formatter};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use url::Url;

use crate::hub::error::HubError;

/// The hub if `HF_ENDPOINT` names no other.
const ENDPOINT: &str = "https://huggingface.co";

/// How the hub is reached.
#[derive(Clone, PartialEq, Eq)]
pub struct HubSettings {
    /// The address of the hub (`HF_ENDPOINT`).
    pub endpoint: Url,
    /// The directory of the cache (`HF_HUB_CACHE`, else `hub` in `HF_HOME`, else `~/.cache/huggingface/hub`).
    pub cache: PathBuf,
    /// Sent to the hub, and to no other host (`HF_TOKEN`, else the file `HF_TOKEN_PATH`, else `token` in `HF_HOME`).
    pub token: Option<String>,
    /// Whether the cache alone is used (`HF_HUB_OFFLINE`).
    pub offline: bool,
}

/// Without the token.
impl Debug for HubSettings {
    fn fmt(&self, to: &mut Formatter<'_>) -> fmt::Result {
        let Self {
            endpoint,
            cache,
            token,
            offline,
        } = self;
        to.debug_struct("HubSettings")
            .field("endpoint", &endpoint.as_str())
            .field("cache", cache)
            .field("token", &token.is_some())
            .field("offline", offline)
            .finish()
    }
}

impl HubSettings {
    /// The settings of the process's environment.
    pub fn from_env() -> Result<Self, HubError> {
        Self::read(|name| env::var_os(name))
    }

    /// The settings of an environment.
    pub(super) fn read(variable: impl Fn(&str) -> Option<OsString>) -> Result<Self, HubError> {
        let set = |name| variable(name).filter(|value| !value.is_empty());
        let home = set("HOME").map(PathBuf::from);
        let path = |name| set(name).map(|value| expand(value.into(), home.as_deref()));
        let text = |name| match set(name).map(OsString::into_string) {
            None => Ok(None),
            Some(Ok(value)) => Ok(Some(value)),
            Some(Err(_)) => Err(HubError::Setting {
                name,
                problem: "is not UTF-8".to_owned(),
            }),
        };
        let cache_home = path("XDG_CACHE_HOME").or_else(|| Some(home.as_ref()?.join(".cache")));
        let hub_home = path("HF_HOME").or_else(|| Some(cache_home?.join("huggingface")));
        let cache = path("HF_HUB_CACHE")
            .or_else(|| path("HUGGINGFACE_HUB_CACHE"))
            .or_else(|| Some(hub_home.as_ref()?.join("hub")))
            .ok_or(HubError::NoCache)?;
        let is_true = |name| {
            let value = text(name)?.unwrap_or_default().to_ascii_uppercase();
            Ok::<_, HubError>(["1", "ON", "YES", "TRUE"].contains(&value.as_str()))
        };
        let mut token = text("HF_TOKEN")?.or(text("HUGGING_FACE_HUB_TOKEN")?);
        if token.is_none() && !is_true("HF_HUB_DISABLE_IMPLICIT_TOKEN")? {
            let file = path("HF_TOKEN_PATH").or_else(|| Some(hub_home.as_ref()?.join("token")));
            token = file.as_deref().map(read_token).transpose()?.flatten();
        }
        let token = token
            .map(|token| token.trim().to_owned())
            .filter(|token| !token.is_empty());
        if token
            .as_ref()
            .is_some_and(|token| !token.chars().all(|c| c.is_ascii_graphic()))
        {
            let problem = "contains a character that a token cannot have".to_owned();
            return Err(HubError::Setting {
                name: "HF_TOKEN",
                problem,
            });
        }
        Ok(Self {
            endpoint: parse_endpoint(&text("HF_ENDPOINT")?.unwrap_or_else(|| ENDPOINT.to_owned()))?,
            cache,
            token,
            offline: is_true("HF_HUB_OFFLINE")? || is_true("TRANSFORMERS_OFFLINE")?,
        })
    }
}

/// A path whose first part `~` is the home directory.
fn expand(path: PathBuf, home: Option<&Path>) -> PathBuf {
    match (path.strip_prefix("~"), home) {
        (Ok(rest), Some(home)) => home.join(rest),
        _ => path,
    }
}

fn read_token(path: &Path) -> Result<Option<String>, HubError> {
    match std::fs::read_to_string(path) {
        Ok(token) => Ok(Some(token)),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(None),
        Err(source) => Err(HubError::Token {
            path: path.to_owned(),
            source,
        }),
    }
}

fn parse_endpoint(text: &str) -> Result<Url, HubError> {
    let wrong = |problem: String| HubError::Setting {
        name: "HF_ENDPOINT",
        // The text can hold a password.
        problem: format!("is not the address of a hub: {problem}"),
    };
    let url = Url::parse(text).map_err(|error| wrong(error.to_string()))?;
    match url.scheme() {
        "http" | "https" => Ok(url),
        _ => Err(wrong("an address begins with https:// or http://".to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> Result<HubSettings, HubError> {
        HubSettings::read(|name| {
            let found = variables.iter().find(|(variable, _)| *variable == name);
            found.map(|(_, value)| OsString::from(value))
        })
    }

    #[test]
    fn the_cache_is_where_huggingface_hub_has_it() {
        for (variables, expected) in [
            (vec![("HOME", "/h")], "/h/.cache/huggingface/hub"),
            (
                vec![("HOME", "/h"), ("XDG_CACHE_HOME", "/x")],
                "/x/huggingface/hub",
            ),
            (vec![("HOME", "/h"), ("HF_HOME", "~/f")], "/h/f/hub"),
            (vec![("HF_HOME", "/f"), ("HUGGINGFACE_HUB_CACHE", "/g")], "/g"),
            (
                vec![("HUGGINGFACE_HUB_CACHE", "/g"), ("HF_HUB_CACHE", "/c")],
                "/c",
            ),
            (
                vec![("HOME", "/h"), ("HF_HUB_CACHE", "")],
                "/h/.cache/huggingface/hub",
            ),
        ] {
            assert_eq!(
                read(&variables).unwrap().cache,
                Path::new(expected),
                "{variables:?}"
            );
        }
        assert!(matches!(read(&[]), Err(HubError::NoCache)));
    }

    #[test]
    fn the_token_is_that_of_the_environment_or_a_file_and_is_not_shown() {
        let dir = tempfile::tempdir().unwrap();
        let home = dir.path().to_str().unwrap();
        let token = |variables: &[(&str, &str)]| read(variables).unwrap().token;
        assert_eq!(token(&[("HF_HOME", home)]), None);
        std::fs::write(dir.path().join("token"), " hf_file\n").unwrap();
        std::fs::write(dir.path().join("other"), "hf_other").unwrap();
        let other = dir.path().join("other");
        let other = ("HF_TOKEN_PATH", other.to_str().unwrap());
        assert_eq!(token(&[("HF_HOME", home)]).as_deref(), Some("hf_file"));
        assert_eq!(token(&[("HF_HOME", home), other]).as_deref(), Some("hf_other"));
        assert_eq!(
            token(&[("HF_HOME", home), ("HF_TOKEN", "hf_own\n")]).as_deref(),
            Some("hf_own")
        );
        assert_eq!(
            token(&[("HF_HOME", home), ("HF_HUB_DISABLE_IMPLICIT_TOKEN", "1")]),
            None
        );
        let shown = format!("{:?}", read(&[("HF_HOME", home)]).unwrap());
        assert!(!shown.contains("hf_file"), "{shown}");
        let error = read(&[("HF_HOME", home), ("HF_TOKEN", "a\r\nb: c")])
            .unwrap_err()
            .to_string();
        assert!(error.contains("HF_TOKEN") && !error.contains("b: c"), "{error}");
        assert!(matches!(
            read(&[("HF_HOME", home), ("HF_TOKEN_PATH", home)]),
            Err(HubError::Token { .. })
        ));
    }

    #[test]
    fn the_endpoint_and_offline_are_read() {
        let set = |name, value| read(&[("HOME", "/h"), (name, value)]);
        assert_eq!(
            read(&[("HOME", "/h")]).unwrap().endpoint.as_str(),
            "https://huggingface.co/"
        );
        assert_eq!(
            set("HF_ENDPOINT", "http://m:1/hub/").unwrap().endpoint.path(),
            "/hub/"
        );
        for wrong in ["hub.local", "ftp://user:secret@hub", "https://"] {
            let error = set("HF_ENDPOINT", wrong).unwrap_err().to_string();
            assert!(
                error.contains("HF_ENDPOINT") && !error.contains("secret"),
                "{error}"
            );
        }
        for (value, expected) in [
            ("1", true),
            ("true", true),
            ("ON", true),
            ("0", false),
            ("", false),
        ] {
            assert_eq!(set("HF_HUB_OFFLINE", value).unwrap().offline, expected, "{value}");
        }
        assert!(set("TRANSFORMERS_OFFLINE", "yes").unwrap().offline);
    }
}
