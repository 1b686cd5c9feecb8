//! Gradients with rounded factors, with a scaled loss and with gradient checkpointing, as a GPU computes them, on the CPU.

use nerve_repository::Family;

use super::tests::{batch, mean_of_tokens, other_deberta_options, tiny_albert, tiny_of, tiny_with};
use super::*;
use crate::ops::multiplier::Multiplier;
use crate::ops::precision::Precision;

fn of(tagger: &BertTagger, loss: &StepLoss<'_>) -> Gradients {
    let (batch, targets) = batch();
    gradients(tagger, &batch, &targets, loss, Dropout::seeded(3)).unwrap()
}

/// The gradients of all parameters and of the word embeddings, where there are any.
fn all(gradients: &Gradients) -> Vec<Option<Vec<f32>>> {
    let tensors = gradients.dense.iter().chain([&gradients.word_rows]);
    let elements = |tensor: &Tensor| tensor.flatten_all().unwrap().to_vec1().unwrap();
    tensors.map(|tensor| tensor.as_ref().map(elements)).collect()
}

fn bits(gradients: &Gradients) -> Vec<Option<Vec<u32>>> {
    let of_tensor = |elements: Vec<f32>| elements.into_iter().map(f32::to_bits).collect();
    all(gradients)
        .into_iter()
        .map(|tensor| tensor.map(of_tensor))
        .collect()
}

/// The norm of the difference of gradients, divided by their norm.
fn distance(exact: &Gradients, found: &Gradients) -> f64 {
    let (mut apart, mut whole) = (0.0, 0.0);
    for (exact, found) in all(exact).into_iter().zip(all(found)) {
        let (exact, found) = (exact.unwrap_or_default(), found.unwrap_or_default());
        assert_eq!(exact.len(), found.len());
        for (exact, found) in exact.into_iter().zip(found) {
            apart += f64::from(exact - found).powi(2);
            whole += f64::from(exact).powi(2);
        }
    }
    (apart / whole).sqrt()
}

fn taggers() -> Vec<BertTagger> {
    let families = Family::ALL.into_iter().map(tiny_of);
    let others = other_deberta_options().into_iter().chain([1, 2].map(tiny_albert));
    families.chain(others.map(tiny_with)).collect()
}

#[test]
fn checkpointed_gradients_are_the_same_to_the_last_bit() {
    let multipliers = [Multiplier::default(), Multiplier::composed(Precision::Bf16)];
    for multiplier in multipliers {
        for tagger in taggers() {
            let tagger = tagger.with_multiplier(multiplier);
            let family = tagger.config().family;
            let expected = of(&tagger, &mean_of_tokens());
            let tagger = tagger.with_gradient_checkpointing(true);
            let found = of(&tagger, &mean_of_tokens());
            assert_eq!(found.loss.to_bits(), expected.loss.to_bits(), "{family:?}");
            assert!(bits(&found) == bits(&expected), "{family:?} {multiplier:?}");
        }
    }
}

#[test]
fn checkpointed_layers_learn_above_frozen_ones() {
    for family in [Family::Bert, Family::DebertaV2, Family::ModernBert] {
        let is_below = |name: &str| name.contains(".embeddings.") || name.contains(".layer.0.");
        let tagger = tiny_of(family).frozen(is_below).unwrap();
        let expected = of(&tagger, &mean_of_tokens());
        let tagger = tagger.with_gradient_checkpointing(true);
        let found = of(&tagger, &mean_of_tokens());
        assert!(found.word_rows.is_none());
        assert!(bits(&found) == bits(&expected), "{family:?}");
    }
}

#[test]
fn rounded_factors_change_losses_and_gradients_little() {
    for (precision, tolerance) in [(Precision::Bf16, 0.05), (Precision::Fp16, 0.01)] {
        for tagger in taggers() {
            let family = tagger.config().family;
            let exact = of(&tagger, &mean_of_tokens());
            let rounded = tagger.with_multiplier(Multiplier::composed(precision));
            let rounded = of(&rounded, &mean_of_tokens());
            let apart = (exact.loss - rounded.loss).abs();
            assert!(
                apart > 0.0 && apart < 0.01 * exact.loss,
                "{family:?} {precision:?}: {apart}"
            );
            let apart = distance(&exact, &rounded);
            assert!(
                apart > 0.0 && apart < tolerance,
                "{family:?} {precision:?}: {apart}"
            );
        }
    }
}

#[test]
fn the_scale_of_the_loss_multiplies_gradients_and_leaves_the_loss() {
    let scaled = StepLoss {
        scale: 65536.0,
        ..mean_of_tokens()
    };
    let tagger = tiny_of(Family::Bert);
    let (whole, scaled_gradients) = (of(&tagger, &mean_of_tokens()), of(&tagger, &scaled));
    assert_eq!(scaled_gradients.loss, whole.loss);
    for (one, scaled) in all(&whole).into_iter().zip(all(&scaled_gradients)) {
        let expected: Option<Vec<f32>> = one.map(|one| one.into_iter().map(|x| x * 65536.0).collect());
        assert_eq!(scaled, expected);
    }
    // Without a scale, gradients below 6e-8 are 0 in fp16.
    let tagger = tagger.with_multiplier(Multiplier::composed(Precision::Fp16));
    let faint = |scale| StepLoss {
        weight: 4e8,
        scale,
        ..mean_of_tokens()
    };
    let (lost, kept) = (of(&tagger, &faint(1.0)), of(&tagger, &faint(65536.0)));
    let zeros = |gradients: &Gradients| {
        all(gradients)
            .iter()
            .flatten()
            .flatten()
            .filter(|x| **x == 0.0)
            .count()
    };
    assert!(
        zeros(&lost) > 2 * zeros(&kept),
        "{} {}",
        zeros(&lost),
        zeros(&kept)
    );
}

#[test]
fn a_loss_that_overflows_fp16_has_infinite_gradients() {
    let tagger = tiny_of(Family::Bert).with_multiplier(Multiplier::composed(Precision::Fp16));
    let huge = StepLoss {
        scale: 1e9,
        ..mean_of_tokens()
    };
    let found = of(&tagger, &huge);
    assert!(found.loss.is_finite());
    assert!(all(&found).iter().flatten().flatten().any(|x| !x.is_finite()));
}
