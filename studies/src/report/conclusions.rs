//! The study's conclusions, each beside the scores that support or refute it.

use maud::{Markup, html};

use crate::claim::{Claim, Verdict, judge, split};
use crate::file::{ReportedFigures, Study, Variant};
use crate::outcome::StudyOutcome;
use nerve_trainer::report::format_percent;
use nerve_trainer::report::html::table;

/// A table of the study's claims with the scores and the verdict for each start.
pub(super) fn claims(study: &Study, found: &StudyOutcome) -> Markup {
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
    html! {
        div class="claims" { (table(&header, study.claims.iter().map(row))) }
        p {
            "One seed each. Differences of up to " (format!("{:.1}", 100.0 * study.margin)) " points decide nothing. Scores are \
             on dev after the last epoch, the variant that is claimed to be better first."
        }
    }
}

/// The scores of a claim's variants, the claimed better one first.
fn compared(claim: &Claim, score: impl Fn(&str, Option<usize>) -> Option<f64>) -> String {
    let scores: Vec<String> = claim
        .points()
        .map(|point| {
            let (id, epoch) = split(point);
            score(id, epoch).map_or("–".to_owned(), format_percent)
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

/// The figures that the original study reported after an epoch, or after the last one.
fn reported(variant: &Variant, epoch: Option<usize>) -> Option<&ReportedFigures> {
    match epoch {
        Some(epoch) => variant.reported.iter().find(|reported| reported.epoch == epoch),
        None => variant.reported.last(),
    }
}
