//! Human-readable tables of scores.

use std::fmt::Write as _;

use nerve_tagging::{Evaluation, Prf, Score};

use crate::evaluate::calibration::CalibrationReport;
use crate::evaluate::outside_bias::{OutsideBiasReport, OutsideBiasScore};
use crate::evaluate::spans::SpanScore;

/// A table of scores: a row for each type, then the averages.
pub fn score_table(score: &Score) -> String {
    let mut rows: Vec<(&str, Prf)> = Vec::new();
    rows.extend(
        score
            .types
            .iter()
            .map(|(name, of_type)| (name.as_str(), of_type.entity)),
    );
    rows.push(("micro", score.entity));
    rows.push(("macro", score.macro_average));
    rows.push(("surface", score.surface));
    let mut text = table(&rows);
    let (counts, surface) = (score.counts, score.surface_counts);
    // Writing to a String never fails.
    let _ = writeln!(
        text,
        "entities: {} gold, {} predicted, {} correct; surface forms: {}, {}, {}",
        counts.gold, counts.predicted, counts.correct, surface.gold, surface.predicted, surface.correct
    );
    let _ = writeln!(
        text,
        "token accuracy {:.2} over {} words in {} sentences",
        100.0 * score.token_accuracy,
        score.words,
        score.sentences
    );
    text
}

/// A table of an evaluation; the scores under strict IOB2 follow below.
pub fn evaluation_table(evaluation: &Evaluation) -> String {
    let strict = evaluation.strict.entity;
    format!(
        "{}strict IOB2: precision {:.2}, recall {:.2}, F1 {:.2}\n",
        score_table(&evaluation.score),
        100.0 * strict.precision,
        100.0 * strict.recall,
        100.0 * strict.f1
    )
}

/// A table of span scores: a row for each type, then the average.
pub fn span_table(score: &SpanScore) -> String {
    let mut rows: Vec<(&str, Prf)> = score
        .types
        .iter()
        .map(|(name, prf)| (name.as_str(), *prf))
        .collect();
    rows.push(("micro", score.entity));
    let counts = score.counts;
    format!(
        "{}entities: {} gold, {} predicted, {} correct\n",
        table(&rows),
        counts.gold,
        counts.predicted,
        counts.correct
    )
}

/// A table of a fitted temperature and the calibration metrics without and with it.
pub fn calibration_table(report: &CalibrationReport) -> String {
    let (before, after) = (&report.before, &report.after);
    let rows = [
        ("negative log-likelihood", before.nll, after.nll),
        ("calibration error, words", before.words.ece, after.words.ece),
        (
            "calibration error, entities",
            before.entities.ece,
            after.entities.ece,
        ),
    ];
    let mut text = format!("{:27}  before   after\n", "");
    for (name, before, after) in rows {
        // Writing to a String never fails.
        let _ = writeln!(text, "{name:27}  {before:6.4}  {after:6.4}");
    }
    let _ = writeln!(
        text,
        "temperature {:.4}, fitted to {} words",
        report.temperature, report.words
    );
    text
}

/// A table of the entity scores with each bias of `O`, of which the chosen one has an asterisk.
pub fn outside_bias_table(report: &OutsideBiasReport) -> String {
    let mut text = "bias of O  precision  recall      F1\n".to_owned();
    for (at, OutsideBiasScore { added, score }) in report.scores.iter().enumerate() {
        let mark = if at == report.chosen { " *" } else { "" };
        // Writing to a String never fails.
        let _ = writeln!(
            text,
            "{added:+9}  {:9.2}  {:6.2}  {:6.2}{mark}",
            100.0 * score.precision,
            100.0 * score.recall,
            100.0 * score.f1
        );
    }
    text
}

fn table(rows: &[(&str, Prf)]) -> String {
    let width = rows
        .iter()
        .map(|(name, _)| name.chars().count())
        .max()
        .unwrap_or(0);
    let mut text = format!("{:width$}  precision  recall      F1\n", "");
    for (name, prf) in rows {
        // Writing to a String never fails.
        let _ = writeln!(
            text,
            "{name:width$}  {:9.2}  {:6.2}  {:6.2}",
            100.0 * prf.precision,
            100.0 * prf.recall,
            100.0 * prf.f1
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_align() {
        let prf = Prf {
            precision: 0.5,
            recall: 1.0,
            f1: 2.0 / 3.0,
        };
        let text = table(&[("creative-work", prf), ("x", prf)]);
        let lengths: Vec<usize> = text.lines().map(str::len).collect();
        assert_eq!(lengths, [lengths[0]; 3]);
        assert!(
            text.ends_with("x                  50.00  100.00   66.67\n"),
            "{text}"
        );
    }
}
