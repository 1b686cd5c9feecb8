//! A version of a store, downloaded into a directory and checked.

use std::fs::File;
use std::io::Write;
use std::path::Path;

use futures_util::StreamExt;
use object_store::ObjectStoreExt;
use sha2::{Digest, Sha256};

use crate::file_info::FileInfo;
use crate::files::{FileError, sync, write_synced};
use crate::hex::hex;
use crate::manifest::{MANIFEST, Manifest};
use crate::remote::error::RemoteError;
use crate::remote::objects::{Objects, file_of};

/// The manifest of a version, whose files were not read.
pub(crate) fn read_manifest(objects: &Objects, version: &str) -> Result<(Manifest, Vec<u8>), RemoteError> {
    let name = file_of(version, MANIFEST);
    let text = objects.read(&name)?;
    let object = objects.shown(&name);
    match Manifest::parse(Path::new(&object), text.clone()) {
        Ok(manifest) if manifest.version == version => Ok((manifest, text)),
        Ok(Manifest { version: found, .. }) => Err(RemoteError::OtherVersion { object, found }),
        Err(source) => Err(RemoteError::Manifest { object, source }),
    }
}

/// Downloads the files of a version into an empty directory. Each has the size and the hash that the manifest states, and the
/// disk has its content.
pub(crate) fn download(objects: &Objects, version: &str, into: &Path) -> Result<Manifest, RemoteError> {
    let (manifest, text) = read_manifest(objects, version)?;
    for name in manifest.known_files() {
        if let Some(stated) = manifest.files.get(name) {
            download_file(objects, &file_of(version, name), stated, &into.join(name))?;
        }
    }
    write_synced(&into.join(MANIFEST), &text).map_err(RemoteError::Cache)?;
    sync(into).map_err(RemoteError::Cache)?;
    Ok(manifest)
}

/// Downloads one file. Bytes beyond the stated size are not kept.
fn download_file(objects: &Objects, name: &str, stated: &FileInfo, to: &Path) -> Result<(), RemoteError> {
    let at = |source| RemoteError::Cache(FileError::at(to)(source));
    let mut file = File::create(to).map_err(at)?;
    let mut hasher = Sha256::new();
    let mut size = 0;
    objects.block_on(async {
        let failed = objects.error(name);
        let found = objects.store.get(&objects.path(name)).await.map_err(&failed)?;
        let mut pieces = found.into_stream();
        while let Some(piece) = pieces.next().await {
            let piece = piece.map_err(&failed)?;
            size += piece.len() as u64;
            hasher.update(&piece);
            if size > stated.size {
                break;
            }
            file.write_all(&piece).map_err(at)?;
        }
        Ok::<_, RemoteError>(())
    })?;
    let sha256 = hex(&hasher.finalize());
    if size != stated.size || sha256 != stated.sha256 {
        return Err(RemoteError::Damaged {
            object: objects.shown(name),
            size,
            sha256,
            expected_size: stated.size,
            expected_sha256: stated.sha256.clone(),
        });
    }
    file.sync_all().map_err(at)
}
