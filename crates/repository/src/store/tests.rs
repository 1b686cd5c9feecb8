use std::collections::BTreeMap;
use std::os::unix::fs::symlink;

use nerve_tagging::Splitter;

use super::*;
use crate::file_info::FileInfo;
use crate::files::SYNCED;
use crate::manifest::{FILES, GraphInfo};
use crate::precision::Precision;

/// A bundle whose files are the text `content` each.
fn bundle(dir: &Path, content: &str, base: Option<&str>) -> PathBuf {
    let bundle = dir.join(format!("bundle-{content}"));
    fs::create_dir_all(&bundle).unwrap();
    let mut files = BTreeMap::new();
    for name in FILES {
        let file = bundle.join(name);
        fs::write(&file, content).unwrap();
        files.insert(name.to_owned(), FileInfo::of(&file).unwrap());
    }
    let mut manifest = Manifest {
        format_version: FORMAT_VERSION,
        name: "model".to_owned(),
        version: String::new(),
        labels: vec!["O".to_owned()],
        max_length: 128,
        precision: Precision::Fp32,
        splitter: Splitter::Corpus,
        temperature: None,
        transitions: None,
        graph: GraphInfo {
            inputs: Vec::new(),
            opset: 20,
            operators: Vec::new(),
            padding_free: false,
        },
        files,
        base: base.map(str::to_owned),
        source: None,
        evaluation: None,
        made_by: String::new(),
    };
    manifest.version = manifest.content_version().unwrap();
    fs::write(bundle.join(MANIFEST), serde_json::to_vec(&manifest).unwrap()).unwrap();
    bundle
}

/// Rewrites the manifest of a bundle as one of format 1, after `edit`.
fn rewrite_in_format_1(bundle: &Path, edit: impl FnOnce(&mut Manifest)) -> String {
    let mut manifest = Manifest::read(bundle).unwrap();
    manifest.format_version = 1;
    edit(&mut manifest);
    manifest.version = manifest.content_version().unwrap();
    fs::write(bundle.join(MANIFEST), serde_json::to_vec(&manifest).unwrap()).unwrap();
    manifest.version
}

fn current(store: &Path) -> Result<Manifest, ManifestError> {
    Manifest::read(&store.join("current"))
}

#[test]
fn a_damaged_version_is_replaced_by_publishing_it_again() {
    let dir = tempfile::tempdir().unwrap();
    let (store, bundle) = (dir.path().join("store"), bundle(dir.path(), "whole", None));
    let version = publish(&bundle, &store).unwrap();
    let whole = current(&store).unwrap();
    let damages: [fn(&Path); 7] = [
        |version| fs::write(version.join("model.onnx"), "who").unwrap(),
        |version| fs::write(version.join("model.onnx"), "wrong").unwrap(),
        |version| fs::write(version.join(MANIFEST), "{").unwrap(),
        |version| fs::remove_file(version.join("config.json")).unwrap(),
        |version| {
            fs::remove_file(version.join("tokenizer.json")).unwrap();
            fs::create_dir(version.join("tokenizer.json")).unwrap();
        },
        |version| {
            fs::remove_dir_all(version).unwrap();
            fs::write(version, "not a directory").unwrap();
        },
        |version| {
            fs::remove_dir_all(version).unwrap();
            symlink("gone", version).unwrap();
        },
    ];
    for (number, damage) in damages.into_iter().enumerate() {
        damage(&version);
        current(&store).unwrap_err();
        assert_eq!(publish(&bundle, &store).unwrap(), version, "damage {number}");
        assert_eq!(current(&store).unwrap(), whole, "damage {number}");
        assert_eq!(fs::read_dir(store.join("versions")).unwrap().count(), 1);
    }
}

#[test]
fn a_version_of_another_origin_replaces_the_manifest() {
    let dir = tempfile::tempdir().unwrap();
    let store = dir.path().join("store");
    publish(&bundle(dir.path(), "same", None), &store).unwrap();
    publish(&bundle(dir.path(), "same", Some("bert-base-uncased")), &store).unwrap();
    assert_eq!(
        current(&store).unwrap().base.as_deref(),
        Some("bert-base-uncased")
    );
    assert_eq!(fs::read_dir(store.join("versions")).unwrap().count(), 1);
}

#[test]
fn the_store_is_readable_while_a_version_is_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let store = dir.path().join("store");
    let bases = [None, Some("bert-base-uncased")];
    publish(&bundle(dir.path(), "same", None), &store).unwrap();
    std::thread::scope(|scope| {
        let publisher = scope.spawn(|| {
            for round in 0..10 {
                publish(&bundle(dir.path(), "same", bases[round % 2]), &store).unwrap();
            }
        });
        while !publisher.is_finished() {
            let found = current(&store).unwrap();
            assert!(bases.contains(&found.base.as_deref()));
        }
    });
}

#[test]
fn everything_is_on_the_disk_before_a_name_points_at_it() {
    let dir = tempfile::tempdir().unwrap();
    let store = dir.path().join("new/store");
    let bundle = bundle(dir.path(), "whole", None);
    SYNCED.take();
    publish(&bundle, &store).unwrap();
    let synced = SYNCED.take();
    let at = |wanted: &dyn Fn(&Path) -> bool| synced.iter().position(|path| wanted(path));
    let in_staging = |name: &'static str| {
        let is_staging = |path: &Path| path.to_string_lossy().contains(STAGING);
        at(&|path: &Path| is_staging(path) && path.ends_with(name)).unwrap()
    };
    let staging = at(&|path: &Path| {
        let name = path.file_name().unwrap().to_string_lossy();
        name.starts_with(STAGING)
    });
    for name in FILES.into_iter().chain([MANIFEST]) {
        assert!(Some(in_staging(name)) < staging, "{name}");
    }
    let named = synced.iter().rposition(|path| *path == store.join("versions"));
    assert!(staging < named);
    assert_eq!(synced.last(), Some(&store), "`current` is replaced last");
    for above in [dir.path().to_owned(), dir.path().join("new")] {
        assert!(synced.contains(&above), "{}", above.display());
    }
}

#[test]
fn bundles_of_format_1_that_share_a_version_are_different_versions_in_the_store() {
    let dir = tempfile::tempdir().unwrap();
    let (store, bundle) = (dir.path().join("store"), bundle(dir.path(), "same", None));
    let first = rewrite_in_format_1(&bundle, |manifest| manifest.max_length = 64);
    let first_version = publish(&bundle, &store).unwrap();
    let second = rewrite_in_format_1(&bundle, |manifest| {
        (manifest.max_length, manifest.splitter) = (128, Splitter::Whitespace);
    });
    assert_eq!(first, second);
    let second_version = publish(&bundle, &store).unwrap();
    assert_ne!(first_version, second_version);
    let (one, other) = (
        Manifest::read(&first_version).unwrap(),
        Manifest::read(&second_version).unwrap(),
    );
    assert_eq!((one.max_length, one.splitter), (64, Splitter::Corpus));
    assert_eq!((other.max_length, other.splitter), (128, Splitter::Whitespace));
    assert_eq!(current(&store).unwrap(), other);
    assert_eq!(publish(&bundle, &store).unwrap(), second_version);
}

#[test]
fn a_version_of_format_1_that_a_store_has_stays() {
    let dir = tempfile::tempdir().unwrap();
    let (store, bundle) = (dir.path().join("store"), bundle(dir.path(), "same", None));
    let version = rewrite_in_format_1(&bundle, |_| ());
    let before = store.join("versions").join(&version);
    fs::create_dir_all(store.join("versions")).unwrap();
    fs::rename(&bundle, &before).unwrap();
    symlink(Path::new("versions").join(&version), store.join("current")).unwrap();
    let whole = current(&store).unwrap();
    assert_ne!(publish(&before, &store).unwrap(), before);
    assert_eq!(Manifest::read(&before).unwrap(), whole);
}

#[test]
fn a_store_is_not_made_inside_a_bundle() {
    let dir = tempfile::tempdir().unwrap();
    let (bundle, other) = (bundle(dir.path(), "a", None), bundle(dir.path(), "b", None));
    let refused = publish(&bundle, &other).unwrap_err();
    assert!(
        matches!(&refused, StoreError::IsBundle { path } if *path == other),
        "{refused}"
    );
    assert!(!other.join("versions").exists());
}

#[test]
fn a_byte_order_mark_is_no_part_of_a_manifest() {
    let dir = tempfile::tempdir().unwrap();
    let bundle = bundle(dir.path(), "a", None);
    let manifest = Manifest::read(&bundle).unwrap();
    let text = fs::read_to_string(bundle.join(MANIFEST)).unwrap();
    fs::write(bundle.join(MANIFEST), format!("\u{feff}{text}")).unwrap();
    assert_eq!(Manifest::read(&bundle).unwrap(), manifest);
}

#[test]
fn only_a_version_of_the_store_is_made_current_again() {
    let dir = tempfile::tempdir().unwrap();
    let store = dir.path().join("store");
    let publish = |content| publish(&bundle(dir.path(), content, None), &store).unwrap();
    let (first, second) = (publish("a"), publish("b"));
    let name = |version: &Path| version.file_name().unwrap().to_str().unwrap().to_owned();
    let locked = LockedStore::acquire(&store).unwrap();
    assert_eq!(locked.restore(&name(&first)).unwrap(), first);
    assert_eq!(current(&store).unwrap().version, name(&first));
    for absent in ["0123", "../../bundle-b", ""] {
        let refused = locked.restore(absent).unwrap_err().to_string();
        assert!(
            refused.contains(&name(&first)) && refused.contains(&name(&second)),
            "{refused}"
        );
    }
    assert_eq!(current(&store).unwrap().version, name(&first));
}
