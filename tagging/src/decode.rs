//! From a token's logits to a label and how sure it is.

use crate::label::LabelId;

/// A word's label and its probability.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct WordLabel {
    /// The most probable label.
    pub label: LabelId,
    /// Its softmax probability, in (0, 1].
    pub score: f32,
}

/// The most probable label of one row of logits and its softmax probability; the lowest id wins a tie.
///
/// The largest logit is subtracted before exponentiation, so no finite input overflows. `None` for an empty row and for
/// one with a NaN or infinite logit, of which no probability can be stated.
pub fn best_label(logits: &[f32]) -> Option<WordLabel> {
    if logits.iter().any(|logit| !logit.is_finite()) {
        return None;
    }
    let (best, &highest) = logits
        .iter()
        .enumerate()
        .reduce(|best, next| if next.1 > best.1 { next } else { best })?;
    // In f64, so that two logits at opposite ends of f32 do not differ by infinity.
    let total: f64 = logits
        .iter()
        .map(|&logit| (f64::from(logit) - f64::from(highest)).exp())
        .sum();
    Some(WordLabel {
        label: LabelId(best),
        score: (1.0 / total) as f32,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_score_is_the_softmax_probability() {
        let read = best_label(&[1.0, 3.0, 2.0]).unwrap();
        assert_eq!(read.label, LabelId(1));
        assert!((read.score - 0.665_240_96).abs() < 1e-6);
    }

    #[test]
    fn extreme_logits_do_not_overflow() {
        assert_eq!(best_label(&[f32::MIN, f32::MAX]).unwrap().score, 1.0);
        assert_eq!(best_label(&[1e30, 1e30]).unwrap().score, 0.5);
        assert_eq!(best_label(&[1e30, 1e30]).unwrap().label, LabelId(0));
    }

    #[test]
    fn no_label_without_finite_logits() {
        assert_eq!(best_label(&[]), None);
        assert_eq!(best_label(&[0.0, f32::NAN]), None);
        assert_eq!(best_label(&[0.0, f32::INFINITY]), None);
    }
}
