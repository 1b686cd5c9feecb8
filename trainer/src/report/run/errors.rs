//! What a tagger confuses and gets wrong, with the words around.

use std::fmt::Write;

use crate::evaluate::{EntityError, ErrorAnalysis, ErrorKind, ShownEntity};
use crate::report::html::{details, escape, paragraph, table};

/// Examples of each kind that stand open.
const OPEN: usize = 10;
/// Examples of each kind that a click shows.
const FOLDED: usize = 60;

const KINDS: [(ErrorKind, &str, &str); 4] = [
    (
        ErrorKind::Missed,
        "Missed",
        "A gold entity that has no prediction to itself.",
    ),
    (
        ErrorKind::Invented,
        "Invented",
        "A prediction that has no gold entity to itself.",
    ),
    (
        ErrorKind::WrongBoundary,
        "Wrong boundary",
        "The type is right, the first or last word is not.",
    ),
    (ErrorKind::WrongType, "Wrong type", "Found, but as another type."),
];

/// The confusion matrix, each row shaded by its shares.
pub(super) fn confusion(errors: &ErrorAnalysis) -> String {
    let mut html = paragraph(
        "Gold types are rows, predicted types columns. Each gold entity is paired with at most one prediction that shares a \
         word with it, and counted once; a wrong boundary counts as its type.",
    );
    html.push_str("<div class=\"wide\"><table class=\"matrix\">\n<thead><tr><th scope=\"col\"></th>");
    let columns = errors.types.iter().map(String::as_str);
    for name in columns.clone().chain(["missed"]) {
        // Writing to a string cannot fail, here and below.
        let _ = write!(html, "<th scope=\"col\">{}</th>", escape(name));
    }
    html.push_str("</tr></thead>\n<tbody>\n");
    for (row, (name, counts)) in columns.chain(["invented"]).zip(&errors.confusion).enumerate() {
        let _ = write!(html, "<tr><th scope=\"row\">{}</th>", escape(name));
        let total: usize = counts.iter().sum();
        for (column, &count) in counts.iter().enumerate() {
            // Nothing is neither gold nor predicted.
            if row == errors.types.len() && column == row {
                html.push_str("<td></td>");
                continue;
            }
            let share = count as f64 / total.max(1) as f64;
            let class = if row == column { " class=\"same\"" } else { "" };
            let _ = write!(
                html,
                "<td{class} style=\"background:rgba(var(--tint),{:.2})\">{count}</td>",
                0.6 * share
            );
        }
        html.push_str("</tr>\n");
    }
    html.push_str("</tbody>\n</table></div>\n");
    html
}

/// The counts of each type, and examples of each kind.
pub(super) fn errors(errors: &ErrorAnalysis) -> String {
    let header = [
        "",
        "correct",
        "missed",
        "wrong boundary",
        "predicted as another",
        "invented",
        "another predicted as it",
    ];
    let rows = errors.by_type.iter().map(|(name, counts)| {
        let counted = [
            counts.correct,
            counts.missed,
            counts.wrong_boundary,
            counts.mistyped,
            counts.invented,
            counts.mistaken,
        ];
        std::iter::once(name.clone()).chain(counted.map(|count| count.to_string()))
    });
    let mut html = table(&header, rows);
    html.push_str(
        "<p class=\"legend\">In the examples <span class=\"gold\">gold entities are underlined</span> and \
         <span class=\"found\">predictions shaded</span>.</p>\n",
    );
    for (kind, name, meaning) in KINDS {
        let of_kind: Vec<&EntityError> = errors.errors.iter().filter(|error| error.kind == kind).collect();
        if of_kind.is_empty() {
            continue;
        }
        let _ = write!(
            html,
            "<h3>{name} ({})</h3>\n{}",
            of_kind.len(),
            paragraph(meaning)
        );
        let (open, more) = spread(&of_kind);
        html.push_str(&list(&open));
        if !more.is_empty() {
            html.push_str(&details(&format!("{} more", more.len()), &list(&more)));
        }
    }
    html
}

/// The examples to show, from all over the corpus; those that stand open, and those that do not.
fn spread<'e>(errors: &[&'e EntityError]) -> (Vec<&'e EntityError>, Vec<&'e EntityError>) {
    let shown: Vec<&EntityError> = errors
        .iter()
        .copied()
        .step_by(errors.len().div_ceil(OPEN + FOLDED))
        .collect();
    let stride = shown.len().div_ceil(OPEN).max(1);
    let open = |at: &usize| at.is_multiple_of(stride);
    let pick = |keep: bool| {
        let at = (0..shown.len()).filter(|at| open(at) == keep);
        at.map(|at| shown[at]).collect()
    };
    (pick(true), pick(false))
}

fn list(errors: &[&EntityError]) -> String {
    let mut html = "<ul class=\"examples\">\n".to_owned();
    for error in errors {
        let _ = writeln!(html, "<li>{}</li>", marked(error));
    }
    html.push_str("</ul>\n");
    html
}

/// The words of an error, its gold entity and prediction marked and typed.
fn marked(error: &EntityError) -> String {
    let covers = |shown: &Option<ShownEntity>, word: usize| {
        shown
            .as_ref()
            .is_some_and(|shown| (shown.start..shown.end).contains(&word))
    };
    let state = |word: usize| (covers(&error.gold, word), covers(&error.predicted, word));
    let mut html = String::new();
    if error.cut_before {
        html.push_str("… ");
    }
    let mut start = 0;
    while start < error.words.len() {
        let mut end = start + 1;
        while end < error.words.len() && state(end) == state(start) {
            end += 1;
        }
        let words = escape(&error.words[start..end].join(" "));
        let class = match state(start) {
            (true, true) => Some("gold found"),
            (true, false) => Some("gold"),
            (false, true) => Some("found"),
            (false, false) => None,
        };
        let _ = match class {
            Some(class) => write!(html, "<span class=\"{class}\">{words}</span>"),
            None => write!(html, "{words}"),
        };
        for (shown, class, what) in [
            (&error.gold, "gold", "gold"),
            (&error.predicted, "found", "predicted"),
        ] {
            if let Some(shown) = shown.as_ref().filter(|shown| shown.end == end) {
                let name = escape(&shown.entity_type);
                let _ = write!(html, "<small class=\"{class}\" title=\"{what}\">{name}</small>");
            }
        }
        if end < error.words.len() {
            html.push(' ');
        }
        start = end;
    }
    if error.cut_after {
        html.push_str(" …");
    }
    html
}
