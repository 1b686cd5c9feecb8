//! The permitted dependencies between the packages of the workspace, and the features of the crates that they use.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// For each package, the packages of this workspace that it may depend on. Dependencies of tests and benches are not limited.
const ALLOWED: [(&str, &[&str]); 11] = [
    ("nerve-tagging", &[]),
    ("nerve-kernels", &[]),
    ("nerve-corpus", &["nerve-tagging"]),
    ("nerve-repository", &["nerve-tagging"]),
    (
        "nerve-inference",
        &["nerve-kernels", "nerve-repository", "nerve-tagging"],
    ),
    (
        "nerve-engine",
        &["nerve-inference", "nerve-repository", "nerve-tagging"],
    ),
    (
        "nerve-export",
        &[
            "nerve-corpus",
            "nerve-inference",
            "nerve-repository",
            "nerve-tagging",
        ],
    ),
    (
        "nerve-trainer",
        &[
            "nerve-corpus",
            "nerve-export",
            "nerve-inference",
            "nerve-kernels",
            "nerve-repository",
            "nerve-tagging",
        ],
    ),
    ("nerve-study", &["nerve-corpus", "nerve-tagging", "nerve-trainer"]),
    (
        "nerve-server",
        &[
            "nerve-corpus",
            "nerve-engine",
            "nerve-export",
            "nerve-inference",
            "nerve-repository",
            "nerve-tagging",
        ],
    ),
    ("nerve-tests", &[]),
];

/// Prefixes of the crates that a package must not compile, directly or through other crates.
const FORBIDDEN: [(&str, &str); 4] = [
    ("nerve-engine", "candle-"),
    ("nerve-server", "candle-"),
    ("nerve-trainer", "actix-"),
    ("nerve-study", "actix-"),
];

/// A package of a workspace.
pub(crate) struct Package {
    /// The root files of its library and its programs.
    pub(crate) roots: Vec<PathBuf>,
    /// The folder with its manifest.
    pub(crate) folder: PathBuf,
    /// The packages of the workspace that it is compiled with.
    dependencies: Vec<String>,
}

/// The packages of a workspace, by name.
pub(crate) fn read_packages(workspace: &Path) -> BTreeMap<String, Package> {
    let metadata: Value = serde_json::from_str(&cargo(
        workspace,
        &["metadata", "--no-deps", "--format-version=1"],
    ))
    .unwrap();
    let packages = array(&metadata, "packages")
        .iter()
        .map(|package| (string(package, "name"), read_package(package)));
    packages.collect()
}

fn read_package(package: &Value) -> Package {
    let is_program = |target: &&Value| {
        array(target, "kind")
            .iter()
            .any(|kind| kind == "lib" || kind == "bin")
    };
    let is_compiled_in = |dependency: &&Value| dependency["kind"] != "dev" && !dependency["path"].is_null();
    let mut folder = PathBuf::from(string(package, "manifest_path"));
    folder.pop();
    Package {
        folder,
        roots: array(package, "targets")
            .iter()
            .filter(is_program)
            .map(|target| string(target, "src_path").into())
            .collect(),
        dependencies: array(package, "dependencies")
            .iter()
            .filter(is_compiled_in)
            .map(|dependency| string(dependency, "name"))
            .collect(),
    }
}

fn array<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value[key].as_array().unwrap()
}

fn string(value: &Value, key: &str) -> String {
    value[key].as_str().unwrap().to_owned()
}

fn cargo(workspace: &Path, arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO"))
        .args(arguments)
        .arg("--offline")
        .current_dir(workspace)
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "cargo {arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

/// The dependencies that `ALLOWED` or `FORBIDDEN` does not permit.
pub(crate) fn find_violations(workspace: &Path) -> Vec<String> {
    let packages = read_packages(workspace);
    let mut violations = vec![];
    for (name, package) in &packages {
        let Some((_, allowed)) = ALLOWED.iter().find(|(allowed, _)| allowed == name) else {
            violations.push(format!(
                "{name} is not in the table of packages; add it to `ALLOWED`"
            ));
            continue;
        };
        let others = package
            .dependencies
            .iter()
            .filter(|dependency| !allowed.contains(&dependency.as_str()));
        violations.extend(others.map(|dependency| format!("{name} must not depend on {dependency}")));
    }
    for (name, prefix) in FORBIDDEN.iter().filter(|(name, _)| packages.contains_key(*name)) {
        let tree = cargo(
            workspace,
            &[
                "tree",
                "--package",
                name,
                "--edges=normal",
                "--prefix=none",
                "--format={p}",
            ],
        );
        let mut compiled: Vec<_> = tree.lines().filter(|line| line.starts_with(prefix)).collect();
        compiled.sort_unstable();
        compiled.dedup();
        violations.extend(
            compiled
                .iter()
                .map(|other| format!("{name} must not compile {other}")),
        );
    }
    violations
}

/// The crates that the tests need with other features than the programs, so that cargo compiles them twice.
pub(crate) fn crates_compiled_twice(workspace: &Path) -> Vec<String> {
    let crates = |edges: &str| -> BTreeSet<String> {
        let tree = cargo(
            workspace,
            &[
                "tree",
                "--workspace",
                edges,
                "--prefix=none",
                "--no-dedupe",
                "--format={p} [{f}]",
            ],
        );
        tree.lines().map(str::to_owned).collect()
    };
    crates("--edges=normal,build")
        .difference(&crates("--edges=normal,build,dev"))
        .cloned()
        .collect()
}
