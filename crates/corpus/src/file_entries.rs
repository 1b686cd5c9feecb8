//! The entries of a file of any format.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

use crate::entries::{BUFFER_BYTES, Entries};
use crate::entry::Entry;
use crate::error::CorpusError;
use crate::format::Format;
use crate::parquet_entries::ParquetEntries;
use crate::read_options::ReadOptions;

/// The first bytes of a Parquet file.
const PARQUET: &[u8] = b"PAR1";

/// Reads the entries of a file, of text or of Parquet.
pub(crate) enum FileEntries {
    /// Lines of text.
    Text(Box<Entries<BufReader<File>>>),
    /// Rows of Parquet.
    Parquet(Box<ParquetEntries>),
}

impl FileEntries {
    /// The entries of a file: Parquet by its extension, or by its first bytes where the extension stands for no format; else
    /// text in the format that [`Format::detect`] finds.
    pub(crate) fn open(path: &Path, otherwise: Format, options: &ReadOptions) -> Result<Self, CorpusError> {
        let failed = |source| CorpusError::Read {
            path: path.to_owned(),
            source,
        };
        let file = File::open(path).map_err(failed)?;
        let mut input = BufReader::with_capacity(BUFFER_BYTES, file);
        let beginning = input.fill_buf().map_err(failed)?;
        let extension = path.extension().and_then(|extension| extension.to_str());
        let is_parquet = match extension.map(str::to_ascii_lowercase).as_deref() {
            Some("parquet") => true,
            _ => Format::of_path(path).is_none() && beginning.starts_with(PARQUET),
        };
        if is_parquet {
            let entries = ParquetEntries::open(path, input.into_inner(), options.labels.as_ref())?;
            return Ok(Self::Parquet(Box::new(entries)));
        }
        let entries = Entries::detect(input, path, otherwise)?;
        Ok(Self::Text(Box::new(entries.with_options(options.clone()))))
    }
}

impl Iterator for FileEntries {
    type Item = Result<Entry, CorpusError>;

    fn next(&mut self) -> Option<Self::Item> {
        match self {
            Self::Text(entries) => entries.next(),
            Self::Parquet(entries) => entries.next(),
        }
    }
}
