//! The directory of what Nerve keeps between runs: exported checkpoints, versions of remote stores.

use std::ffi::OsString;
use std::path::PathBuf;

use thiserror::Error;

/// No environment variable names a place for the cache.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error(
    "none of NERVE_CACHE, XDG_CACHE_HOME and HOME is set: set NERVE_CACHE to a directory for downloaded models"
)]
pub struct NoCacheDir;

/// The cache directory: `NERVE_CACHE`, else `nerve` in `XDG_CACHE_HOME`, else `~/.cache/nerve`. It need not exist.
pub fn cache_dir() -> Result<PathBuf, NoCacheDir> {
    of_variables(|name| std::env::var_os(name))
}

/// [`cache_dir`] for these variables. An empty one counts as absent.
fn of_variables(variable: impl Fn(&str) -> Option<OsString>) -> Result<PathBuf, NoCacheDir> {
    let path = |name| {
        variable(name)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };
    path("NERVE_CACHE")
        .or_else(|| path("XDG_CACHE_HOME").map(|cache| cache.join("nerve")))
        .or_else(|| path("HOME").map(|home| home.join(".cache/nerve")))
        .ok_or(NoCacheDir)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_variable_that_is_set_names_the_directory() {
        let of = |variables: &[(&str, &str)]| {
            of_variables(|name| {
                let found = variables.iter().find(|(variable, _)| *variable == name);
                found.map(|(_, value)| OsString::from(value))
            })
        };
        let (nerve, xdg, home) = (("NERVE_CACHE", "/n"), ("XDG_CACHE_HOME", "/x"), ("HOME", "/h"));
        assert_eq!(of(&[home, xdg, nerve]), Ok("/n".into()));
        assert_eq!(of(&[home, xdg, ("NERVE_CACHE", "")]), Ok("/x/nerve".into()));
        assert_eq!(of(&[home]), Ok("/h/.cache/nerve".into()));
        assert_eq!(of(&[]), Err(NoCacheDir));
    }
}
