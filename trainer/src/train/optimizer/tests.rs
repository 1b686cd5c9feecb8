use super::*;
use crate::model::parameters::WORD_EMBEDDINGS;
use candle_core::{Device, Tensor};

const RATE: f64 = 0.01;
const DECAY: f64 = 0.1;

fn tensor(values: &[f32], rows: usize) -> Tensor {
    Tensor::from_vec(values.to_vec(), (rows, values.len() / rows), &Device::Cpu).unwrap()
}

fn gradients(dense: [&[f32]; 2], ids: &[u32], rows: &[f32]) -> Gradients {
    Gradients {
        loss: 0.0,
        predicted: None,
        dense: vec![Some(tensor(dense[0], 1)), None, Some(tensor(dense[1], 1))],
        word_ids: ids.to_vec(),
        word_rows: Some(tensor(rows, ids.len())),
    }
}

fn parameters() -> Parameters {
    Parameters::new(
        [
            ("a.weight".to_owned(), vec![1, 2], vec![1.0, -2.0]),
            (WORD_EMBEDDINGS.to_owned(), vec![3, 1], vec![1.0, 2.0, 3.0]),
            ("z.bias".to_owned(), vec![1, 1], vec![4.0]),
        ],
        &Device::Cpu,
    )
    .unwrap()
}

fn optimizer(parameters: &Parameters, rule: UpdateRule) -> Optimizer {
    let plan = |name: &str| ParameterPlan::new(name, 0, 1.0, 1.0);
    Optimizer::new(parameters, plan, rule, DECAY, 2).unwrap()
}

/// Makes two steps: one with two shards, one with two accumulated batches and the gradient clipped to half.
fn two_steps(optimizer: &mut Optimizer) {
    first_step(optimizer);
    second_step(optimizer);
}

fn first_step(optimizer: &mut Optimizer) {
    let shards = [
        gradients([&[0.1, 0.2], &[1.0]], &[2, 2], &[0.25, 0.25]),
        gradients([&[0.2, 0.0], &[2.0]], &[2], &[0.5]),
    ];
    let norm = optimizer.accumulate(&shards).unwrap();
    assert!((norm - (0.09f64 + 0.04 + 9.0 + 1.0).sqrt()).abs() < 1e-6);
    optimizer.step(RATE, 1.0).unwrap();
}

fn second_step(optimizer: &mut Optimizer) {
    for part in [
        gradients([&[-0.25, 1.0], &[0.5]], &[0], &[1.5]),
        gradients([&[-0.75, 0.0], &[0.0]], &[0], &[0.5]),
    ] {
        optimizer.accumulate(&[part]).unwrap();
    }
    optimizer.step(RATE, 0.5).unwrap();
}

fn assert_moved(parameters: &Parameters, reference: impl Fn(f64, [f64; 2], f64) -> f64) {
    let expected = [
        (
            "a.weight",
            vec![
                reference(1.0, [0.3, -0.5], DECAY),
                reference(-2.0, [0.2, 0.5], DECAY),
            ],
        ),
        (
            WORD_EMBEDDINGS,
            vec![
                reference(1.0, [0.0, 1.0], DECAY),
                reference(2.0, [0.0, 0.0], DECAY),
                reference(3.0, [1.0, 0.0], DECAY),
            ],
        ),
        ("z.bias", vec![reference(4.0, [3.0, 0.25], 0.0)]),
    ];
    for (name, expected) in expected {
        for (found, expected) in elements(parameters, name).iter().zip(expected) {
            assert!(
                (f64::from(*found) - expected).abs() < 1e-6,
                "{name}: {found} {expected}"
            );
        }
    }
}

fn elements(parameters: &Parameters, name: &str) -> Vec<f32> {
    let var = parameters.get(name).unwrap();
    var.flatten_all().unwrap().to_vec1().unwrap()
}

#[test]
fn adamw_is_the_papers_update_with_exemptions_and_rows() {
    let parameters = parameters();
    two_steps(&mut optimizer(&parameters, UpdateRule::AdamW));
    assert_moved(&parameters, |mut w, gradients, decay| {
        let (mut m, mut v) = (0.0, 0.0);
        for (step, g) in (1..).zip(gradients) {
            m = 0.9 * m + 0.1 * g;
            v = 0.999 * v + 0.001 * g * g;
            let (m_hat, v_hat): (f64, f64) = (m / (1.0 - 0.9f64.powi(step)), v / (1.0 - 0.999f64.powi(step)));
            w -= RATE * decay * w + RATE * m_hat / (v_hat.sqrt() + 1e-8);
        }
        w
    });
}

#[test]
fn sgd_is_pytorchs_with_and_without_momentum() {
    for (momentum, nesterov) in [(0.0, false), (0.9, false), (0.9, true)] {
        let parameters = parameters();
        two_steps(&mut optimizer(
            &parameters,
            UpdateRule::Sgd { momentum, nesterov },
        ));
        assert_moved(&parameters, |mut w, gradients, decay| {
            let mut buffer = 0.0;
            for g in gradients {
                let g = g + decay * w;
                buffer = momentum * buffer + g;
                w -= RATE * if nesterov { g + momentum * buffer } else { buffer };
            }
            w
        });
    }
}

#[test]
fn restored_moments_go_on_to_the_last_bit() {
    for rule in [
        UpdateRule::AdamW,
        UpdateRule::Sgd {
            momentum: 0.9,
            nesterov: true,
        },
    ] {
        let whole = parameters();
        two_steps(&mut optimizer(&whole, rule));
        let parted = parameters();
        let mut first = optimizer(&parted, rule);
        first_step(&mut first);
        let moments = first.moments().unwrap();
        let mut second = optimizer(&parted, rule);
        assert_eq!(second.restore(first.steps(), moments).unwrap(), None);
        second_step(&mut second);
        for (name, _) in whole.iter() {
            assert_eq!(elements(&whole, name), elements(&parted, name), "{name}");
        }
        let missing = second.restore(1, Moments::new()).unwrap().unwrap();
        assert!(missing.starts_with("a.weight."), "{missing}");
    }
}

#[test]
fn a_frozen_parameter_stays_as_it_is() {
    let mut parameters = parameters();
    parameters.freeze(|name| name == WORD_EMBEDDINGS);
    let mut optimizer = optimizer(&parameters, UpdateRule::AdamW);
    let mut part = gradients([&[1.0, 1.0], &[1.0]], &[0], &[1.0]);
    part.word_rows = None;
    optimizer.accumulate(&[part]).unwrap();
    optimizer.step(RATE, 1.0).unwrap();
    assert_eq!(elements(&parameters, WORD_EMBEDDINGS), [1.0, 2.0, 3.0]);
    assert_ne!(elements(&parameters, "a.weight"), [1.0, -2.0]);
}

/// Runs the update for other devices on the CPU.
#[test]
fn the_update_of_tensors_is_that_of_slices() {
    let rules: [&dyn super::update::Update; 4] = [
        &adamw::Update::new(3, RATE, DECAY, 0.5),
        &sgd::Update::new(RATE, DECAY, 0.5, 0.0, false),
        &sgd::Update::new(RATE, DECAY, 0.5, 0.9, false),
        &sgd::Update::new(RATE, DECAY, 0.5, 0.9, true),
    ];
    for (rule, count) in rules.into_iter().zip([2, 0, 1, 1]) {
        let random = |seed| crate::ops::check::random(9, seed);
        let (weights, gradient) = (random(1), random(2));
        let mut moments: Vec<Tensor> = (0..count).map(|at| random(3 + at).sqr().unwrap()).collect();
        let elements = |tensor: &Tensor| tensor.to_vec1::<f32>().unwrap();
        let mut slices: Vec<Vec<f32>> = moments.iter().map(elements).collect();
        let moved = rule.apply_tensors(&weights, &gradient, &mut moments).unwrap();
        let mut expected = elements(&weights);
        let mut parts: Vec<&mut [f32]> = slices.iter_mut().map(Vec::as_mut_slice).collect();
        rule.apply(&mut expected, &elements(&gradient), &mut parts);
        let close = |found: &[f32], expected: &[f32]| {
            let apart = found.iter().zip(expected).map(|(a, b)| (a - b).abs());
            assert!(apart.fold(0.0, f32::max) < 1e-6);
        };
        close(&elements(&moved), &expected);
        for (moment, expected) in moments.iter().zip(&slices) {
            close(&elements(moment), expected);
        }
    }
}

/// Runs the state for other devices on the CPU.
#[test]
fn the_state_of_another_device_has_the_norm_and_the_weights_of_the_cpus() {
    let (on_cpu, elsewhere) = (parameters(), parameters());
    let mut reference = optimizer(&on_cpu, UpdateRule::AdamW);
    let shards = [
        gradients([&[0.1, 0.2], &[1.0]], &[2, 2], &[0.25, 0.25]),
        gradients([&[0.2, 0.0], &[2.0]], &[2], &[0.5]),
    ];
    let norm = reference.accumulate(&shards).unwrap();
    let mut states: Vec<_> = elsewhere
        .iter()
        .map(|(name, var)| (name, var, super::on_device::OnDevice::new(var, 2).unwrap()))
        .collect();
    let squares = states
        .iter_mut()
        .enumerate()
        .map(|(index, (name, var, state))| state.accumulate(name, index, var, &shards).unwrap())
        .collect();
    let found = super::squared_norm::total(squares).unwrap().sqrt();
    assert!((norm - found).abs() < 1e-6, "{norm} {found}");
    reference.step(RATE, 0.5).unwrap();
    for (name, var, state) in &mut states {
        let decay = if name.ends_with(".bias") { 0.0 } else { DECAY };
        let update = adamw::Update::new(1, RATE, decay, 0.5);
        state.apply(var, &update).unwrap();
        for (a, b) in elements(&on_cpu, name).iter().zip(elements(&elsewhere, name)) {
            assert!((a - b).abs() < 1e-6, "{name}: {a} {b}");
        }
    }
}

#[test]
fn a_skipped_step_leaves_weights_and_moments_and_does_not_count_as_an_update() {
    for rule in [
        UpdateRule::AdamW,
        UpdateRule::Sgd {
            momentum: 0.9,
            nesterov: true,
        },
    ] {
        let (with_skipped, without) = (parameters(), parameters());
        let mut skipping = optimizer(&with_skipped, rule);
        let infinite = gradients([&[f32::INFINITY, 0.2], &[f32::NAN]], &[1], &[f32::INFINITY]);
        assert!(!skipping.accumulate(&[infinite]).unwrap().is_finite());
        skipping.skip_step();
        for (name, var) in parameters().iter() {
            assert_eq!(
                elements(&with_skipped, name),
                var.flatten_all().unwrap().to_vec1::<f32>().unwrap()
            );
        }
        two_steps(&mut skipping);
        let mut reference = optimizer(&without, rule);
        two_steps(&mut reference);
        assert_eq!((skipping.steps(), reference.steps()), (3, 2));
        assert_eq!(skipping.moments().unwrap(), reference.moments().unwrap());
        for (name, _) in parameters().iter() {
            assert_eq!(elements(&with_skipped, name), elements(&without, name), "{name}");
        }
    }
}
