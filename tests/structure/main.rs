//! The structure of the code: files of a crate import one another in one direction, and packages depend on one another as
//! `packages::ALLOWED` permits, and `unsafe` stands where `unsafe_code::ALLOWED` permits it. `make check` runs these tests.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod cycles;
mod imports;
mod modules;
mod packages;
mod unsafe_code;

use std::fs;
use std::path::Path;

use tempfile::TempDir;

use crate::cycles::{describe, find_cycles};
use crate::imports::read_imports;
use crate::packages::{crates_compiled_twice, find_violations, read_packages};
use crate::unsafe_code::find_unsafe;

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

#[test]
fn no_files_of_a_crate_import_one_another() {
    let mut found = vec![];
    for root in read_packages(repository())
        .values()
        .flat_map(|package| &package.roots)
    {
        let imports = read_imports(root);
        found.extend(
            find_cycles(&imports)
                .iter()
                .map(|files| describe(files, &imports, repository())),
        );
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn packages_depend_on_one_another_as_the_table_permits() {
    let violations = find_violations(repository());
    assert!(violations.is_empty(), "{}", violations.join("\n"));
}

#[test]
fn programs_and_tests_need_each_crate_with_the_same_features() {
    let twice = crates_compiled_twice(repository());
    assert!(
        twice.is_empty(),
        "tests need other features of {}; see tests/Cargo.toml",
        twice.join(", ")
    );
}

#[test]
fn unsafe_code_stands_in_the_kernels() {
    let found: Vec<_> = read_packages(repository())
        .values()
        .flat_map(|package| find_unsafe(repository(), &package.folder))
        .collect();
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn finds_unsafe_code_outside_the_kernels() {
    let block = "fn read(at: *const u8) -> u8 { unsafe { *at } }";
    let folder = tree(&[
        ("crates/kernels/src/lib.rs", block),
        (
            "crates/tagging/src/lib.rs",
            "/// Not unsafe.\nfn name() -> &'static str { \"unsafe\" }",
        ),
        ("crates/tagging/src/a/b.rs", "\n#[allow(unsafe_code)] fn a() {}"),
        (
            "crates/tagging/tests/c.rs",
            &format!("macro_rules! m {{ () => {{\n{block} }} }}"),
        ),
        ("trainer/src/process.rs", block),
    ]);
    let expected = "crates/tagging/tests/c.rs:2: `unsafe` belongs in crates/kernels";
    assert_eq!(find_unsafe(folder.path(), folder.path()), [expected]);
}

/// Writes files, given as path and text, to a new temporary folder.
fn tree(files: &[(&str, &str)]) -> TempDir {
    let folder = TempDir::new().unwrap();
    for (path, text) in files {
        let path = folder.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    folder
}

/// The cycles of a crate whose root is `lib.rs`, each as the names of its files.
fn cycles_of(files: &[(&str, &str)]) -> Vec<Vec<String>> {
    let folder = tree(files);
    let cycles = find_cycles(&read_imports(&folder.path().join("lib.rs")));
    let name = |file: &Path| file.strip_prefix(folder.path()).unwrap().display().to_string();
    cycles
        .iter()
        .map(|files| files.iter().map(|file| name(file)).collect())
        .collect()
}

#[test]
fn finds_files_that_import_one_another() {
    let a = ("a.rs", "use crate::b::B; pub(crate) struct A(B);");
    for b in [
        "use super::a; pub(crate) struct B(Box<a::A>);",
        "pub(crate) struct B(Option<Box<crate::a::A>>);",
        "pub(crate) struct B; impl B { fn new() { println!(\"{}\", crate::a::A::SIZE); } }",
        "pub(crate) struct B; fn new() { use crate::{a::A as Other, b as this}; }",
        "use crate::a::*; pub(crate) struct B;",
        "#[serde(default = \"crate::a::A::new\")] pub(crate) struct B;",
    ] {
        assert_eq!(
            cycles_of(&[("lib.rs", "mod a; mod b;"), a, ("b.rs", b)]),
            [["a.rs", "b.rs"]],
            "{b}"
        );
    }
}

#[test]
fn an_import_through_a_module_counts_for_the_module_and_for_the_file_that_defines_the_name() {
    let a = ("a.rs", "use crate::b::B; pub(crate) struct A(B);");
    let c = ("b/c.rs", "use crate::a::A; pub(crate) struct B(Box<A>);");
    for module in ["mod c; pub(crate) use c::B;", "mod c; pub(crate) use c::*;"] {
        let files = [("lib.rs", "mod a; mod b;"), a, ("b/mod.rs", module), c];
        assert_eq!(cycles_of(&files), [["a.rs", "b/c.rs", "b/mod.rs"]], "{module}");
    }
}

#[test]
fn a_file_must_not_import_through_or_from_a_module_that_imports_it() {
    let (a, b) = (
        ("a.rs", "pub(crate) struct A;"),
        ("b.rs", "use crate::A; pub(crate) struct B(A);"),
    );
    let root = "mod a; mod b; pub(crate) use a::A; pub(crate) use b::B;";
    assert_eq!(cycles_of(&[("lib.rs", root), a, b]), [["b.rs", "lib.rs"]]);
    let root = "mod a; struct Limit; fn run() { a::run(Limit) }";
    let a = ("a.rs", "pub(crate) fn run(_: super::Limit) {}");
    assert_eq!(cycles_of(&[("lib.rs", root), a]), [["a.rs", "lib.rs"]]);
}

#[test]
fn imports_of_tests_other_crates_and_modules_are_no_cycle() {
    let b = "pub(crate) struct B;
        #[cfg(test)] use crate::a::A;
        /// A fixture.
        #[cfg(test)] pub(crate) fn fixture() -> std::collections::HashMap<u8, crate::a::A> { Default::default() }
        #[cfg(test)] mod tests { use crate::a::A; }
        impl B { #[cfg(all(test, unix))] fn a(&self) -> crate::a::A { self.a::<u8>() } }";
    let a = "use crate::b::B; use std::fmt; pub(crate) struct A(B); impl fmt::Debug for A {}";
    assert!(cycles_of(&[("lib.rs", "mod a; mod b;"), ("a.rs", a), ("b.rs", b)]).is_empty());
}

/// The violations of a workspace whose packages, given by name and dependencies, are all local.
fn violations_of(packages: &[(&str, &[&str])]) -> Vec<String> {
    let mut files = vec![(
        "Cargo.toml".to_owned(),
        "[workspace]\nresolver = \"2\"\nmembers = [\"*\"]\n".to_owned(),
    )];
    for (name, dependencies) in packages {
        let paths: String = dependencies
            .iter()
            .map(|other| format!("{other} = {{ path = \"../{other}\" }}\n"))
            .collect();
        let manifest = format!(
            "[package]\nname = \"{name}\"\nversion = \"0.1.0\"\nedition = \"2024\"\n[dependencies]\n{paths}"
        );
        files.push((format!("{name}/Cargo.toml"), manifest));
        files.push((format!("{name}/src/lib.rs"), String::new()));
    }
    let files: Vec<_> = files
        .iter()
        .map(|(path, text)| (path.as_str(), text.as_str()))
        .collect();
    find_violations(tree(&files).path())
}

#[test]
fn rejects_dependencies_that_the_table_does_not_permit() {
    let permitted: [(&str, &[&str]); 2] = [("nerve-tagging", &[]), ("nerve-corpus", &["nerve-tagging"])];
    assert!(violations_of(&permitted).is_empty());
    let reversed: [(&str, &[&str]); 2] = [("nerve-tagging", &["nerve-corpus"]), ("nerve-corpus", &[])];
    assert_eq!(
        violations_of(&reversed),
        ["nerve-tagging must not depend on nerve-corpus"]
    );
    assert_eq!(
        violations_of(&[("nerve-new", &[])]),
        ["nerve-new is not in the table of packages; add it to `ALLOWED`"]
    );
}

#[test]
fn rejects_a_server_that_compiles_candle() {
    let packages: [(&str, &[&str]); 3] = [
        ("candle-core", &[]),
        ("nerve-inference", &["candle-core"]),
        ("nerve-server", &["nerve-inference"]),
    ];
    let violations = violations_of(&packages);
    let expected = "nerve-server must not compile candle-core v0.1.0";
    assert!(
        violations.iter().any(|violation| violation.starts_with(expected)),
        "{violations:?}"
    );
}
