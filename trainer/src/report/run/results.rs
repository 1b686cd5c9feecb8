//! The scores of a run: one table of all splits, one of the entity types.

use maud::Markup;
use nerve_tagging::Prf;

use crate::evaluate::Evaluation;
use crate::report::html::table;
use crate::report::number::format_percent;

/// The scores on each split.
pub(super) fn scores(splits: &[(&str, &Evaluation)]) -> Markup {
    let rows = splits.iter().flat_map(|(split, evaluation)| {
        let score = &evaluation.score;
        let row = |name: &str, prf: Prf| {
            let [precision, recall, f1] = percents(prf);
            [format!("{split}: {name}"), precision, recall, f1]
        };
        [
            row("entities", score.entity),
            row("entities, mean of types", score.macro_average),
            row("entities, strict IOB2", evaluation.strict.entity),
            row("surface forms", score.surface),
            [
                format!("{split}: words with the correct tag"),
                format_percent(score.token_accuracy),
                String::new(),
                String::new(),
            ],
        ]
    });
    table(&["%", "precision", "recall", "F1"], rows)
}

/// The counts and scores of each entity type.
pub(super) fn types(evaluation: &Evaluation) -> Markup {
    let header = [
        "%",
        "gold",
        "predicted",
        "correct",
        "precision",
        "recall",
        "F1",
        "surface F1",
    ];
    let rows = evaluation.score.types.iter().map(|(name, scores)| {
        let counts = scores.counts;
        let [gold, predicted, correct] =
            [counts.gold, counts.predicted, counts.correct].map(|count| count.to_string());
        let [precision, recall, f1] = percents(scores.entity);
        let surface = format_percent(scores.surface.f1);
        [
            name.clone(),
            gold,
            predicted,
            correct,
            precision,
            recall,
            f1,
            surface,
        ]
    });
    table(&header, rows)
}

fn percents(scores: Prf) -> [String; 3] {
    [scores.precision, scores.recall, scores.f1].map(format_percent)
}
