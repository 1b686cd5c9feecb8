//! Stores on object storage: in memory, with injected faults.

use std::collections::BTreeMap;
use std::fmt::{self, Display, Formatter};
use std::fs;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use nerve_tagging::Splitter;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error as ObjectError, GetOptions, GetResult, GetResultPayload, ListResult, MultipartUpload,
    ObjectMeta, ObjectStore, PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};
use url::Url;

use crate::file_info::FileInfo;
use crate::manifest::{FILES, FORMAT_VERSION, GraphInfo, MANIFEST, Manifest};
use crate::precision::Precision;
use crate::remote::error::RemoteError;
use crate::remote::mirror::StoreMirror;
use crate::remote::objects::Objects;
use crate::remote::publish::RemotePublication;
use crate::store::LockedStore;

/// What a store does instead of what it should.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    /// It answers 500 to reads of objects whose names end so.
    ReadFails(&'static str),
    /// It ends the body early.
    Truncated(&'static str),
    /// It sends other bytes.
    Altered(&'static str),
    /// It says that access is denied.
    Denied,
    /// It writes, and then loses the answer.
    AnswerLost(&'static str),
    /// It fails to write.
    WriteFails(&'static str),
    /// It knows no conditions.
    Unconditional,
}

/// A store in memory with a fault, and the names of the objects that were read.
#[derive(Debug)]
struct Faulty {
    store: Arc<InMemory>,
    fault: Mutex<Option<Fault>>,
    reads: Mutex<Vec<String>>,
}

impl Faulty {
    fn over(store: &Arc<InMemory>) -> Arc<Self> {
        Arc::new(Self {
            store: Arc::clone(store),
            fault: Mutex::default(),
            reads: Mutex::default(),
        })
    }

    fn set(&self, fault: impl Into<Option<Fault>>) {
        *self.fault.lock().unwrap() = fault.into();
    }

    fn fault(&self) -> Option<Fault> {
        *self.fault.lock().unwrap()
    }

    fn reads(&self) -> Vec<String> {
        std::mem::take(&mut self.reads.lock().unwrap())
    }
}

impl Display for Faulty {
    fn fmt(&self, to: &mut Formatter<'_>) -> fmt::Result {
        write!(to, "faulty")
    }
}

fn failure() -> ObjectError {
    ObjectError::Generic {
        store: "test",
        source: "500 Internal Server Error".into(),
    }
}

#[async_trait]
impl ObjectStore for Faulty {
    async fn put_opts(&self, at: &Path, payload: PutPayload, mut options: PutOptions) -> Result<PutResult> {
        match self.fault() {
            Some(Fault::WriteFails(name)) if at.as_ref().ends_with(name) => return Err(failure()),
            Some(Fault::AnswerLost(name)) if at.as_ref().ends_with(name) => {
                self.store.put_opts(at, payload, options).await?;
                return Err(failure());
            }
            Some(Fault::Unconditional) => options.mode = PutMode::Overwrite,
            _ => {}
        }
        self.store.put_opts(at, payload, options).await
    }

    async fn put_multipart_opts(
        &self,
        at: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.store.put_multipart_opts(at, options).await
    }

    async fn get_opts(&self, at: &Path, options: GetOptions) -> Result<GetResult> {
        self.reads.lock().unwrap().push(at.to_string());
        let is = |name: &str| at.as_ref().ends_with(name);
        let fault = self.fault();
        match fault {
            Some(Fault::ReadFails(name)) if is(name) => return Err(failure()),
            Some(Fault::Denied) => {
                let (path, source) = (at.to_string(), "403 Forbidden".into());
                return Err(ObjectError::PermissionDenied { path, source });
            }
            _ => {}
        }
        let mut found = self.store.get_opts(at, options).await?;
        let change: Option<fn(&Bytes) -> Vec<Result<Bytes>>> = match fault {
            Some(Fault::Truncated(name)) if is(name) => {
                Some(|whole| vec![Ok(whole.slice(..whole.len() / 2)), Err(failure())])
            }
            Some(Fault::Altered(name)) if is(name) => {
                Some(|whole| vec![Ok(whole.iter().map(|byte| byte ^ 1).collect())])
            }
            _ => None,
        };
        if let Some(change) = change {
            let payload = std::mem::replace(
                &mut found.payload,
                GetResultPayload::Stream(futures_util::stream::empty().boxed()),
            );
            let whole = GetResult {
                payload,
                ..clone_meta(&found)
            }
            .bytes()
            .await?;
            found.payload = GetResultPayload::Stream(futures_util::stream::iter(change(&whole)).boxed());
        }
        Ok(found)
    }

    async fn get_ranges(&self, at: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.store.get_ranges(at, ranges).await
    }

    fn delete_stream(&self, at: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.store.delete_stream(at)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.store.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.store.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.store.copy_opts(from, to, options).await
    }
}

/// What describes an object that was read, without its content.
fn clone_meta(found: &GetResult) -> GetResult {
    GetResult {
        payload: GetResultPayload::Stream(futures_util::stream::empty().boxed()),
        meta: found.meta.clone(),
        range: found.range.clone(),
        attributes: found.attributes.clone(),
        extensions: Default::default(),
    }
}

/// A bucket, and a directory for bundles and caches.
struct Bucket {
    store: Arc<InMemory>,
    dir: tempfile::TempDir,
}

impl Bucket {
    fn new() -> Self {
        Self {
            store: Arc::new(InMemory::new()),
            dir: tempfile::tempdir().unwrap(),
        }
    }

    fn url() -> Url {
        "s3://bucket/models".parse().unwrap()
    }

    fn objects(store: Arc<dyn ObjectStore>) -> Objects {
        Objects::of_store(&Self::url(), store, Path::from("models")).unwrap()
    }

    fn publication(&self) -> RemotePublication {
        RemotePublication::of_objects(Self::objects(self.store.clone())).unwrap()
    }

    /// Publishes a bundle with this content, and yields its version.
    fn publish(&self, content: &str) -> String {
        let bundle = self.bundle(content);
        let place = self.publication().publish(&bundle).unwrap();
        let version = Manifest::read(&bundle).unwrap().version;
        assert_eq!(place, format!("s3://bucket/models/versions/{version}"));
        version
    }

    fn mirror(&self, store: Arc<dyn ObjectStore>) -> StoreMirror {
        StoreMirror::of_objects(Self::objects(store), self.dir.path().join("cache"))
    }

    /// The entries of the cache's `versions`, sorted.
    fn cached(&self) -> Vec<String> {
        let entries = fs::read_dir(self.dir.path().join("cache/versions")).unwrap();
        let mut names: Vec<_> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    /// A bundle whose files are this text each.
    fn bundle(&self, content: &str) -> PathBuf {
        let bundle = self.dir.path().join(format!("bundle-{content}"));
        fs::create_dir_all(&bundle).unwrap();
        let mut files = BTreeMap::new();
        for name in FILES {
            fs::write(bundle.join(name), content).unwrap();
            files.insert(name.to_owned(), FileInfo::of(&bundle.join(name)).unwrap());
        }
        let mut manifest: Manifest =
            serde_json::from_str(include_str!("../../../../models/default/manifest.json")).unwrap();
        manifest.format_version = FORMAT_VERSION;
        manifest.precision = Precision::Fp32;
        manifest.splitter = Splitter::Corpus;
        manifest.graph = GraphInfo {
            inputs: Vec::new(),
            opset: 20,
            operators: Vec::new(),
            padding_free: false,
        };
        manifest.files = files;
        manifest.version = manifest.content_version().unwrap();
        fs::write(bundle.join(MANIFEST), serde_json::to_vec(&manifest).unwrap()).unwrap();
        bundle
    }

    fn object(&self, name: &str) -> String {
        let bytes = Self::objects(self.store.clone()).read(name).unwrap();
        String::from_utf8(bytes).unwrap()
    }
}

#[test]
fn a_published_version_is_downloaded_once_and_served_from_the_cache() {
    let bucket = Bucket::new();
    let version = bucket.publish("a");
    assert_eq!(bucket.object("current"), format!("{version}\n"));
    let faulty = Faulty::over(&bucket.store);
    let mirror = bucket.mirror(faulty.clone());
    assert_eq!(mirror.current().unwrap(), version);
    let fetched = mirror.fetch(&version).unwrap();
    assert_eq!(Manifest::read(&fetched.dir).unwrap().version, version);
    faulty.reads();
    assert_eq!(mirror.current().unwrap(), version, "unchanged by its ETag");
    mirror.fetch(&version).unwrap();
    assert_eq!(faulty.reads(), ["models/current"]);
}

#[test]
fn the_manifest_is_uploaded_last() {
    let bucket = Bucket::new();
    let faulty = Faulty::over(&bucket.store);
    for name in FILES {
        faulty.set(Fault::WriteFails(name));
        let publication = RemotePublication::of_objects(Bucket::objects(faulty.clone())).unwrap();
        let error = publication.publish(&bucket.bundle("a")).unwrap_err().to_string();
        assert!(
            error.contains(name) && error.contains("the store fails"),
            "{error}"
        );
        let version = Manifest::read(&bucket.bundle("a")).unwrap().version;
        let absent = bucket.publication().restore(&version).unwrap_err();
        let is_refused = matches!(
            absent,
            RemoteError::Missing { .. } | RemoteError::NoVersion { .. }
        );
        assert!(is_refused, "{absent}");
    }
}

#[test]
fn of_two_publishers_at_the_same_time_one_wins_and_the_other_is_told() {
    let bucket = Bucket::new();
    for seen in ["nothing", "a version"] {
        let (one, other) = (bucket.publication(), bucket.publication());
        one.publish(&bucket.bundle(&format!("one after {seen}"))).unwrap();
        let winner = bucket.object("current");
        let refused = other
            .publish(&bucket.bundle(&format!("other after {seen}")))
            .unwrap_err();
        assert!(matches!(refused, RemoteError::Conflict { .. }), "{refused}");
        assert!(refused.to_string().contains(winner.trim()), "{refused}");
        assert_eq!(bucket.object("current"), winner);
    }
}

#[test]
fn of_many_publishers_at_the_same_time_exactly_one_wins() {
    let bucket = Bucket::new();
    let publications: Vec<_> = (0..8).map(|_| bucket.publication()).collect();
    let bundles: Vec<_> = (0..8).map(|number| bucket.bundle(&number.to_string())).collect();
    let results: Vec<_> = std::thread::scope(|scope| {
        let publishers = publications
            .iter()
            .zip(&bundles)
            .map(|(publication, bundle)| scope.spawn(|| publication.publish(bundle)));
        publishers
            .collect::<Vec<_>>()
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .collect()
    });
    let won: Vec<_> = results.iter().flatten().collect();
    assert_eq!(won.len(), 1, "{results:?}");
    assert!(won[0].ends_with(bucket.object("current").trim()));
    for refused in results.iter().filter_map(|result| result.as_ref().err()) {
        assert!(matches!(refused, RemoteError::Conflict { .. }), "{refused}");
    }
}

#[test]
fn a_lost_answer_does_not_hide_that_the_version_is_current() {
    let bucket = Bucket::new();
    bucket.publish("a");
    let faulty = Faulty::over(&bucket.store);
    let publication = RemotePublication::of_objects(Bucket::objects(faulty.clone())).unwrap();
    faulty.set(Fault::AnswerLost("current"));
    publication.publish(&bucket.bundle("b")).unwrap();
    let version = Manifest::read(&bucket.bundle("b")).unwrap().version;
    assert_eq!(bucket.object("current").trim(), version);
}

#[test]
fn a_store_without_conditions_is_refused() {
    let bucket = Bucket::new();
    let version = bucket.publish("a");
    let faulty = Faulty::over(&bucket.store);
    faulty.set(Fault::Unconditional);
    let publication = RemotePublication::of_objects(Bucket::objects(faulty)).unwrap();
    let refused = publication.publish(&bucket.bundle("b")).unwrap_err();
    assert!(matches!(refused, RemoteError::Unconditional { .. }), "{refused}");
    assert_eq!(bucket.object("current").trim(), version);
}

#[test]
fn a_version_is_made_current_again() {
    let bucket = Bucket::new();
    let (first, second) = (bucket.publish("a"), bucket.publish("b"));
    assert_eq!(bucket.object("current").trim(), second);
    bucket.publication().restore(&first).unwrap();
    assert_eq!(bucket.object("current").trim(), first);
    assert_eq!(
        bucket.publication().live_manifest().unwrap().unwrap().version,
        first
    );
    let live = bucket.publication().live().unwrap().unwrap();
    assert_eq!(Manifest::read(live.path()).unwrap().version, first);
    let absent = bucket.publication().restore("0123").unwrap_err().to_string();
    assert!(
        absent.contains("0123") && absent.contains(&first) && absent.contains(&second),
        "{absent}"
    );
}

#[test]
fn a_server_does_not_wait_for_a_download_of_another_process() {
    let bucket = Bucket::new();
    let mirror = bucket.mirror(bucket.store.clone());
    let version = bucket.publish("a");
    mirror.fetch(&version).unwrap();
    let downloading = LockedStore::acquire(mirror.dir()).unwrap();
    assert!(mirror.fetch(&version).is_ok());
    mirror.keep(&[&version]).unwrap();
    drop(downloading);
    assert_eq!(mirror.cached(), None);
    mirror.keep(&[&version]).unwrap();
    assert_eq!(mirror.cached(), Some(version));
}

#[test]
fn nothing_that_is_damaged_or_incomplete_reaches_the_cache() {
    let bucket = Bucket::new();
    let version = bucket.publish("a");
    let faulty = Faulty::over(&bucket.store);
    let mirror = bucket.mirror(faulty.clone());
    for (fault, said) in [
        (Fault::Altered("model.onnx"), "the object is damaged"),
        (Fault::Altered(MANIFEST), "is damaged"),
        (Fault::Truncated("model.onnx"), "the store fails"),
        (Fault::ReadFails("tokenizer.json"), "the store fails"),
        (Fault::Denied, "access is denied"),
    ] {
        faulty.set(fault);
        let error = mirror.fetch(&version).unwrap_err().to_string();
        let object = format!("s3://bucket/models/versions/{version}/");
        assert!(
            error.contains(said) && error.starts_with(&object),
            "{fault:?}: {error}"
        );
        assert!(bucket.cached().is_empty(), "{fault:?}");
    }
    faulty.set(None);
    mirror.fetch(&version).unwrap();
    assert_eq!(bucket.cached(), [version]);
}

#[test]
fn a_damaged_copy_is_downloaded_again() {
    let bucket = Bucket::new();
    let version = bucket.publish("a");
    let mirror = bucket.mirror(bucket.store.clone());
    let model = mirror.fetch(&version).unwrap().dir.join("model.onnx");
    for damage in ["b", "longer"] {
        fs::write(&model, damage).unwrap();
        mirror.fetch(&version).unwrap();
        assert_eq!(fs::read_to_string(&model).unwrap(), "a");
    }
}

#[test]
fn versions_that_no_process_uses_are_removed() {
    let bucket = Bucket::new();
    let (ours, theirs) = (
        bucket.mirror(bucket.store.clone()),
        bucket.mirror(bucket.store.clone()),
    );
    let versions: Vec<_> = ["a", "b", "c", "d"].map(|content| bucket.publish(content)).into();
    let sorted = |numbers: &[usize]| {
        let mut names: Vec<_> = numbers.iter().map(|&number| versions[number].clone()).collect();
        names.sort();
        names
    };
    let streaming = theirs.fetch(&versions[0]).unwrap();
    theirs.keep(&[&versions[0]]).unwrap();
    theirs.fetch(&versions[1]).unwrap();
    theirs.keep(&[&versions[1]]).unwrap();
    assert_eq!(bucket.cached(), sorted(&[0, 1]), "the first one is still read");
    drop(streaming);
    for version in &versions[1..] {
        ours.fetch(version).unwrap();
    }
    fs::create_dir(bucket.dir.path().join("cache/versions/.incoming-killed")).unwrap();
    let stray = bucket.dir.path().join("cache/versions/0-stray");
    fs::write(&stray, "").unwrap();
    ours.keep(&[&versions[3], &versions[2]]).unwrap();
    fs::remove_file(stray).unwrap();
    assert_eq!(
        bucket.cached(),
        sorted(&[1, 2, 3]),
        "the other server serves the second one"
    );
    assert_eq!(ours.cached().as_deref(), Some(versions[3].as_str()));
    theirs.keep(&[&versions[3]]).unwrap();
    assert_eq!(bucket.cached(), sorted(&[2, 3]));
    drop(ours);
    theirs.keep(&[&versions[3]]).unwrap();
    assert_eq!(bucket.cached(), sorted(&[3]));
}

#[test]
fn each_error_names_the_object_and_the_remedy() {
    let bucket = Bucket::new();
    let faulty = Faulty::over(&bucket.store);
    let mirror = bucket.mirror(faulty.clone());
    let current = || mirror.current().unwrap_err().to_string();
    let said = current();
    assert!(
        said.starts_with("s3://bucket/models/current: ") && said.contains("nerve-export publish"),
        "{said}"
    );
    let objects = Bucket::objects(bucket.store.clone());
    objects.write("current", "../../etc", PutMode::Overwrite).unwrap();
    assert!(
        current().contains("\"../../etc\" is not a version"),
        "{}",
        current()
    );
    bucket.publish("a");
    assert!(
        mirror.current().is_ok(),
        "a bad `current` is replaced by publishing"
    );
    objects
        .write("current", "0123456789abcdef", PutMode::Overwrite)
        .unwrap();
    let missing = mirror.fetch(&mirror.current().unwrap()).unwrap_err().to_string();
    assert!(
        missing.contains("versions/0123456789abcdef/manifest.json"),
        "{missing}"
    );
    faulty.set(Fault::Denied);
    assert!(current().contains("check the credentials"), "{}", current());
    let no_bucket = ObjectError::NotFound {
        path: "models/current".to_owned(),
        source: "<Code>NoSuchBucket</Code>".into(),
    };
    let said = RemoteError::of(&Bucket::url(), "s3://bucket/models/current", no_bucket).to_string();
    assert!(said.contains("there is no such bucket; create it"), "{said}");
}
