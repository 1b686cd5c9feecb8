//! The counts of the corpus, as tables.

use maud::{Markup, html};

use crate::report::html::table;
use crate::summary::corpus::CorpusSummary;

/// A table of counts by split, and one of entities by type.
pub(super) fn data(summary: &CorpusSummary) -> Markup {
    let of = |name: &str, rows: Vec<(String, Vec<String>)>| {
        let header: Vec<String> = [name.to_owned()]
            .into_iter()
            .chain(summary.split_names())
            .collect();
        table(
            &header,
            rows.into_iter()
                .map(|(name, cells)| [name].into_iter().chain(cells)),
        )
    };
    html! {
        (of("split", summary.count_rows()))
        (of("entities by type", summary.type_rows()))
    }
}
