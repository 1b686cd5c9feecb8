//! The file of a run that keeps the teachers' probabilities, so that a resumed run need not ask the teachers again.

use std::fs;
use std::path::Path;

use sha2::{Digest, Sha256};

use crate::train::error::TrainError;
use crate::train::files::{failed, replace};

/// The name of the file in the directory of a run.
pub(super) const TARGETS: &str = "teacher-targets.bin";

/// The bytes of a SHA-256.
const HASH_BYTES: usize = 32;

/// A hash of what decides the probabilities: the parts, each with its length.
pub(super) fn key<'p>(parts: impl IntoIterator<Item = &'p [u8]>) -> [u8; HASH_BYTES] {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update((part.len() as u64).to_le_bytes());
        hasher.update(part);
    }
    hasher.finalize().into()
}

/// The teachers' probabilities that a run has stored, as far as they can be used.
pub(super) enum StoredTargets {
    /// There is no file, or it is damaged.
    Missing,
    /// The file was written for another key.
    OtherKey,
    /// The values that were written for this key.
    Values(Vec<f32>),
}

/// Writes the values for a key: the key, the SHA-256 of what follows, and the values as f32 in little-endian order.
pub(super) fn write(path: &Path, key: &[u8; HASH_BYTES], values: &[f32]) -> Result<(), TrainError> {
    let content: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    let hash: [u8; HASH_BYTES] = Sha256::digest(&content).into();
    replace(path, &[&key[..], &hash[..], &content].concat())
}

/// Gives the probabilities that one run has kept to another one that is not begun. They serve it if their key is its own.
pub(in crate::train) fn share_targets(from: &Path, to: &Path) -> Result<(), TrainError> {
    let (kept, copy) = (from.join(TARGETS), to.join(TARGETS));
    if !kept.exists() {
        return Ok(());
    }
    fs::create_dir_all(to).map_err(failed(to))?;
    fs::copy(&kept, &copy).map_err(failed(&copy))?;
    Ok(())
}

/// Reads the values of a key. A damaged file is none.
pub(super) fn read(path: &Path, key: &[u8; HASH_BYTES]) -> Result<StoredTargets, TrainError> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(StoredTargets::Missing),
        Err(error) => return Err(failed(path)(error)),
    };
    let Some((found, rest)) = bytes.split_first_chunk::<HASH_BYTES>() else {
        return Ok(StoredTargets::Missing);
    };
    let Some((hash, content)) = rest.split_first_chunk::<HASH_BYTES>() else {
        return Ok(StoredTargets::Missing);
    };
    if Sha256::digest(content)[..] != hash[..] {
        return Ok(StoredTargets::Missing);
    }
    if found != key {
        return Ok(StoredTargets::OtherKey);
    }
    let (chunks, _) = content.as_chunks::<4>();
    Ok(StoredTargets::Values(
        chunks.iter().map(|&chunk| f32::from_le_bytes(chunk)).collect(),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_kept_for_their_key_alone_and_damage_is_found() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(TARGETS);
        let (ours, other) = (key([&b"a"[..], b"bc"]), key([&b"ab"[..], b"c"]));
        assert_ne!(ours, other);
        assert!(matches!(read(&path, &ours).unwrap(), StoredTargets::Missing));
        let values = [0.25f32, f32::MIN_POSITIVE, 1.0];
        write(&path, &ours, &values).unwrap();
        let StoredTargets::Values(found) = read(&path, &ours).unwrap() else {
            panic!("not kept");
        };
        assert_eq!(found, values);
        assert!(matches!(read(&path, &other).unwrap(), StoredTargets::OtherKey));
        let bytes = std::fs::read(&path).unwrap();
        for damaged in [&bytes[..bytes.len() - 4], &bytes[..40], &[]] {
            std::fs::write(&path, damaged).unwrap();
            assert!(matches!(read(&path, &ours).unwrap(), StoredTargets::Missing));
        }
    }
}
