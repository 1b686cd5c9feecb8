//! A checkpoint as a bundle in the cache, exported and verified where the cache does not have it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Instant;

use nerve_corpus::read_words;
use nerve_inference::{Kernels, Runtime};
use nerve_repository::{FORMAT_VERSION, MaxLength, checkpoint_hash};
use tracing::{info, warn};

use crate::bundle::{BundleRequest, MADE_BY, export, sample};
use crate::cancellation::Cancellation;
use crate::graph::options::LogitsOf;
use crate::prepare::bundle_cache::{BundleCache, LockedPlace};
use crate::prepare::error::PrepareError;
use crate::prepare::find::FoundCheckpoint;
use crate::verify::{VerifyRequest, verify};

/// Raised when the graphs or manifests that are exported change within a version of the program.
const REVISION: u32 = 2;
/// The most calibration sentences from which int8 ranges are taken, and on which the export is verified.
const CALIBRATION_TEXTS: usize = 512;
/// The least fraction of tokens that must have the checkpoint's label.
const MIN_AGREEMENT: f64 = 0.99;

impl FoundCheckpoint {
    /// The directory of the checkpoint's bundle in the cache, where it is made if it is not there.
    ///
    /// Of several processes that need the bundle at the same time, one exports it. The bundle appears when it is complete and
    /// verified; a process that is killed leaves a directory that the next export removes.
    pub fn export_cached(
        &self,
        onnxruntime: Option<&Path>,
        cancellation: &Cancellation,
    ) -> Result<PathBuf, PrepareError> {
        let cache = BundleCache::from_env()?;
        let max_length = MaxLength::of_checkpoint(&self.dir)?.tokens();
        let key = self.key(max_length)?;
        if let Ok(Some(bundle)) = cache.get(&key) {
            self.log_cached(&bundle);
            return Ok(bundle);
        }
        let place = cache.lock(&key, cancellation)?;
        // Another process may have exported it in the meantime.
        match cache.get(&key) {
            Ok(Some(bundle)) => {
                self.log_cached(&bundle);
                return Ok(bundle);
            }
            Ok(None) => {}
            Err(error) => {
                warn!(%error, "the bundle in the cache is damaged; the checkpoint is exported again");
            }
        }
        info!(checkpoint = %self.dir.display(), precision = %self.options.precision(), "exporting the checkpoint");
        let began = Instant::now();
        let runtime = Runtime::load(onnxruntime)?;
        let bundle = self.export(max_length, &place, &cache, &runtime, cancellation, &key)?;
        let seconds = began.elapsed().as_secs_f64();
        info!(bundle = %bundle.display(), seconds, "the checkpoint is exported and verified");
        Ok(bundle)
    }

    fn log_cached(&self, bundle: &Path) {
        info!(checkpoint = %self.dir.display(), bundle = %bundle.display(), "the checkpoint's bundle is in the cache");
    }

    /// The hash of everything that decides what the bundle contains.
    fn key(&self, max_length: usize) -> Result<String, PrepareError> {
        let source = self.source.as_ref();
        let source = source.map(|source| format!("{} {}", source.id, source.commit));
        let options = [
            ("exporter", format!("{MADE_BY} {REVISION} {FORMAT_VERSION}")),
            ("precision", self.options.precision().to_string()),
            ("calibration", self.calibration_hash.clone().unwrap_or_default()),
            ("calibration texts", CALIBRATION_TEXTS.to_string()),
            ("maximum length", max_length.to_string()),
            ("splitter", self.splitter.name().to_owned()),
            ("name", self.name.clone()),
            ("source", source.unwrap_or_default()),
        ];
        Ok(checkpoint_hash(&self.dir, &BTreeMap::from(options))?)
    }

    fn export(
        &self,
        max_length: usize,
        place: &LockedPlace<'_>,
        cache: &BundleCache,
        runtime: &Runtime,
        cancellation: &Cancellation,
        key: &str,
    ) -> Result<PathBuf, PrepareError> {
        let staging = place.staging().map_err(PrepareError::of_cache)?;
        let out = staging.path().join("bundle");
        let calibration = match self.options.calibration.as_deref() {
            Some(file) => sample(&read_words(file)?, CALIBRATION_TEXTS),
            None => Vec::new(),
        };
        let request = BundleRequest {
            checkpoint: self.dir.clone(),
            out: out.clone(),
            precision: self.options.precision(),
            logits_of: LogitsOf::Selected,
            calibration_texts: CALIBRATION_TEXTS,
            evaluate: None,
            name: self.name.clone(),
            base: None,
            source: self.source.clone(),
            max_length,
            splitter: self.splitter,
            calibration: calibration.clone(),
            cancellation: cancellation.clone(),
        };
        export(&request, runtime)
            .map_err(|source| PrepareError::of_export(&self.dir, cache.dir(), source))?;
        let verification = VerifyRequest {
            bundle: &out,
            checkpoint: Some(&self.dir),
            sentences: Some(calibration).filter(|sentences| !sentences.is_empty()),
            min_agreement: MIN_AGREEMENT,
            kernels: Kernels::Auto,
            cancellation,
        };
        verify(&verification, runtime).map_err(|source| PrepareError::of_verification(&self.dir, source))?;
        if self.key(max_length)? != key {
            return Err(PrepareError::Changed {
                checkpoint: self.dir.clone(),
            });
        }
        place.put(&out).map_err(PrepareError::of_cache)
    }
}

#[cfg(test)]
mod tests {
    use nerve_repository::{Checkpoint, FileInfo};

    use super::*;
    use crate::graph::classifier::build;
    use crate::graph::options::Arithmetic;

    /// Otherwise a new program would find the graphs of an older one in the cache.
    #[test]
    fn another_graph_has_another_revision() {
        let fixture = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/families/fixtures/bert");
        let checkpoint = Checkpoint::open(Path::new(fixture)).unwrap();
        let graph = build(&checkpoint, Arithmetic::Float, LogitsOf::Selected).unwrap();
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), graph.bytes).unwrap();
        let hash = FileInfo::of(file.path()).unwrap().sha256;
        assert_eq!(
            (REVISION, &hash[..16]),
            (2, "411bee0b8db5f145"),
            "the exported graph has changed: raise REVISION, and write both here"
        );
    }
}
