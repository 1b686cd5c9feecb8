//! A model's version: a short hash of what decides its answers.

use std::collections::BTreeMap;

use sha2::{Digest, Sha256};

use crate::file_info::FileInfo;
use crate::hex::hex;

/// Hexadecimal digits of a version.
const DIGITS: usize = 16;

/// Collects what decides the answers of a model, a line each.
#[derive(Default)]
pub(crate) struct VersionHasher(Sha256);

impl VersionHasher {
    /// Adds files by their names and hashes.
    pub(crate) fn add_files(&mut self, files: &BTreeMap<String, FileInfo>) {
        for (name, info) in files {
            self.add_line(name, &info.sha256);
        }
    }

    /// Adds a value under its name.
    pub(crate) fn add_line(&mut self, name: &str, value: &str) {
        self.0.update(format!("{name} {value}\n"));
    }

    /// The version: the first digits of the SHA-256 of all lines.
    pub(crate) fn finish(self) -> String {
        let mut digits = hex(&self.0.finalize());
        digits.truncate(DIGITS);
        digits
    }
}

/// Whether this names a version, and nothing else in a directory.
pub(crate) fn is_version(text: &str) -> bool {
    (1..=64).contains(&text.len())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_hexdigit() && !byte.is_ascii_uppercase())
}

/// The first of these versions, for a message.
pub(crate) fn listed(mut versions: Vec<String>) -> String {
    const SHOWN: usize = 10;
    versions.retain(|version| is_version(version));
    versions.sort();
    let more = versions.len().saturating_sub(SHOWN);
    versions.truncate(SHOWN);
    match (versions.as_slice(), more) {
        ([], _) => "it has none".to_owned(),
        (shown, 0) => format!("it has {}", shown.join(", ")),
        (shown, more) => format!("it has {} and {more} more", shown.join(", ")),
    }
}
