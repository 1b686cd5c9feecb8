//! Downloads the content of one file into the cache.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tracing::warn;
use ureq::Body;
use ureq::http::Response;

use crate::files::rename_synced;
use crate::hub::blob_hash::BlobHash;
use crate::hub::error::HubFault;
use crate::hub::limits::Limits;
use crate::hub::progress::Progress;
use crate::hub::repository::HubRepository;
use crate::hub::requests::{Metadata, Part, Requests, number, text, unreachable, wrong};
use crate::hub::retries::Retries;

/// The content of one file, which is downloaded to `BLOB.incomplete`, checked, and renamed.
///
/// The caller holds the lock of the blob.
pub(super) struct Download<'a> {
    pub(super) requests: &'a Requests,
    pub(super) limits: &'a Limits,
    pub(super) repository: &'a HubRepository,
    pub(super) commit: &'a str,
    pub(super) file: &'a str,
    pub(super) metadata: &'a Metadata,
    pub(super) blob: &'a Path,
}

/// A download that goes on over several answers.
struct Transfer {
    path: PathBuf,
    file: File,
    size: Option<u64>,
    received: u64,
    /// The strong ETag of the last answer.
    validator: Option<String>,
    progress: Progress,
    started: Instant,
}

impl Download<'_> {
    /// Leaves the content in the cache under its name. A part of it stays there after an error, for the next attempt, unless the
    /// disk is full or the content is not that of the hub.
    pub(super) fn run(&self) -> Result<(), HubFault> {
        let mut path = self.blob.as_os_str().to_owned();
        path.push(".incomplete");
        let path = PathBuf::from(path);
        let downloaded = self.download(&path);
        if let Err(HubFault::DiskFull { .. } | HubFault::Altered { .. }) = &downloaded {
            // What cannot be removed is refused again by the next start.
            let _ = fs::remove_file(&path);
        }
        downloaded
    }

    fn download(&self, path: &Path) -> Result<(), HubFault> {
        let mut transfer = Transfer::open(path, self.file, self.metadata.size)?;
        self.receive(&mut transfer)?;
        if let Err(fault) = self.check(&transfer) {
            transfer.progress.log(|| {
                warn!(
                    "{}: {}: {fault}; downloading it again",
                    self.repository.id, self.file
                );
            });
            transfer.restart()?;
            self.receive(&mut transfer)?;
            self.check(&transfer)?;
        }
        rename_synced(path, self.blob)
            .map_err(|error| HubFault::cache(&error.path, self.metadata.size, error.source))
    }

    /// Receives the content, with as many requests as it takes.
    fn receive(&self, transfer: &mut Transfer) -> Result<(), HubFault> {
        let limit = self.limits.of_file(transfer.size);
        let mut retries = Retries::new(self.limits);
        while transfer.size.is_none_or(|size| transfer.received < size) {
            let before = transfer.received;
            let remaining = limit.saturating_sub(transfer.started.elapsed());
            match self.receive_part(transfer, remaining) {
                Ok(()) if transfer.size.is_none() => return Ok(()),
                Ok(()) => {}
                Err(_) if transfer.started.elapsed() >= limit => {
                    return Err(HubFault::TooSlow {
                        received: transfer.received,
                        seconds: transfer.started.elapsed().as_secs(),
                    });
                }
                Err(fault) => {
                    if transfer.received > before {
                        retries.restart();
                    }
                    retries.wait(fault, |fault, wait| {
                        let (id, file, wait) = (&self.repository.id, self.file, wait.as_secs_f64());
                        transfer
                            .progress
                            .log(|| warn!("{id}: {file}: {fault}; trying again in {wait:.1} s"));
                    })?;
                }
            }
        }
        Ok(())
    }

    /// Receives what one answer has.
    fn receive_part(&self, transfer: &mut Transfer, within: Duration) -> Result<(), HubFault> {
        let part = Part {
            received: transfer.received,
            validator: transfer.validator.as_deref(),
        };
        let (url, response) =
            self.requests
                .content(self.repository, self.commit, self.file, &part, within)?;
        let headers = response.headers();
        let size = match response.status().as_u16() {
            206 => {
                let range = text(headers, "content-range").unwrap_or_default();
                match range_of(&range) {
                    Some((start, size)) if start == transfer.received => size,
                    _ => {
                        return Err(wrong(
                            &url,
                            format!("its range is `{range}`, not from {}", transfer.received),
                        ));
                    }
                }
            }
            416 => {
                // The part is longer than the file, so it is of another.
                let received = transfer.received;
                transfer.restart()?;
                return Err(HubFault::Range { received });
            }
            _ => {
                if transfer.received > 0 {
                    transfer.restart()?;
                }
                number(headers, "content-length")
            }
        };
        if let (Some(found), Some(expected)) = (size, transfer.size)
            && found != expected
        {
            return Err(HubFault::Altered {
                what: "size",
                found: found.to_string(),
                expected: expected.to_string(),
            });
        }
        transfer.size = transfer.size.or(size);
        transfer.validator = text(headers, "etag").filter(|etag| etag.starts_with('"'));
        transfer.append(response, |error| unreachable(&url, error))
    }

    /// Whether the content is that of the hub.
    fn check(&self, transfer: &Transfer) -> Result<(), HubFault> {
        let Some(hash) = BlobHash::of_etag(&self.metadata.etag) else {
            let (id, file, etag) = (&self.repository.id, self.file, &self.metadata.etag);
            transfer.progress.log(|| {
                warn!("{id}: {file}: the hub gives no hash of it (its ETag is `{etag}`), so its size alone was checked");
            });
            return Ok(());
        };
        let (what, expected) = hash.expected();
        let found = hash
            .found(&transfer.path)
            .map_err(|source| HubFault::cache(&transfer.path, None, source))?;
        match found == expected {
            true => Ok(()),
            false => Err(HubFault::Altered {
                what,
                found,
                expected: expected.to_owned(),
            }),
        }
    }
}

impl Transfer {
    /// Goes on after the part at `path`, if there is one.
    fn open(path: &Path, file: &str, size: Option<u64>) -> Result<Self, HubFault> {
        let open = || {
            let opened = OpenOptions::new().append(true).create(true).open(path)?;
            let received = opened.metadata()?.len();
            Ok((opened, received))
        };
        let (opened, received) = open().map_err(|source| HubFault::cache(path, size, source))?;
        let mut transfer = Self {
            path: path.to_owned(),
            file: opened,
            size,
            received,
            validator: None,
            progress: Progress::start(file, size, received),
            started: Instant::now(),
        };
        if size.is_some_and(|size| received > size) {
            transfer.restart()?;
        }
        Ok(transfer)
    }

    /// Drops the part that was received.
    fn restart(&mut self) -> Result<(), HubFault> {
        let emptied = self
            .file
            .set_len(0)
            .and_then(|()| self.file.seek(SeekFrom::Start(0)));
        emptied.map_err(|source| HubFault::cache(&self.path, self.size, source))?;
        self.received = 0;
        self.validator = None;
        self.progress.set(0);
        Ok(())
    }

    /// Appends the body of an answer. `unreachable` makes the error of a body that cannot be read.
    fn append(
        &mut self,
        response: Response<Body>,
        unreachable: impl Fn(ureq::Error) -> HubFault,
    ) -> Result<(), HubFault> {
        let mut body = response.into_body().into_with_config().limit(u64::MAX).reader();
        let mut buffer = vec![0; 1 << 18];
        loop {
            let read = match body.read(&mut buffer) {
                Ok(0) => break,
                Ok(read) => read,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                // With a known size, what is missing is counted below.
                Err(error) if error.kind() == ErrorKind::UnexpectedEof && self.size.is_some() => break,
                Err(error) => return Err(unreachable(ureq::Error::from(error))),
            };
            self.received += read as u64;
            if let Some(size) = self.size.filter(|size| self.received > *size) {
                return Err(HubFault::Altered {
                    what: "size",
                    found: format!("more than {size}"),
                    expected: size.to_string(),
                });
            }
            self.file
                .write_all(buffer.get(..read).unwrap_or_default())
                .map_err(|source| HubFault::cache(&self.path, self.size, source))?;
            self.progress.set(self.received);
        }
        match self.size.filter(|size| self.received < *size) {
            Some(size) => Err(HubFault::Truncated {
                received: self.received,
                size,
            }),
            None => Ok(()),
        }
    }
}

/// Where a range of bytes starts, and the size of the whole file if it is stated: `bytes START-END/SIZE`.
fn range_of(range: &str) -> Option<(u64, Option<u64>)> {
    let (range, size) = range.strip_prefix("bytes ")?.split_once('/')?;
    let (start, _) = range.split_once('-')?;
    Some((start.trim().parse().ok()?, size.trim().parse().ok()))
}
