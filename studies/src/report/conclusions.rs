//! What was concluded, beside the scores that bear it out or not.

use super::percent;
use crate::claim::{Claim, Verdict, judge, split};
use crate::file::{Reported, Study, Variant};
use crate::outcome::StudyOutcome;
use nerve_trainer::report::html::{paragraph, table};

/// The study's claims with what each start's scores say of them, as a table.
pub(super) fn claims(study: &Study, found: &StudyOutcome) -> String {
    let mut header = vec!["conclusion".to_owned()];
    for start in &study.starts {
        header.push(format!("entity F1, from {}", start.name));
        header.push("holds?".to_owned());
    }
    header.push("as reported, padded F1".to_owned());
    let row = |claim: &Claim| {
        let mut cells = vec![claim.text.clone()];
        for start in &study.starts {
            let score = |id: &str, epoch: Option<usize>| {
                let outcome = found.outcome(&start.name, id)?;
                outcome
                    .record(epoch)
                    .map(|record| record.evaluation.dev_entity.f1)
            };
            let verdict = judge(claim, study.margin, score);
            cells.push(compared(claim, score));
            cells.push(verdict_name(verdict).to_owned());
        }
        cells.push(compared(claim, |id, epoch| {
            let variant = study.variants.iter().find(|variant| variant.id == id)?;
            reported(variant, epoch).map(|reported| reported.f1)
        }));
        cells
    };
    let margin = paragraph(&format!(
        "One seed each. Differences of up to {:.1} points decide nothing. Scores are of dev after the last epoch, the \
         claimed better one first.",
        100.0 * study.margin
    ));
    let claims = table(&header, study.claims.iter().map(row));
    format!("<div class=\"claims\">{claims}</div>{margin}")
}

/// The scores of a claim's variants, the better one's first.
fn compared(claim: &Claim, score: impl Fn(&str, Option<usize>) -> Option<f64>) -> String {
    let scores: Vec<String> = claim
        .points()
        .map(|point| {
            let (id, epoch) = split(point);
            score(id, epoch).map_or("–".to_owned(), percent)
        })
        .collect();
    match scores.split_first() {
        Some((better, worse)) => format!("{better} : {}", worse.join(", ")),
        None => String::new(),
    }
}

fn verdict_name(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Holds => "holds",
        Verdict::Refuted => "does not hold",
        Verdict::Undecided => "undecided",
        Verdict::NothingFound => "finds nothing",
        Verdict::NotRun => "not run",
    }
}

/// What was reported after an epoch; after the last one without.
fn reported(variant: &Variant, epoch: Option<usize>) -> Option<&Reported> {
    match epoch {
        Some(epoch) => variant.reported.iter().find(|reported| reported.epoch == epoch),
        None => variant.reported.last(),
    }
}
