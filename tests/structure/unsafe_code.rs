//! The files that contain `unsafe`.

use std::fs;
use std::path::{Path, PathBuf};

use proc_macro2::{TokenStream, TokenTree};

/// What may contain `unsafe`: the kernels, and files that call the functions of another library which are not safe.
const ALLOWED: [&str; 5] = [
    "crates/kernels/",
    "crates/engine/src/memory.rs",
    "trainer/src/ops/mask/cuda.rs",
    "trainer/src/ops/matrix.rs",
    "trainer/src/process.rs",
];

/// The files of a folder of the workspace that contain `unsafe` although `ALLOWED` does not name them.
pub(crate) fn find_unsafe(workspace: &Path, folder: &Path) -> Vec<String> {
    let mut found: Vec<_> = source_files(folder)
        .into_iter()
        .filter_map(|file| {
            let name = file.strip_prefix(workspace).unwrap().display().to_string();
            let is_allowed = ALLOWED.iter().any(|allowed| name.starts_with(allowed));
            let line = (!is_allowed).then(|| first_unsafe(&file)).flatten()?;
            Some(format!("{name}:{line}: `unsafe` belongs in crates/kernels"))
        })
        .collect();
    found.sort_unstable();
    found
}

fn source_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = vec![];
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.ends_with("target") {
            files.extend(source_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files
}

/// The line of the first `unsafe` in the file, which need not be compiled.
fn first_unsafe(file: &Path) -> Option<usize> {
    let tokens: TokenStream = fs::read_to_string(file)
        .unwrap()
        .parse()
        .unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    line_of_unsafe(tokens)
}

fn line_of_unsafe(tokens: TokenStream) -> Option<usize> {
    tokens.into_iter().find_map(|token| match token {
        TokenTree::Ident(name) if name == "unsafe" => Some(name.span().start().line),
        TokenTree::Group(group) => line_of_unsafe(group.stream()),
        _ => None,
    })
}
