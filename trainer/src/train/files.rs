//! Record files whose content is complete at any time.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use nerve_repository::replace_file;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::train::error::TrainError;

/// A file of JSON lines that a hook writes, with one line per step.
#[derive(Debug)]
pub struct JsonLines {
    path: PathBuf,
}

impl JsonLines {
    /// Opens a file and keeps its first `lines` lines, which must exist; later lines are cut off. Creates the file if
    /// `lines` is 0.
    pub fn open(path: &Path, lines: usize) -> Result<Self, TrainError> {
        match lines {
            0 => replace(path, b"")?,
            lines => cut(path, lines)?,
        }
        Ok(Self {
            path: path.to_owned(),
        })
    }

    /// Appends a record.
    pub fn append(&self, record: &impl Serialize) -> Result<(), TrainError> {
        let write = || {
            let line = line(record)?;
            fs::File::options()
                .append(true)
                .open(&self.path)?
                .write_all(&line)
        };
        write().map_err(failed(&self.path))
    }

    /// Reads all records.
    pub fn read<T: DeserializeOwned>(&self) -> Result<Vec<T>, TrainError> {
        read_lines(&self.path)
    }
}

/// Replaces the content of a file atomically.
pub(super) fn replace(path: &Path, content: &[u8]) -> Result<(), TrainError> {
    replace_file(path, content).map_err(failed(path))
}

/// Syncs all files in a directory, the directory and its entry in its parent to the disk.
pub(super) fn sync_all(dir: &Path) -> Result<(), TrainError> {
    for entry in fs::read_dir(dir).map_err(failed(dir))? {
        let path = entry.map_err(failed(dir))?.path();
        match path.is_dir() {
            true => sync_all(&path)?,
            false => sync(&path)?,
        }
    }
    sync(dir)?;
    sync_parent(dir)
}

/// Syncs the directory entry of a file to the disk.
pub(super) fn sync_parent(path: &Path) -> Result<(), TrainError> {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => sync(parent),
        _ => sync(Path::new(".")),
    }
}

fn sync(path: &Path) -> Result<(), TrainError> {
    let synced = fs::File::open(path).and_then(|file| file.sync_all());
    synced.map_err(failed(path))
}

/// Appends a line to a file atomically.
pub(super) fn append_at_once(path: &Path, record: &impl Serialize) -> Result<(), TrainError> {
    let append = || -> std::io::Result<Vec<u8>> {
        let mut content = fs::read(path)?;
        content.extend(line(record)?);
        Ok(content)
    };
    replace(path, &append().map_err(failed(path))?)
}

/// A record as one line of JSON.
pub(super) fn line(record: &impl Serialize) -> std::io::Result<Vec<u8>> {
    let mut line = serde_json::to_vec(record)?;
    line.push(b'\n');
    Ok(line)
}

/// Truncates a file to its first `lines` lines, which must exist.
pub(super) fn cut(path: &Path, lines: usize) -> Result<(), TrainError> {
    let content = fs::read(path).map_err(|source| TrainError::Read {
        path: path.to_owned(),
        source,
    })?;
    let whole = content
        .split_inclusive(|&byte| byte == b'\n')
        .filter(|line| line.ends_with(b"\n"));
    let kept: Vec<&[u8]> = whole.take(lines).collect();
    if kept.len() < lines {
        return Err(TrainError::LostLines {
            path: path.to_owned(),
            found: kept.len(),
            expected: lines,
        });
    }
    replace(path, &kept.concat())
}

/// Reads the records of a file of JSON lines.
pub(super) fn read_lines<T: DeserializeOwned>(path: &Path) -> Result<Vec<T>, TrainError> {
    let content = fs::read(path).map_err(failed(path))?;
    serde_json::Deserializer::from_slice(&content)
        .into_iter()
        .enumerate()
        .map(|(at, record)| {
            record.map_err(|source| TrainError::Record {
                path: path.to_owned(),
                line: at + 1,
                source,
            })
        })
        .collect()
}

/// The error of a failed write to a file.
pub(super) fn failed(path: &Path) -> impl FnOnce(std::io::Error) -> TrainError {
    let path = path.to_owned();
    move |source| TrainError::Write { path, source }
}
