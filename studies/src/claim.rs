//! The conclusions of a study and whether scores confirm them.

use serde::{Deserialize, Serialize};

/// A conclusion: one variant is better than others, or as good as they are.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Claim {
    /// The conclusion in words.
    pub text: String,
    /// The better variant, by its id; `ID@E` after epoch E, else after the last.
    pub better: String,
    /// The worse variants.
    pub worse: Vec<String>,
    /// Whether the claim is that there is no difference.
    #[serde(default)]
    pub alike: bool,
}

/// Whether scores confirm a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The better variant is ahead of every other by more than the margin; or none is, if the claim is no difference.
    Holds,
    /// One of the others is ahead by more than the margin; or either is, if the claim is no difference.
    Refuted,
    /// The scores are too close.
    Undecided,
    /// No variant finds any entity.
    NothingFound,
    /// A variant of the claim was not trained from this start.
    NotRun,
}

impl Claim {
    /// The variants of the claim, with their epochs.
    pub(super) fn points(&self) -> impl Iterator<Item = &str> {
        std::iter::once(self.better.as_str()).chain(self.worse.iter().map(String::as_str))
    }
}

/// The id of a variant and the epoch, if one is named.
pub(super) fn split(point: &str) -> (&str, Option<usize>) {
    let parts = point.rsplit_once('@');
    let parsed = parts.and_then(|(id, epoch)| Some((id, epoch.parse().ok()?)));
    parsed.map_or((point, None), |(id, epoch)| (id, Some(epoch)))
}

/// Whether a claim holds, by the scores that `score` yields for a variant and an epoch. Differences of up to `margin` are
/// undecided.
pub fn judge(claim: &Claim, margin: f64, score: impl Fn(&str, Option<usize>) -> Option<f64>) -> Verdict {
    let scores: Option<Vec<f64>> = claim
        .points()
        .map(|point| {
            let (id, epoch) = split(point);
            score(id, epoch)
        })
        .collect();
    let Some([better, worse @ ..]) = scores.as_deref() else {
        return Verdict::NotRun;
    };
    if *better == 0.0 && worse.iter().all(|&worse| worse == 0.0) {
        Verdict::NothingFound
    } else if claim.alike {
        match worse.iter().all(|worse| (better - worse).abs() <= margin) {
            true => Verdict::Holds,
            false => Verdict::Refuted,
        }
    } else if worse.iter().any(|worse| worse - better > margin) {
        Verdict::Refuted
    } else if worse.iter().all(|worse| better - worse > margin) {
        Verdict::Holds
    } else {
        Verdict::Undecided
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(better: &str, worse: &[&str]) -> Verdict {
        judged(better, worse, false)
    }

    fn judged(better: &str, worse: &[&str], alike: bool) -> Verdict {
        let claim = Claim {
            text: String::new(),
            better: better.to_owned(),
            worse: worse.iter().map(|&id| id.to_owned()).collect(),
            alike,
        };
        judge(&claim, 0.01, |id, epoch| match (id, epoch) {
            ("a", None) => Some(0.5),
            ("a", Some(1)) => Some(0.3),
            ("b", None) => Some(0.495),
            ("none", _) => Some(0.0),
            _ => None,
        })
    }

    #[test]
    fn a_verdict_needs_more_than_the_margin() {
        for (better, worse, expected) in [
            ("a", &["a@1", "none"] as &[&str], Verdict::Holds),
            ("a@1", &["a"], Verdict::Refuted),
            ("a", &["b"], Verdict::Undecided),
            ("a", &["a@1", "b"], Verdict::Undecided),
            ("b", &["a", "a@1"], Verdict::Undecided),
            ("none", &["none"], Verdict::NothingFound),
            ("a", &["missing"], Verdict::NotRun),
            ("a@7", &["a"], Verdict::NotRun),
        ] {
            assert_eq!(verdict(better, worse), expected, "{better} {worse:?}");
        }
    }

    #[test]
    fn what_is_to_be_alike_must_be_within_the_margin() {
        assert_eq!(judged("a", &["b"], true), Verdict::Holds);
        assert_eq!(judged("a", &["b", "a@1"], true), Verdict::Refuted);
        assert_eq!(judged("a@1", &["a"], true), Verdict::Refuted);
        assert_eq!(judged("none", &["none"], true), Verdict::NothingFound);
    }
}
