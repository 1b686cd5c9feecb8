//! A bundle to a version of a store on object storage.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use object_store::{Error as ObjectError, ObjectStore, PutMode, PutPayload, UpdateVersion, WriteMultipart};
use sha2::{Digest, Sha256};
use tempfile::TempDir;
use url::Url;

use crate::files::FileError;
use crate::hex::hex;
use crate::manifest::{MANIFEST, Manifest, ManifestError};
use crate::remote::download::{download, read_manifest};
use crate::remote::error::RemoteError;
use crate::remote::objects::{CurrentVersion, Objects, file_of};
use crate::store::StoreError;
use crate::version::listed;

/// The bytes of one part of an upload. S3 takes at most 10,000 parts, each of at least 5 MiB.
const PART: usize = 16 << 20;
/// How many parts are sent at the same time.
const PARTS_AT_ONCE: usize = 4;
/// How often `current` is written if it stays what it was, and whether it was written is unknown.
const ATTEMPTS: usize = 3;

/// A publication that began when `current` was read, and succeeds only if it is still what it was then.
pub struct RemotePublication {
    objects: Objects,
    seen: Option<CurrentVersion>,
}

impl RemotePublication {
    /// Reads what is current at a URL.
    pub fn begin(url: &Url) -> Result<Self, RemoteError> {
        Self::of_objects(Objects::open(url)?)
    }

    pub(crate) fn of_objects(objects: Objects) -> Result<Self, RemoteError> {
        let seen = seen(&objects)?;
        Ok(Self { objects, seen })
    }

    /// The live version, downloaded into a temporary directory; none if the store has none.
    pub fn live(&self) -> Result<Option<TempDir>, RemoteError> {
        let Some(seen) = &self.seen else {
            return Ok(None);
        };
        let dir = tempfile::tempdir().map_err(FileError::at(&std::env::temp_dir()))?;
        download(&self.objects, seen.version(&self.objects)?, dir.path())?;
        Ok(Some(dir))
    }

    /// The manifest of the live version; none if the store has none.
    pub fn live_manifest(&self) -> Result<Option<Manifest>, RemoteError> {
        let Some(seen) = &self.seen else {
            return Ok(None);
        };
        let (manifest, _) = read_manifest(&self.objects, seen.version(&self.objects)?)?;
        Ok(Some(manifest))
    }

    /// Uploads a bundle, makes it the current version, and yields its URL.
    ///
    /// The manifest is uploaded last, so that a version is complete when it can be read. The files of a version that the store
    /// has are uploaded again, which repairs damaged ones.
    pub fn publish(&self, bundle: &Path) -> Result<String, RemoteError> {
        let read = Manifest::read(bundle).and_then(|manifest| manifest.into_current_format(bundle));
        let manifest = read.map_err(StoreError::from)?;
        let version = &manifest.version;
        for name in manifest.known_files() {
            let sha256 = self.upload(&bundle.join(name), &file_of(version, name))?;
            let stated = manifest.files.get(name).map(|stated| &stated.sha256);
            if let Some(expected) = stated.filter(|stated| **stated != sha256) {
                let (path, expected) = (bundle.join(name), expected.clone());
                let found = sha256;
                return Err(StoreError::from(ManifestError::Hash {
                    path,
                    found,
                    expected,
                })
                .into());
            }
        }
        let text = serde_json::to_string_pretty(&manifest).map_err(|source| StoreError::Json {
            path: bundle.join(MANIFEST),
            source,
        })?;
        let name = file_of(version, MANIFEST);
        let write = self.objects.write(&name, &text, PutMode::Overwrite);
        write.map_err(self.objects.error(&name))?;
        self.check_conditions(&name, &text)?;
        self.make_current(version)
    }

    /// Makes an earlier version of the store current again, and yields its URL.
    pub fn restore(&self, version: &str) -> Result<String, RemoteError> {
        let versions = self.objects.versions()?;
        if !versions.iter().any(|found| found == version) {
            return Err(RemoteError::NoVersion {
                object: self.objects.shown(&format!("versions/{version}")),
                versions: listed(versions),
            });
        }
        let (_, text) = read_manifest(&self.objects, version)?;
        self.check_conditions(&file_of(version, MANIFEST), &String::from_utf8_lossy(&text))?;
        self.make_current(version)
    }

    /// Uploads a file and yields its SHA-256.
    fn upload(&self, from: &Path, name: &str) -> Result<String, RemoteError> {
        let at = |source| RemoteError::File(FileError::at(from)(source));
        let mut file = File::open(from).map_err(at)?;
        let path = self.objects.path(name);
        let mut hasher = Sha256::new();
        let failed = self.objects.error(name);
        self.objects.block_on(async {
            let mut part = read_part(&mut file).map_err(at)?;
            hasher.update(&part);
            if part.len() < PART {
                let put =
                    self.objects
                        .store
                        .put_opts(&path, PutPayload::from(part), PutMode::Overwrite.into());
                return put.await.map(drop).map_err(&failed);
            }
            let upload = self.objects.store.put_multipart_opts(&path, Default::default());
            let mut parts = WriteMultipart::new_with_chunk_size(upload.await.map_err(&failed)?, PART);
            let sent = async {
                while !part.is_empty() {
                    parts.wait_for_capacity(PARTS_AT_ONCE).await.map_err(&failed)?;
                    parts.write(&part);
                    part = read_part(&mut file).map_err(at)?;
                    hasher.update(&part);
                }
                Ok(())
            };
            match sent.await {
                Ok(()) => parts.finish().await.map(drop).map_err(&failed),
                Err(error) => {
                    // The store removes what it keeps of the upload; the error that matters is the first one.
                    let _aborted = parts.abort().await;
                    Err(error)
                }
            }
        })?;
        Ok(hex(&hasher.finalize()))
    }

    /// Fails if the store writes an object despite a condition that does not hold. The object and its content are there already.
    fn check_conditions(&self, name: &str, content: &str) -> Result<(), RemoteError> {
        let never = UpdateVersion {
            e_tag: Some("\"00000000000000000000000000000000\"".to_owned()),
            version: Some("1".to_owned()),
        };
        for mode in [PutMode::Create, PutMode::Update(never)] {
            match self.objects.write(name, content, mode) {
                Ok(()) => {
                    return Err(RemoteError::Unconditional {
                        url: self.objects.url().clone(),
                    });
                }
                Err(ObjectError::AlreadyExists { .. } | ObjectError::Precondition { .. }) => {}
                Err(error) => return Err(self.objects.error(name)(error)),
            }
        }
        Ok(())
    }

    /// Writes `current` if it is what it was at the beginning.
    fn make_current(&self, version: &str) -> Result<String, RemoteError> {
        let object = || self.objects.shown("current");
        let mut failed = None;
        for _ in 0..ATTEMPTS {
            let mode = match &self.seen {
                None => PutMode::Create,
                Some(seen) => PutMode::Update(seen.seen.clone()),
            };
            let written = self.objects.write("current", &format!("{version}\n"), mode);
            let Err(error) = written else {
                return Ok(self.objects.shown(&format!("versions/{version}")));
            };
            if matches!(
                error,
                ObjectError::NotImplemented { .. } | ObjectError::PermissionDenied { .. }
            ) {
                return Err(self.objects.error("current")(error));
            }
            // The answer may be lost although the object was written, in which case a repeated request is refused.
            let found = seen(&self.objects)?;
            if found.as_ref().is_some_and(|found| found.text == version) {
                return Ok(self.objects.shown(&format!("versions/{version}")));
            }
            if found != self.seen {
                return Err(RemoteError::Conflict {
                    object: object(),
                    found: found
                        .map_or_else(|| "nothing".to_owned(), |found| format!("version {}", found.text)),
                });
            }
            failed = Some(error);
        }
        Err(failed.map_or_else(
            || RemoteError::NoCurrent { object: object() },
            self.objects.error("current"),
        ))
    }
}

/// What is current; none if nothing is published.
fn seen(objects: &Objects) -> Result<Option<CurrentVersion>, RemoteError> {
    match objects.current(None) {
        Err(RemoteError::NoCurrent { .. }) => Ok(None),
        read => read,
    }
}

/// The next bytes of a file: a whole part, or less at its end.
fn read_part(file: &mut File) -> std::io::Result<Vec<u8>> {
    let mut part = Vec::with_capacity(PART);
    file.take(PART as u64).read_to_end(&mut part)?;
    Ok(part)
}
