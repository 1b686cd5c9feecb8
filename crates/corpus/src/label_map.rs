//! Entity types that are merged, renamed or dropped while a corpus is read.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use nerve_tagging::Sentence;

use crate::error::CorpusError;

/// The types that the types of a corpus are read as: renamed, merged, or dropped where the new type is empty. A type without an
/// entry stays.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LabelMap {
    path: PathBuf,
    types: BTreeMap<String, String>,
}

impl LabelMap {
    /// The map of a file with these entries: `creative-work = "work"` renames or merges, `product = ""` drops.
    pub fn new(path: &Path, types: BTreeMap<String, String>) -> Result<Self, CorpusError> {
        let problem = |from: &String, to: &String| match to.as_str() {
            "O" => Some(format!("`{from}` is mapped to `O`; `{from} = \"\"` drops a type")),
            to if to.chars().any(|c| c.is_whitespace() || c.is_control()) => Some(format!(
                "`{from}` is mapped to `{to}`, and a type has no white space"
            )),
            _ => None,
        };
        let found = types.iter().find_map(|(from, to)| problem(from, to));
        let found = found.or_else(|| types.is_empty().then(|| "it maps no type".to_owned()));
        match found {
            Some(problem) => Err(CorpusError::LabelMap {
                path: path.to_owned(),
                problem,
            }),
            None => Ok(Self {
                path: path.to_owned(),
                types,
            }),
        }
    }

    /// Gives the IOB2 tags of a sentence their new types.
    ///
    /// Entities stay what they are: where the new types of two neighbors are the same, the second begins with `B-`.
    pub(crate) fn apply(&self, sentence: &mut Sentence) {
        let mut previous: Option<(String, String)> = None;
        for tag in &mut sentence.tags {
            let Some((prefix, own)) = tag.split_once('-') else {
                previous = None;
                continue;
            };
            let new = self.types.get(own).map_or(own, String::as_str);
            // `I-b` after a word of type `a` starts an entity; where both become one type, only `B-` keeps them apart.
            let starts = previous
                .as_ref()
                .is_some_and(|(before, mapped)| before != own && mapped == new);
            let prefix = if starts { "B" } else { prefix };
            let mapped = match new {
                "" => "O".to_owned(),
                new => format!("{prefix}-{new}"),
            };
            previous = Some((own.to_owned(), new.to_owned()));
            *tag = mapped;
        }
    }

    /// An error if the map has types that are none of `types`, those of the corpus before it is mapped.
    pub(crate) fn check(&self, types: &BTreeSet<String>) -> Result<(), CorpusError> {
        match self.unknown(types) {
            Some(problem) => Err(CorpusError::LabelMap {
                path: self.path.clone(),
                problem,
            }),
            None => Ok(()),
        }
    }

    /// A sentence that names the types of the map that are not in `types`; `None` if all are.
    pub(crate) fn unknown(&self, types: &BTreeSet<String>) -> Option<String> {
        let unknown: Vec<String> = self
            .types
            .keys()
            .filter(|from| !types.contains(*from))
            .map(|from| format!("`{from}`"))
            .collect();
        let known: Vec<&str> = types.iter().map(String::as_str).collect();
        (!unknown.is_empty()).then(|| {
            format!(
                "the corpus has no type {}; its types are {}",
                unknown.join(", "),
                match known.is_empty() {
                    true => "none".to_owned(),
                    false => known.join(", "),
                }
            )
        })
    }

    /// The file of the map.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(entries: &[(&str, &str)]) -> Result<LabelMap, CorpusError> {
        let types = entries
            .iter()
            .map(|(from, to)| (from.to_string(), to.to_string()))
            .collect();
        LabelMap::new(Path::new("map.toml"), types)
    }

    fn mapped(entries: &[(&str, &str)], tags: &str) -> String {
        let tags: Vec<String> = tags.split(' ').map(str::to_owned).collect();
        let words = tags.clone();
        let mut sentence = Sentence { words, tags };
        map(entries).unwrap().apply(&mut sentence);
        sentence.tags.join(" ")
    }

    #[test]
    fn types_are_renamed_merged_swapped_and_dropped() {
        for (entries, tags, expected) in [
            (
                &[("creative-work", "work")][..],
                "B-creative-work I-creative-work O B-a",
                "B-work I-work O B-a",
            ),
            (&[("a", "x"), ("b", "x")], "B-a I-a B-b I-b", "B-x I-x B-x I-x"),
            (&[("a", "b")], "B-a I-a B-b O", "B-b I-b B-b O"),
            (&[("a", "b"), ("b", "a")], "B-a B-b", "B-b B-a"),
            (&[("a", "")], "B-a I-a B-b", "O O B-b"),
            // Orphans stay orphans, unless they would continue another entity.
            (
                &[("a", "x"), ("b", "x")],
                "B-a I-b I-b O I-a",
                "B-x B-x I-x O I-x",
            ),
            (&[("a", "")], "I-b I-a I-b", "I-b O I-b"),
        ] {
            assert_eq!(mapped(entries, tags), expected, "{tags}");
        }
    }

    #[test]
    fn an_unusable_map_says_why() {
        let problem = |entries: &[(&str, &str)]| map(entries).unwrap_err().to_string();
        assert!(problem(&[("a", "O")]).contains("map.toml: `a` is mapped to `O`; `a = \"\"` drops"));
        assert!(problem(&[("a", "b c")]).contains("no white space"));
        assert!(problem(&[]).contains("maps no type"));
        let types = ["per", "loc"].map(str::to_owned).into_iter().collect();
        let error = map(&[("per", "x"), ("org", "y")])
            .unwrap()
            .check(&types)
            .unwrap_err();
        assert_eq!(
            error.to_string(),
            "map.toml: the corpus has no type `org`; its types are loc, per"
        );
    }
}
