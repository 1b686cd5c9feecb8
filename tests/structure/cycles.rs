//! Files that import one another, directly or through other files.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::{Path, PathBuf};

use crate::imports::Imports;

/// The sets of files that import one another, directly or through other files. No file is in two sets.
pub(crate) fn find_cycles(imports: &Imports) -> Vec<BTreeSet<PathBuf>> {
    let mut cycles: Vec<BTreeSet<PathBuf>> = vec![];
    for file in imports.keys() {
        let reached = reachable(imports, file);
        if reached.contains(file) && !cycles.iter().any(|files| files.contains(file)) {
            cycles.push(
                reached
                    .into_iter()
                    .filter(|other| reachable(imports, other).contains(file))
                    .collect(),
            );
        }
    }
    cycles
}

/// The files that a file imports, directly or through others.
fn reachable(imports: &Imports, file: &Path) -> BTreeSet<PathBuf> {
    let mut reached = BTreeSet::new();
    let mut waiting = vec![file.to_owned()];
    while let Some(file) = waiting.pop() {
        let targets = imports.get(&file).into_iter().flat_map(|targets| targets.keys());
        waiting.extend(
            targets
                .filter(|target| reached.insert((*target).clone()))
                .cloned(),
        );
    }
    reached
}

/// The files of a cycle and the names that they import from one another, one import per line.
pub(crate) fn describe(cycle: &BTreeSet<PathBuf>, imports: &Imports, folder: &Path) -> String {
    let shown = |file: &Path| file.strip_prefix(folder).unwrap_or(file).display().to_string();
    let mut text = format!("{} files import one another:\n", cycle.len());
    for file in cycle {
        for (target, names) in imports[file].iter().filter(|(target, _)| cycle.contains(*target)) {
            let names: Vec<_> = names
                .iter()
                .map(|(name, line)| format!("{name} (line {line})"))
                .collect();
            writeln!(
                text,
                "  {} -> {}: {}",
                shown(file),
                shown(target),
                names.join(", ")
            )
            .unwrap();
        }
    }
    text
}
