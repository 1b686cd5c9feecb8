use super::*;
use candle_core::{Device, Var};

const LABELS: [u32; 3] = [0, 2, 1];
const WEIGHTS: [f32; 3] = [0.5, 2.0, 3.0];
const CROSS_ENTROPY: f64 = 1.0669905;
const WEIGHTED: f64 = 1.07569729;
const SMOOTH: f64 = 1.12532383;
const SMOOTH_WEIGHTED: f64 = 1.09528115;

fn logits() -> Var {
    let rows = [[1.0f32, -0.5, 0.25], [0.0, 0.5, 2.0], [-1.0, 0.75, 3.0]];
    Var::from_tensor(&Tensor::new(&rows, &Device::Cpu).unwrap()).unwrap()
}

fn of(function: LossFunction, weights: Option<Vec<f32>>) -> Loss {
    Loss {
        function,
        weights,
        soft: None,
    }
}

fn targets() -> Targets {
    Targets {
        labels: LABELS.to_vec(),
        ..Targets::default()
    }
}

fn value(function: LossFunction, weights: Option<Vec<f32>>) -> f64 {
    let loss = of(function, weights);
    let sum = loss.sum(logits().as_tensor(), &targets(), None).unwrap();
    f64::from(sum.to_scalar::<f32>().unwrap()) / loss.weight(LABELS.into_iter())
}

/// The expected values are from PyTorch: `torch.nn.functional.cross_entropy(logits, labels, weight=,
/// label_smoothing=)`.
#[test]
fn cross_entropy_is_pytorchs() {
    let plain = LossFunction::CrossEntropy { smoothing: 0.0 };
    let smooth = LossFunction::CrossEntropy { smoothing: 0.1 };
    for (function, weights, expected) in [
        (plain, None, CROSS_ENTROPY),
        (plain, Some(WEIGHTS.to_vec()), WEIGHTED),
        (smooth, None, SMOOTH),
        (smooth, Some(WEIGHTS.to_vec()), SMOOTH_WEIGHTED),
    ] {
        let found = value(function, weights);
        assert!((found - expected).abs() < 1e-6, "{found} {expected}");
    }
}

#[test]
fn focal_without_exponent_is_cross_entropy_and_with_one_is_less() {
    let focal = |gamma| value(LossFunction::Focal { gamma }, Some(WEIGHTS.to_vec()));
    assert!((focal(0.0) - WEIGHTED).abs() < 1e-6);
    assert!(focal(2.0) < focal(1.0) && focal(1.0) < focal(0.0));
}

#[test]
fn l1_is_the_distance_of_every_logit_from_the_index() {
    let rows = [1.0 + 0.5 + 0.25, 2.0 + 1.5 + 0.0, 2.0 + 0.25 + 2.0];
    let expected = rows.iter().sum::<f64>() / 3.0;
    assert!((value(LossFunction::L1, None) - expected).abs() < 1e-6);
}

#[test]
fn a_logit_that_is_nan_makes_the_loss_nan() {
    for function in [
        LossFunction::CrossEntropy { smoothing: 0.0 },
        LossFunction::CrossEntropy { smoothing: 0.1 },
        LossFunction::Focal { gamma: 2.0 },
        LossFunction::L1,
    ] {
        let loss = of(function, None);
        let logits = Tensor::new(&[[0.5f32, f32::NAN, 0.0]], &Device::Cpu).unwrap();
        let targets = Targets {
            labels: vec![0],
            ..Targets::default()
        };
        let sum: f32 = loss.sum(&logits, &targets, None).unwrap().to_scalar().unwrap();
        assert!(sum.is_nan(), "{function:?}: {sum}");
    }
}

#[test]
fn every_loss_has_the_gradient_of_its_finite_differences() {
    for function in [
        LossFunction::CrossEntropy { smoothing: 0.2 },
        LossFunction::Focal { gamma: 2.0 },
        LossFunction::L1,
    ] {
        let loss = of(function, Some(WEIGHTS.to_vec()));
        let var = logits();
        let sum = |logits: &Tensor| loss.sum(logits, &targets(), None).unwrap();
        let store = sum(var.as_tensor()).backward().unwrap();
        let gradient: Vec<f32> = store.get(&var).unwrap().flatten_all().unwrap().to_vec1().unwrap();
        let elements: Vec<f32> = var.flatten_all().unwrap().to_vec1().unwrap();
        for at in 0..elements.len() {
            let moved = |by: f32| {
                let mut elements = elements.clone();
                elements[at] += by;
                let moved = Tensor::from_vec(elements, (3, 3), &Device::Cpu).unwrap();
                f64::from(sum(&moved).to_scalar::<f32>().unwrap())
            };
            // L1 is not differentiable at whole numbers. With this step size, only an element that is itself a whole
            // number reaches one.
            let slope = (moved(1e-2) - moved(-1e-2)) / 2e-2;
            let on_kink = function == LossFunction::L1 && elements[at] == LABELS[at / 3] as f32;
            assert!(
                on_kink || (slope - f64::from(gradient[at])).abs() < 2e-3,
                "{function:?} {at}: {slope} {}",
                gradient[at]
            );
        }
    }
}

/// The probabilities of teachers: the second token has none, the third no gold label.
fn taught(function: LossFunction, weights: Option<Vec<f32>>) -> (Loss, Targets) {
    let soft = SoftLoss {
        temperature: 2.0,
        weight: 0.7,
    };
    let loss = Loss {
        soft: Some(soft),
        ..of(function, weights)
    };
    let targets = Targets {
        soft: vec![0.6, 0.3, 0.1, 0.0, 0.0, 0.0, 0.2, 0.2, 0.6],
        is_gold: vec![true, true, false],
        ..targets()
    };
    (loss, targets)
}

/// The expected values are from PyTorch, in f64: the sum over the tokens of `cross_entropy(..., reduction="none")`, times
/// 0.3, 1 and 0, and of `0.7 * 2**2 * kl_div(log_softmax(logits / 2), teachers, reduction="none")`, times the weight of the
/// token's label. The gradients are those of autograd.
#[test]
fn the_loss_against_teachers_and_its_gradient_are_pytorchs() {
    let plain = LossFunction::CrossEntropy { smoothing: 0.0 };
    let smooth = LossFunction::CrossEntropy { smoothing: 0.1 };
    let third = [-0.15022535, 0.03131320, 0.11891215];
    let third_weighted = third.map(|slope| 2.0 * slope);
    let two = |first: [f64; 3], second: [f64; 3], third: [f64; 3]| [first, second, third].concat();
    for (function, weights, expected, slopes) in [
        (
            plain,
            None,
            0.99019826,
            two(
                [-0.31480926, -0.07430721, 0.38911647],
                [0.09962365, 0.16425163, -0.26387528],
                third,
            ),
        ),
        (
            plain,
            Some(WEIGHTS.to_vec()),
            1.48424994,
            two(
                [-0.15740463, -0.03715360, 0.19455824],
                [0.29887094, 0.49275488, -0.79162583],
                third_weighted,
            ),
        ),
        (
            smooth,
            None,
            1.12936493,
            two(
                [-0.29480926, -0.08430721, 0.37911647],
                [0.06629031, 0.13091829, -0.19720861],
                third,
            ),
        ),
        (
            smooth,
            Some(WEIGHTS.to_vec()),
            1.65546080,
            two(
                [-0.12381272, -0.05188954, 0.17570226],
                [0.27058152, 0.40692553, -0.67750704],
                third_weighted,
            ),
        ),
    ] {
        let (loss, targets) = taught(function, weights);
        let var = logits();
        let sum = loss.sum(var.as_tensor(), &targets, None).unwrap();
        let found = f64::from(sum.to_scalar::<f32>().unwrap());
        assert!((found - expected).abs() < 2e-6, "{found} {expected}");
        let store = sum.backward().unwrap();
        let gradient: Vec<f32> = store.get(&var).unwrap().flatten_all().unwrap().to_vec1().unwrap();
        for (found, expected) in gradient.iter().zip(&slopes) {
            assert!(
                (f64::from(*found) - expected).abs() < 2e-6,
                "{gradient:?} {slopes:?}"
            );
        }
    }
}

#[test]
fn the_gold_part_of_every_loss_counts_as_the_teachers_leave_it() {
    let sum = |loss: &Loss, targets: &Targets| {
        let sum = loss.sum(logits().as_tensor(), targets, None).unwrap();
        f64::from(sum.to_scalar::<f32>().unwrap())
    };
    for function in [
        LossFunction::CrossEntropy { smoothing: 0.0 },
        LossFunction::Focal { gamma: 2.0 },
        LossFunction::L1,
    ] {
        let (loss, targets) = taught(function, Some(WEIGHTS.to_vec()));
        let of_one = |token: usize| {
            let alone = Targets {
                labels: vec![LABELS[token]],
                ..Targets::default()
            };
            let row = logits().get(token).unwrap().unsqueeze(0).unwrap();
            let sum = loss.sum(&row, &alone, None).unwrap().to_scalar::<f32>().unwrap();
            f64::from(sum)
        };
        let unlabeled = Targets {
            is_gold: vec![false; 3],
            ..targets.clone()
        };
        let soft = sum(&loss, &unlabeled);
        let expected = 0.3 * of_one(0) + of_one(1) + soft;
        let found = sum(&loss, &targets);
        assert!(
            (found - expected).abs() < 1e-5,
            "{function:?}: {found} {expected}"
        );
        // Without teachers' distributions, nothing differs from a loss without teachers, to the last bit.
        let without = of(function, Some(WEIGHTS.to_vec()));
        assert_eq!(sum(&loss, &self::targets()), sum(&without, &self::targets()));
    }
}

#[test]
fn weights_are_read_written_and_resolved() {
    let labels = LabelSet::iob2(["x"]).unwrap();
    let named: ClassWeights = "O=0.5, I-x=2".parse().unwrap();
    assert_eq!(named.to_string().parse::<ClassWeights>().unwrap(), named);
    assert_eq!(named.resolve(&labels, &[]).unwrap(), [0.5, 1.0, 2.0]);
    let unknown: ClassWeights = "B-y=1".parse().unwrap();
    assert_eq!(unknown.resolve(&labels, &[]).unwrap_err(), "B-y");
    for wrong in ["", "O", "O=x", "O=-1", "O=inf", "O=NaN"] {
        assert!(wrong.parse::<ClassWeights>().is_err(), "{wrong}");
    }
    let twice = "O=1,I-x=2,O=3".parse::<ClassWeights>();
    assert_eq!(twice, Err(ClassWeightsError::Repeated("O".to_owned())));
    let balanced = ClassWeights::Balanced.resolve(&labels, &[6, 2, 0]).unwrap();
    assert_eq!(balanced, [8.0 / 12.0, 2.0, 1.0]);
}
