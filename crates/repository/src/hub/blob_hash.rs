//! The hash of a file's content, which its ETag states.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use ring::digest::{Context, SHA1_FOR_LEGACY_USE_ONLY};

use crate::file_info::FileInfo;
use crate::hex::hex;

/// What the content of a file must hash to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum BlobHash {
    /// Of files in large file storage: the SHA-256 of the content.
    Sha256(String),
    /// Of all other files: Git's name of a blob, the SHA-1 of a header and the content.
    Git(String),
}

impl BlobHash {
    /// The hash in an ETag; none if it is not a hash of either form.
    pub(super) fn of_etag(etag: &str) -> Option<Self> {
        let is_hex = etag.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        match etag.len() {
            64 if is_hex => Some(Self::Sha256(etag.to_owned())),
            40 if is_hex => Some(Self::Git(etag.to_owned())),
            _ => None,
        }
    }

    /// The name of the hash function, and the digits that a file must have.
    pub(super) fn expected(&self) -> (&'static str, &str) {
        match self {
            Self::Sha256(digits) => ("SHA-256", digits),
            Self::Git(digits) => ("Git hash", digits),
        }
    }

    /// The digits that a file has.
    pub(super) fn found(&self, path: &Path) -> io::Result<String> {
        match self {
            Self::Sha256(_) => FileInfo::of(path).map(|info| info.sha256),
            Self::Git(_) => git_hash(path),
        }
    }
}

fn git_hash(path: &Path) -> io::Result<String> {
    let mut file = File::open(path)?;
    let mut context = Context::new(&SHA1_FOR_LEGACY_USE_ONLY);
    context.update(format!("blob {}\0", file.metadata()?.len()).as_bytes());
    let mut buffer = vec![0; 1 << 16];
    loop {
        let read = file.read(&mut buffer)?;
        if read == 0 {
            return Ok(hex(context.finish().as_ref()));
        }
        context.update(buffer.get(..read).unwrap_or_default());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_of_a_file_is_that_of_git_or_sha_256() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "hello\n").unwrap();
        // As `git hash-object` and `sha256sum` say.
        for digits in [
            "ce013625030ba8dba906f756967f9e9ca394464a",
            "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03",
        ] {
            let hash = BlobHash::of_etag(digits).unwrap();
            assert_eq!(hash.found(file.path()).unwrap(), digits);
            assert_eq!(hash.expected().1, digits);
        }
        assert_eq!(BlobHash::of_etag("d41d8cd98f00b204e9800998ecf8427e"), None);
        assert_eq!(BlobHash::of_etag(&"g".repeat(40)), None);
    }
}
