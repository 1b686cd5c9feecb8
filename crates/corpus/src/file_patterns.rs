//! The files that names with wildcards stand for.

use std::path::{Path, PathBuf};

use crate::error::CorpusError;

/// The files that paths and patterns such as `data/train-*.parquet` name, in the order of their names, each once.
///
/// A text that is the path of a file is that file, whatever characters it has.
pub fn expand_patterns(patterns: &[String]) -> Result<Vec<PathBuf>, CorpusError> {
    let mut found = Vec::new();
    for pattern in patterns {
        let path = Path::new(pattern);
        if path.is_dir() {
            return Err(CorpusError::Directory {
                path: path.to_owned(),
            });
        }
        if path.exists() {
            found.push(path.to_owned());
            continue;
        }
        let wrong = |problem: String| CorpusError::Pattern {
            pattern: pattern.clone(),
            problem,
        };
        let before = found.len();
        for entry in glob::glob(pattern).map_err(|error| wrong(error.to_string()))? {
            let path = entry.map_err(|error| CorpusError::Read {
                path: error.path().to_owned(),
                source: error.into(),
            })?;
            if path.is_file() {
                found.push(path);
            }
        }
        if found.len() == before {
            let has_wildcard = pattern.contains(['*', '?', '[']);
            return Err(wrong(match has_wildcard {
                true => "no file matches it".to_owned(),
                false => "there is no such file".to_owned(),
            }));
        }
    }
    found.sort();
    found.dedup();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_come_once_and_in_the_order_of_their_names() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["b.conll", "a.jsonl", "c[1].conll", "a.md"] {
            std::fs::write(dir.path().join(name), "").unwrap();
        }
        std::fs::create_dir(dir.path().join("d.conll")).unwrap();
        let expand = |names: &[&str]| {
            let patterns: Vec<String> = names
                .iter()
                .map(|name| format!("{}/{name}", dir.path().display()))
                .collect();
            expand_patterns(&patterns)
        };
        let names = |names: &[&str]| -> Vec<String> {
            let path = |path: &PathBuf| path.file_name().unwrap().to_str().unwrap().to_owned();
            expand(names).unwrap().iter().map(path).collect()
        };
        assert_eq!(
            names(&["*.conll", "a.jsonl", "b.*"]),
            ["a.jsonl", "b.conll", "c[1].conll"]
        );
        assert_eq!(names(&["c[1].conll"]), ["c[1].conll"]);
        for (pattern, problem) in [
            ("*.parquet", "no file matches it"),
            ("absent.conll", "there is no such file"),
            ("d.conll", "is a directory"),
            ("***", "wildcard"),
        ] {
            let error = expand(&[pattern]).unwrap_err().to_string();
            assert!(error.contains(problem), "{error}");
        }
    }
}
