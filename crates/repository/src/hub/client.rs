//! Fetches the files of a model or a data set, those that the cache lacks from the hub.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use tracing::{info, warn};

use crate::address::HubModel;
use crate::dataset_address::HubDataset;
use crate::hub::blob_hash::BlobHash;
use crate::hub::cache::{RepositoryCache, is_commit};
use crate::hub::dataset::{DatasetFiles, DatasetSplit, by_split};
use crate::hub::download::Download;
use crate::hub::error::{HubError, HubFault};
use crate::hub::files::{FileFault, Files, Inventory, LISTING, Selection};
use crate::hub::limits::Limits;
use crate::hub::repository::{HubRepository, RepositoryKind};
use crate::hub::requests::{Listing, Requests};
use crate::hub::retries::Retries;
use crate::hub::settings::HubSettings;

/// Fetches models and data sets of the hub into the cache.
#[derive(Clone, Debug)]
pub struct HubClient {
    settings: HubSettings,
    requests: Requests,
    pub(super) limits: Limits,
}

/// The files of one commit of a repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HubSnapshot {
    /// Their directory in the cache. The files are symbolic links, and files that were not asked for may be there too.
    pub dir: PathBuf,
    /// The commit, 40 hexadecimal digits.
    pub commit: String,
    /// The files that were asked for, by their paths in `dir`.
    pub files: Vec<String>,
}

/// The splits of one commit of a data set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DatasetSnapshot {
    /// The commit, 40 hexadecimal digits.
    pub commit: String,
    /// The Parquet files of each split, in order. There is always a train split.
    pub splits: BTreeMap<DatasetSplit, Vec<PathBuf>>,
}

impl HubClient {
    /// A client with the settings of the environment.
    pub fn from_env() -> Result<Self, HubError> {
        Ok(Self::new(HubSettings::from_env()?))
    }

    /// A client with these settings.
    pub fn new(settings: HubSettings) -> Self {
        Self::with_limits(settings, Limits::default())
    }

    pub(super) fn with_limits(settings: HubSettings, limits: Limits) -> Self {
        let requests = Requests::new(&settings, &limits);
        Self {
            settings,
            requests,
            limits,
        }
    }

    /// The files of a model, in the cache.
    ///
    /// A branch or tag is resolved by the hub. Without network, or if the hub has a fault, it is the commit that it had when it was
    /// last fetched, if the cache has the files. For a commit whose files are in the cache the hub is not asked.
    pub fn fetch(&self, model: &HubModel, files: Files<'_>) -> Result<HubSnapshot, HubError> {
        self.fetch_selection(&model.into(), files)
    }

    /// The splits of a data set as Parquet files in the cache, as [`Self::fetch`] has it.
    pub fn fetch_dataset(&self, dataset: &HubDataset) -> Result<DatasetSnapshot, HubError> {
        let repository = dataset.into();
        let snapshot = self.fetch_selection(&repository, DatasetFiles(dataset))?;
        self.verify_files(&repository, &snapshot)?;
        Ok(DatasetSnapshot {
            splits: by_split(&snapshot.dir, &snapshot.files),
            commit: snapshot.commit,
        })
    }

    fn fetch_selection(
        &self,
        repository: &HubRepository,
        files: impl Selection,
    ) -> Result<HubSnapshot, HubError> {
        let fetch = Fetch {
            client: self,
            repository,
            revision: match &repository.revision {
                Some(revision) => revision,
                None => repository.kind.default_revision(),
            },
            cache: RepositoryCache::new(&self.settings.cache, repository),
        };
        fetch.run(files).map_err(|(file, fault)| HubError::File {
            repository: repository.clone(),
            file,
            fault: Box::new(fault),
        })
    }

    /// Checks that the files of a snapshot have the content that the hub says, in case that something altered the cache. Files
    /// that [`Self::fetch`] downloads were checked; those that it found were not.
    pub fn verify(&self, model: &HubModel, snapshot: &HubSnapshot) -> Result<(), HubError> {
        self.verify_files(&model.into(), snapshot)
    }

    fn verify_files(&self, repository: &HubRepository, snapshot: &HubSnapshot) -> Result<(), HubError> {
        let cache = RepositoryCache::new(&self.settings.cache, repository);
        for file in &snapshot.files {
            let verified = verify(&cache, &snapshot.commit, file);
            verified.map_err(|fault| HubError::File {
                repository: repository.clone(),
                file: file.clone(),
                fault: Box::new(fault),
            })?;
        }
        Ok(())
    }
}

fn verify(cache: &RepositoryCache, commit: &str, file: &str) -> Result<(), HubFault> {
    let etag = cache.etag(commit, file);
    let Some((hash, etag)) = etag.and_then(|etag| Some((BlobHash::of_etag(&etag)?, etag))) else {
        return Ok(());
    };
    let path = cache.blob(&etag);
    let found = hash
        .found(&path)
        .map_err(|source| HubFault::cache(&path, None, source))?;
    let (what, expected) = hash.expected();
    match found == expected {
        true => Ok(()),
        false => Err(HubFault::CacheAltered { path, what, found }),
    }
}

/// One call of [`HubClient::fetch`].
struct Fetch<'a> {
    client: &'a HubClient,
    repository: &'a HubRepository,
    revision: &'a str,
    cache: RepositoryCache,
}

impl Fetch<'_> {
    fn run(&self, files: impl Selection) -> Result<HubSnapshot, FileFault> {
        let cached = self.find(files);
        if self.client.settings.offline {
            let snapshot = cached?.snapshot;
            info!(
                "{}: commit {} of the cache, because HF_HUB_OFFLINE is set",
                self.repository, snapshot.commit
            );
            return Ok(snapshot);
        }
        let attempts = match cached {
            Ok(cached) if cached.is_complete && is_commit(self.revision) => return Ok(cached.snapshot),
            Ok(_) => 1,
            Err(_) => {
                info!(
                    "{}: taken for the name of a hub repository, which is not in the cache; asking the hub",
                    self.repository
                );
                self.client.limits.attempts
            }
        };
        let listing = self.retry(LISTING, attempts, || {
            self.client.requests.list(self.repository, self.revision)
        });
        match (listing, cached) {
            (Ok(listing), _) => self.obtain(files, &listing),
            (Err(fault), Ok(cached)) if fault.is_temporary() => {
                let commit = &cached.snapshot.commit;
                warn!("{}: {fault}; using commit {commit} of the cache", self.repository);
                Ok(cached.snapshot)
            }
            (Err(fault), _) => Err((LISTING.to_owned(), fault)),
        }
    }

    /// The files of the cache, without a request.
    fn find(&self, files: impl Selection) -> Result<Cached, FileFault> {
        let absent = || HubFault::Offline {
            kind: self.repository.kind,
            cache: self.client.settings.cache.clone(),
        };
        let commit = match is_commit(self.revision) {
            true => Some(self.revision.to_owned()),
            false => self.cache.read_ref(self.revision),
        };
        let commit = commit.ok_or_else(|| (files.first().to_owned(), absent()))?;
        let inventory = CachedFiles {
            cache: &self.cache,
            commit: &commit,
            listing: match self.repository.kind {
                RepositoryKind::Model => None,
                RepositoryKind::Dataset => self.cache.read_listing(&commit),
            },
            is_complete: Cell::new(true),
        };
        let chosen = files.choose(&self.repository.id, &inventory);
        let mut chosen = match chosen {
            // The model may have the file.
            Err((file, _)) if !inventory.is_complete.get() => return Err((file, absent())),
            chosen => chosen?,
        };
        let dir = self.cache.snapshot(&commit);
        chosen.extend(files.named_in(&dir, &chosen)?);
        if let Some(file) = chosen.iter().find(|file| !self.cache.has(&commit, file)) {
            return Err((file.clone(), absent()));
        }
        Ok(Cached {
            is_complete: inventory.is_complete.get(),
            snapshot: HubSnapshot {
                dir,
                commit,
                files: chosen,
            },
        })
    }

    /// The files of a commit, those that the cache lacks downloaded.
    fn obtain(&self, files: impl Selection, listing: &Listing) -> Result<HubSnapshot, FileFault> {
        let commit = listing.commit.as_str();
        let inventory = ListedFiles {
            listing,
            cache: &self.cache,
        };
        let mut chosen = files.choose(&self.repository.id, &inventory)?;
        for file in &chosen {
            self.obtain_file(commit, file)?;
        }
        let dir = self.cache.snapshot(commit);
        for file in files.named_in(&dir, &chosen)? {
            if !listing.files.contains(&file) {
                let alternatives = Vec::new();
                return Err((file, HubFault::FileNotFound { alternatives }));
            }
            self.obtain_file(commit, &file)?;
            chosen.push(file);
        }
        if self.repository.kind == RepositoryKind::Dataset
            && let Err(error) = self.cache.write_listing(commit, &listing.files)
        {
            warn!(
                "{}: the cache does not record the files of commit {commit}: {error}",
                self.repository
            );
        }
        // Not before: without network the files of the commit that it names are used.
        if !is_commit(self.revision)
            && let Err(error) = self.cache.write_ref(self.revision, commit)
        {
            warn!(
                "{}: the cache does not record that this is commit {commit}: {error}",
                self.repository
            );
        }
        Ok(HubSnapshot {
            dir,
            commit: commit.to_owned(),
            files: chosen,
        })
    }

    fn obtain_file(&self, commit: &str, file: &str) -> Result<(), FileFault> {
        match self.cache.has(commit, file) {
            true => Ok(()),
            false => self
                .download(commit, file)
                .map_err(|fault| (file.to_owned(), fault)),
        }
    }

    fn download(&self, commit: &str, file: &str) -> Result<(), HubFault> {
        let HubClient { requests, limits, .. } = self.client;
        let repository = self.repository;
        let metadata = self.retry(file, limits.attempts, || {
            requests.metadata(repository, commit, file)
        })?;
        let failed = |(path, source): (PathBuf, _)| HubFault::cache(&path, metadata.size, source);
        let waiting = || {
            info!(
                "{}: waiting for another process that downloads {file}",
                self.repository
            );
        };
        let _lock = self.cache.lock(&metadata.etag, waiting).map_err(failed)?;
        let blob = self.cache.blob(&metadata.etag);
        let found = blob.metadata().ok().map(|found| found.len());
        let is_whole = |found: u64| metadata.size.is_none_or(|size| size == found);
        if !found.is_some_and(is_whole) {
            if let Some(found) = found {
                warn!(
                    "{}: {file}: {} has {found} bytes, which is not its size; replacing it",
                    self.repository,
                    blob.display()
                );
            }
            let download = Download {
                requests,
                limits,
                repository,
                commit,
                file,
                metadata: &metadata,
                blob: &blob,
            };
            download.run()?;
        }
        self.cache.link(commit, file, &metadata.etag).map_err(failed)
    }

    fn retry<T>(
        &self,
        file: &str,
        attempts: u32,
        request: impl Fn() -> Result<T, HubFault>,
    ) -> Result<T, HubFault> {
        let mut retries = Retries::at_most(attempts, &self.client.limits);
        loop {
            match request() {
                Ok(answer) => return Ok(answer),
                Err(fault) => retries.wait(fault, |fault, wait| {
                    warn!(
                        "{}: {file}: {fault}; trying again in {:.1} s",
                        self.repository,
                        wait.as_secs_f64()
                    );
                })?,
            }
        }
    }
}

/// A snapshot that the cache has.
struct Cached {
    snapshot: HubSnapshot,
    /// Whether the cache knows of each optional file that the commit lacks it.
    is_complete: bool,
}

/// The files of a commit that the cache has.
struct CachedFiles<'a> {
    cache: &'a RepositoryCache,
    commit: &'a str,
    /// The list of the commit's files, where it is recorded.
    listing: Option<BTreeSet<String>>,
    /// Unset once a file was asked for that the commit may have.
    is_complete: Cell<bool>,
}

impl Inventory for CachedFiles<'_> {
    fn has(&self, file: &str) -> bool {
        let has = self.cache.has(self.commit, file);
        if !has && !self.cache.is_absent(self.commit, file) {
            self.is_complete.set(false);
        }
        has
    }

    fn with_extension(&self, extensions: &[&str]) -> Vec<String> {
        match &self.listing {
            Some(files) => of_extension(files, extensions),
            None => {
                self.is_complete.set(false);
                Vec::new()
            }
        }
    }
}

/// The files of a commit that the hub has. Each that it lacks is recorded in the cache, as `huggingface_hub` does.
struct ListedFiles<'a> {
    listing: &'a Listing,
    cache: &'a RepositoryCache,
}

impl Inventory for ListedFiles<'_> {
    fn has(&self, file: &str) -> bool {
        let has = self.listing.files.contains(file);
        if !has && let Err(error) = self.cache.mark_absent(&self.listing.commit, file) {
            warn!(
                "the cache does not record that {} lacks {file}: {error}",
                self.listing.commit
            );
        }
        has
    }

    fn with_extension(&self, extensions: &[&str]) -> Vec<String> {
        of_extension(&self.listing.files, extensions)
    }
}

fn of_extension(files: &BTreeSet<String>, extensions: &[&str]) -> Vec<String> {
    let has_extension = |file: &&String| {
        let extension = file.rsplit_once('.').map(|(_, extension)| extension);
        extension.is_some_and(|extension| extensions.contains(&extension))
    };
    files.iter().filter(has_extension).cloned().collect()
}
