//! Helpers for the tests of the operators: gradients are compared with finite differences.

use candle_core::{Device, Result, Shape, Tensor, Var};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::ops::weights::WeightGradients;

/// A tensor of pseudo-random numbers in [-1, 1).
pub(crate) fn random(shape: impl Into<Shape>, seed: u64) -> Tensor {
    let shape = shape.into();
    let mut generator = StdRng::seed_from_u64(seed);
    let values: Vec<f32> = (0..shape.elem_count())
        .map(|_| generator.random_range(-1.0..1.0))
        .collect();
    Tensor::from_vec(values, shape, &Device::Cpu).unwrap()
}

fn flat(tensor: &Tensor) -> Vec<f32> {
    tensor.flatten_all().unwrap().to_vec1().unwrap()
}

pub(crate) fn assert_close(a: &Tensor, b: &Tensor, tolerance: f32) {
    assert_eq!(a.shape(), b.shape());
    for (at, (a, b)) in flat(a).into_iter().zip(flat(b)).enumerate() {
        assert!((a - b).abs() <= tolerance, "element {at}: {a} and {b}");
    }
}

/// Asserts that the gradients of a randomly weighted sum of the operator's output equal its central differences.
pub(crate) fn assert_gradients(inputs: &[Tensor], operator: impl Fn(&[Tensor]) -> Result<Tensor>) {
    assert_gradients_in(&WeightGradients::default(), inputs, operator);
}

/// The same as [`assert_gradients`], for an operator that stores weight gradients in a [`WeightGradients`].
pub(crate) fn assert_gradients_in(
    weight_gradients: &WeightGradients,
    inputs: &[Tensor],
    operator: impl Fn(&[Tensor]) -> Result<Tensor>,
) {
    const STEP: f32 = 1e-2;
    let vars: Vec<Var> = inputs.iter().map(|t| Var::from_tensor(t).unwrap()).collect();
    let tensors: Vec<Tensor> = vars.iter().map(|v| v.as_tensor().clone()).collect();
    let y = operator(&tensors).unwrap();
    let weights = random(y.shape().clone(), 99);
    let gradients = (&y * &weights).unwrap().sum_all().unwrap().backward().unwrap();
    let value = |inputs: &[Tensor]| -> f64 {
        let y = flat(&operator(inputs).unwrap());
        y.iter()
            .zip(flat(&weights))
            .map(|(y, w)| f64::from(*y) * f64::from(w))
            .sum()
    };
    for (index, input) in inputs.iter().enumerate() {
        let kept = weight_gradients.take(&tensors[index]);
        let found = flat(kept.as_ref().or(gradients.get(&tensors[index])).unwrap());
        let elements = flat(input);
        for at in 0..elements.len() {
            let moved = |by: f32| {
                let mut elements = elements.clone();
                elements[at] += by;
                let mut inputs = inputs.to_vec();
                inputs[index] = Tensor::from_vec(elements, input.shape(), &Device::Cpu).unwrap();
                value(&inputs)
            };
            let expected = (moved(STEP) - moved(-STEP)) / f64::from(2.0 * STEP);
            let error = (f64::from(found[at]) - expected).abs();
            assert!(
                error < 2e-3 * (1.0 + expected.abs()),
                "input {index}, element {at}: gradient {}, difference {expected}",
                found[at]
            );
        }
    }
}
