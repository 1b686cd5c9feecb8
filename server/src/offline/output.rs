//! The output of `tag`.

use std::fs::Permissions;
use std::io::{BufWriter, Stdout, Write, stdout};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use tempfile::{Builder, NamedTempFile};

use crate::offline::work::TagFileError;

/// The permissions of a new file, before the umask.
const NEW_FILE: u32 = 0o666;

/// Standard output, a device or pipe, or a file that appears when it is complete.
pub(crate) enum Output {
    Standard(BufWriter<Stdout>),
    Device(BufWriter<std::fs::File>),
    File {
        written: BufWriter<NamedTempFile>,
        place: PathBuf,
    },
}

impl Output {
    /// The output at a path; standard output without a path.
    pub(crate) fn create(path: Option<&Path>) -> Result<Self, TagFileError> {
        let Some(path) = path else {
            return Ok(Self::Standard(BufWriter::new(stdout())));
        };
        Self::at(path).map_err(|source| TagFileError::Write { source })
    }

    fn at(path: &Path) -> std::io::Result<Self> {
        if path.exists() && !path.is_file() {
            let device = std::fs::OpenOptions::new().write(true).open(path)?;
            return Ok(Self::Device(BufWriter::new(device)));
        }
        let folder = match path.parent() {
            Some(parent) if parent != Path::new("") => parent,
            _ => Path::new("."),
        };
        let written = Builder::new()
            .permissions(Permissions::from_mode(NEW_FILE))
            .tempfile_in(folder)?;
        Ok(Self::File {
            written: BufWriter::new(written),
            place: path.to_owned(),
        })
    }

    /// Flushes, and moves a file to its path.
    pub(crate) fn finish(mut self) -> std::io::Result<()> {
        self.flush()?;
        if let Self::File { written, place } = self {
            let file = written
                .into_inner()
                .map_err(std::io::IntoInnerError::into_error)?;
            file.persist(place)?;
        }
        Ok(())
    }

    fn inner(&mut self) -> &mut dyn Write {
        match self {
            Self::Standard(inner) => inner,
            Self::Device(inner) => inner,
            Self::File { written, .. } => written,
        }
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.inner().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.inner().flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_appears_when_it_is_complete() {
        let dir = tempfile::tempdir().unwrap();
        let place = dir.path().join("out");
        let mut output = Output::create(Some(&place)).unwrap();
        output.write_all(b"x").unwrap();
        assert!(!place.exists());
        output.finish().unwrap();
        assert_eq!(std::fs::read(&place).unwrap(), b"x");
        drop(Output::create(Some(&place)).unwrap());
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_device_stays_one_and_a_folder_is_refused() {
        let null = Path::new("/dev/null");
        let mut output = Output::create(Some(null)).unwrap();
        output.write_all(b"x").unwrap();
        output.finish().unwrap();
        assert!(!null.is_file());
        assert!(Output::create(Some(Path::new("/"))).is_err());
    }
}
