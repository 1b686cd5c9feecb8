//! What can be wrong with a corpus.

use std::path::PathBuf;

use thiserror::Error;

/// Why a corpus cannot be used: which file, and which line where one is at fault.
#[derive(Debug, Error)]
pub enum CorpusError {
    /// A file cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A file cannot be written.
    #[error("cannot write {}: {source}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A line is not what the format asks for.
    #[error("{}:{line}: {problem}", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: usize,
        /// What is wrong with it.
        problem: String,
    },
    /// A file is no Parquet file, is damaged, or lacks the columns of a corpus.
    #[error("cannot read {} as a Parquet file: {problem}", path.display())]
    Parquet {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// A file is expected where a directory is given.
    #[error("{} is a directory; name its files, as in {}/*.conll, or give it as --data", path.display(), path.display())]
    Directory {
        /// The directory.
        path: PathBuf,
    },
    /// A name with wildcards names no file.
    #[error("`{pattern}`: {problem}")]
    Pattern {
        /// The name.
        pattern: String,
        /// What is wrong with it.
        problem: String,
    },
    /// Some files of a split that is in several are missing.
    #[error("{} has {found} of the {expected} files of its {split} split: {missing} is missing", dir.display())]
    Shards {
        /// The directory.
        dir: PathBuf,
        /// The split.
        split: &'static str,
        /// The number of files there are.
        found: usize,
        /// The number of files there should be.
        expected: usize,
        /// The first missing file.
        missing: String,
    },
    /// A label map is unusable.
    #[error("{}: {problem}", path.display())]
    LabelMap {
        /// The file of the map.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// No dev split can be drawn.
    #[error("{}: no dev split can be drawn from sentences that all have the same words; give a file with --dev", path.display())]
    NoDraw {
        /// The training file.
        path: PathBuf,
    },
    /// A file has no sentence.
    #[error("{} has no sentences", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// The names of numbered tags are unusable.
    #[error("labels `{given}`: {problem}")]
    TagNames {
        /// The list or the file.
        given: String,
        /// What is wrong with it.
        problem: String,
    },
    /// A file to learn from has no entity.
    #[error("every tag in {} is O: there is no entity to learn; check the tag column", path.display())]
    NoEntities {
        /// The file.
        path: PathBuf,
    },
    /// A directory lacks a split.
    #[error("{} has no {split} split: none of {tried}", dir.display())]
    NoSplit {
        /// The directory.
        dir: PathBuf,
        /// The split.
        split: &'static str,
        /// The file names looked for.
        tried: String,
    },
    /// A download failed.
    #[error("cannot download {url}: {reason}")]
    Download {
        /// The address.
        url: String,
        /// What went wrong.
        reason: String,
    },
    /// A download is not the file it should be.
    #[error("{url}: SHA-256 is {found}, not {expected}")]
    Hash {
        /// The address.
        url: String,
        /// The hash of what came.
        found: String,
        /// The hash it should have.
        expected: String,
    },
    /// There is no directory to keep downloads in.
    #[error("neither XDG_CACHE_HOME nor HOME is set: no place for the download cache")]
    NoCache,
}
