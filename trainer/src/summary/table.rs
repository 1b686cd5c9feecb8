//! The counts of a corpus as tables.

use std::fmt;

use crate::summary::corpus::CorpusSummary;
use crate::summary::split::{LongestSentence, SplitSummary, TokenSummary};

impl CorpusSummary {
    /// A row for each count, with its name and the count of each split.
    pub(crate) fn count_rows(&self) -> Vec<(String, Vec<String>)> {
        let row = |name: &str, count: &dyn Fn(&SplitSummary) -> String| {
            (name.to_owned(), self.splits.iter().map(count).collect())
        };
        let mut rows = vec![
            row("sentences", &|split| split.sentences.to_string()),
            row("words", &|split| split.words.to_string()),
            row("entities", &|split| split.entities.to_string()),
            row("longest sentence, in words", &|split| shown(&split.longest)),
        ];
        let Some(max_length) = self.max_length() else {
            return rows;
        };
        let of_tokens = |name: &str, count: fn(&TokenSummary) -> String| {
            row(name, &move |split| {
                split.tokens.as_ref().map_or_else(String::new, count)
            })
        };
        rows.extend([
            of_tokens("tokens", |tokens| tokens.tokens.to_string()),
            of_tokens("unknown tokens", |tokens| tokens.unknown.to_string()),
            of_tokens("longest sentence, in tokens", |tokens| shown(&tokens.longest)),
            of_tokens(&format!("sentences over {max_length} tokens"), |tokens| {
                tokens.cut.to_string()
            }),
        ]);
        rows
    }

    /// A row for each type, with its entities in each split.
    pub(crate) fn type_rows(&self) -> Vec<(String, Vec<String>)> {
        let count =
            |split: &SplitSummary, name: &str| split.types.get(name).copied().unwrap_or_default().to_string();
        let row = |name: &str| {
            let counts = self.splits.iter().map(|split| count(split, name)).collect();
            (name.to_owned(), counts)
        };
        self.types().into_iter().map(row).collect()
    }

    /// The names of the splits.
    pub(crate) fn split_names(&self) -> Vec<String> {
        self.splits.iter().map(|split| split.split.clone()).collect()
    }

    fn max_length(&self) -> Option<usize> {
        let tokens = self.splits.iter().find_map(|split| split.tokens.as_ref())?;
        Some(tokens.max_length)
    }
}

fn shown(longest: &LongestSentence) -> String {
    let name = longest.file.file_name().unwrap_or_default().to_string_lossy();
    format!("{} ({name}:{})", longest.length, longest.line)
}

/// A table of counts, and one of types.
impl fmt::Display for CorpusSummary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let header = |name: &str| (name.to_owned(), self.split_names());
        let mut rows = vec![header("")];
        rows.extend(self.count_rows());
        rows.push(header("entities by type"));
        rows.extend(self.type_rows());
        let width = |cells: &mut dyn Iterator<Item = &String>| {
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        let first = width(&mut rows.iter().map(|(name, _)| name));
        let columns: Vec<usize> = (0..self.splits.len())
            .map(|at| width(&mut rows.iter().filter_map(|(_, cells)| cells.get(at))))
            .collect();
        let lines: Vec<String> = rows
            .iter()
            .map(|(name, cells)| {
                let cells = cells.iter().zip(&columns);
                let cells: String = cells.map(|(cell, &width)| format!("  {cell:>width$}")).collect();
                format!("{name:<first$}{cells}")
            })
            .collect();
        f.write_str(&lines.join("\n"))
    }
}
