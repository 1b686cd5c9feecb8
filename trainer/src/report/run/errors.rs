//! The errors of a tagger: a confusion matrix, counts by type, and examples with the words around them.

use maud::{Markup, html};

use crate::evaluate::errors::{EntityError, ErrorAnalysis, ErrorKind, ShownEntity};
use crate::report::html::{details, table};

/// Examples of each kind that are shown.
const OPEN: usize = 10;
/// Further examples of each kind that a click shows.
const FOLDED: usize = 60;

const KINDS: [(ErrorKind, &str, &str); 4] = [
    (
        ErrorKind::Missed,
        "Missed",
        "A gold entity that is paired with no prediction.",
    ),
    (
        ErrorKind::Invented,
        "Invented",
        "A prediction that is paired with no gold entity.",
    ),
    (
        ErrorKind::WrongBoundary,
        "Wrong boundary",
        "The type is correct, the first or last word is not.",
    ),
    (
        ErrorKind::WrongType,
        "Wrong type",
        "Found, but with another type.",
    ),
];

/// The confusion matrix, each row shaded by its shares.
pub(super) fn confusion(errors: &ErrorAnalysis) -> Markup {
    let types = || errors.types.iter().map(String::as_str);
    html! {
        p {
            "Gold types are rows, predicted types columns. Each gold entity is paired with at most one prediction that shares a \
             word with it, and counted once; a wrong boundary counts as its type."
        }
        div class="wide" {
            table class="matrix" {
                thead {
                    tr {
                        th scope="col" {}
                        @for name in types().chain(["missed"]) { th scope="col" { (name) } }
                    }
                }
                tbody {
                    @for (row, (name, counts)) in types().chain(["invented"]).zip(&errors.confusion).enumerate() {
                        tr {
                            th scope="row" { (name) }
                            @for (column, &count) in counts.iter().enumerate() {
                                @if row == errors.types.len() && column == row {
                                    // No entity is neither gold nor predicted.
                                    td {}
                                } @else {
                                    td class=[(row == column).then_some("same")] style=(shade(count, counts)) { (count) }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// The background of a cell of the confusion matrix.
fn shade(count: usize, row: &[usize]) -> String {
    let share = count as f64 / row.iter().sum::<usize>().max(1) as f64;
    format!("background:rgba(var(--tint),{:.2})", 0.6 * share)
}

/// The counts of each type, and examples of each kind.
pub(super) fn errors(errors: &ErrorAnalysis) -> Markup {
    let header = [
        "",
        "correct",
        "missed",
        "wrong boundary",
        "predicted as another type",
        "invented",
        "another type predicted as this one",
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
    html! {
        (table(&header, rows))
        p class="legend" {
            "In the examples " span class="gold" { "gold entities are underlined" } " and "
            span class="found" { "predictions shaded" } "."
        }
        @for (kind, name, meaning) in KINDS {
            (examples(name, meaning, &errors.errors.iter().filter(|error| error.kind == kind).collect::<Vec<_>>()))
        }
    }
}

/// The examples of one kind; nothing without errors.
fn examples(name: &str, meaning: &str, errors: &[&EntityError]) -> Markup {
    let (open, folded) = spread(errors);
    html! {
        @if !errors.is_empty() {
            h3 { (name) " (" (errors.len()) ")" }
            p { (meaning) }
            (list(&open))
        }
        @if !folded.is_empty() {
            (details(format!("{} more", folded.len()), &list(&folded)))
        }
    }
}

/// The examples that are shown and those that a click shows, both from all parts of the corpus.
fn spread<'e>(errors: &[&'e EntityError]) -> (Vec<&'e EntityError>, Vec<&'e EntityError>) {
    let shown: Vec<&EntityError> = errors
        .iter()
        .copied()
        .step_by(errors.len().div_ceil(OPEN + FOLDED).max(1))
        .collect();
    let stride = shown.len().div_ceil(OPEN).max(1);
    let open = |at: &usize| at.is_multiple_of(stride);
    let pick = |keep: bool| {
        let at = (0..shown.len()).filter(|at| open(at) == keep);
        at.map(|at| shown[at]).collect()
    };
    (pick(true), pick(false))
}

fn list(errors: &[&EntityError]) -> Markup {
    html! {
        ul class="examples" {
            @for error in errors { li { (marked(error)) } }
        }
    }
}

/// The words of an error with its gold entity and its prediction marked and typed.
pub(crate) fn marked(error: &EntityError) -> Markup {
    let covers = |entity: &Option<ShownEntity>, word: usize| {
        entity
            .as_ref()
            .is_some_and(|entity| (entity.start..entity.end).contains(&word))
    };
    let class = |word: usize| match (covers(&error.gold, word), covers(&error.predicted, word)) {
        (true, true) => Some("gold found"),
        (true, false) => Some("gold"),
        (false, true) => Some("found"),
        (false, false) => None,
    };
    let entities = [
        (&error.gold, "gold", "gold"),
        (&error.predicted, "found", "predicted"),
    ];
    let indexes: Vec<usize> = (0..error.words.len()).collect();
    html! {
        @if error.cut_before { "… " }
        @for span in indexes.chunk_by(|one, next| class(*one) == class(*next)) {
            @let (start, end) = (span[0], span[0] + span.len());
            @let text = error.words[start..end].join(" ");
            @match class(start) {
                Some(class) => span class=(class) { (text) },
                None => (text),
            }
            @for (entity, class, title) in entities {
                @if let Some(entity) = entity.as_ref().filter(|entity| entity.end == end) {
                    small class=(class) title=(title) { (entity.entity_type) }
                }
            }
            @if end < error.words.len() { " " }
        }
        @if error.cut_after { " …" }
    }
}
