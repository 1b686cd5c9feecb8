use super::*;
use crate::ops::check::{assert_close, assert_gradients, random};
use crate::ops::dropout::Dropout;
use crate::ops::rotary::Rotary;
use candle_core::{D, Var};
use nerve_repository::rotary::rotations;

fn f32() -> Multiplier {
    Multiplier::default()
}

fn heads(theta: f64, positions: usize, reach: Option<usize>) -> RotaryHeads {
    RotaryHeads {
        heads: 2,
        rotary: Arc::new(Rotary::new(theta, 4, positions)),
        reach,
    }
}

/// The attention of one sequence by its definition, with all of its scores.
fn by_definition(qkv: &Tensor, theta: f64, reach: Option<usize>) -> Tensor {
    let length = qkv.dim(0).unwrap();
    let (cosines, sines) = rotations(theta, 4, length);
    let table = |values: Vec<f32>| Tensor::from_vec(values, (1, length, 2), qkv.device()).unwrap();
    let (cosines, sines) = (table(cosines), table(sines));
    let part = |at: usize| {
        let part = qkv.narrow(1, at * 8, 8).unwrap().reshape((length, 2, 4)).unwrap();
        part.transpose(0, 1).unwrap().contiguous().unwrap()
    };
    let turned = |x: Tensor| {
        let (a, b) = (x.narrow(2, 0, 2).unwrap(), x.narrow(2, 2, 2).unwrap());
        let first = (a.broadcast_mul(&cosines).unwrap() - b.broadcast_mul(&sines).unwrap()).unwrap();
        let second = (b.broadcast_mul(&cosines).unwrap() + a.broadcast_mul(&sines).unwrap()).unwrap();
        Tensor::cat(&[first, second], 2).unwrap()
    };
    let (q, k, v) = (turned(part(0)), turned(part(1)), part(2));
    let scores = (q.matmul(&k.t().unwrap()).unwrap() * 0.5).unwrap();
    let far = |query: usize, key: usize| reach.is_some_and(|reach| query.abs_diff(key) > reach);
    let outside: Vec<f32> = (0..length * length)
        .map(|at| {
            if far(at / length, at % length) {
                f32::NEG_INFINITY
            } else {
                0.0
            }
        })
        .collect();
    let outside = Tensor::from_vec(outside, (1, length, length), qkv.device()).unwrap();
    let weights = candle_nn::ops::softmax(&scores.broadcast_add(&outside).unwrap(), D::Minus1).unwrap();
    let out = weights.matmul(&v).unwrap().transpose(0, 1).unwrap();
    out.contiguous().unwrap().reshape((length, 8)).unwrap()
}

#[test]
fn sequences_attend_to_their_windows_alone() {
    // Shorter and longer than a block and its window; the second sequence is empty.
    let cu_seqlens: Arc<[usize]> = Arc::from([0, 5, 5, 155, 156]);
    let qkv = random((156, 24), 1);
    for reach in [None, Some(0), Some(3), Some(70), Some(usize::MAX)] {
        let found = rotary_attention(&qkv, &cu_seqlens, &heads(10.0, 150, reach), None, f32()).unwrap();
        for pair in cu_seqlens.windows(2).filter(|pair| pair[0] < pair[1]) {
            let part = |x: &Tensor| x.narrow(0, pair[0], pair[1] - pair[0]).unwrap();
            assert_close(&part(&found), &by_definition(&part(&qkv), 10.0, reach), 2e-6);
        }
    }
}

#[test]
fn gradients_with_and_without_dropout() {
    let cu_seqlens: Arc<[usize]> = Arc::from([0, 3, 10]);
    for reach in [None, Some(2)] {
        for p in [0.0, 0.3] {
            let mask = || Dropout::seeded(5).next(p);
            let inputs = [random((10, 24), 1)];
            assert_gradients(&inputs, |x| {
                rotary_attention(&x[0], &cu_seqlens, &heads(10.0, 7, reach), mask(), f32())
            });
            assert_gradients(&inputs, |x| {
                plain::rotary_attention(&x[0], &cu_seqlens, &heads(10.0, 7, reach), mask(), f32())
            });
        }
    }
}

#[test]
fn long_sequences_have_the_values_and_gradients_of_plain_operators() {
    let cu_seqlens: Arc<[usize]> = Arc::from([0, 70, 250]);
    let (qkv, weights) = (random((250, 24), 1), random((250, 8), 2));
    for (reach, p) in [(None, 0.0), (None, 0.3), (Some(20), 0.0), (Some(20), 0.3)] {
        let run = |is_plain: bool| {
            let leaf = Var::from_tensor(&qkv).unwrap();
            let mask = Dropout::seeded(5).next(p);
            let heads = heads(1000.0, 180, reach);
            let y = match is_plain {
                true => plain::rotary_attention(&leaf, &cu_seqlens, &heads, mask, f32()),
                false => rotary_attention(&leaf, &cu_seqlens, &heads, mask, f32()),
            };
            let y = y.unwrap();
            let loss = (&y * &weights).unwrap().sum_all().unwrap();
            (y, loss.backward().unwrap().remove(&leaf).unwrap())
        };
        let (found, expected) = (run(false), run(true));
        assert_close(&found.0, &expected.0, 1e-5);
        assert_close(&found.1, &expected.1, 2e-5);
    }
}

#[test]
fn shapes_must_fit() {
    let qkv = random((5, 24), 1);
    let run = |qkv: &Tensor, cu_seqlens: &[usize], positions| {
        rotary_attention(
            qkv,
            &Arc::from(cu_seqlens),
            &heads(10.0, positions, None),
            None,
            f32(),
        )
    };
    assert!(run(&qkv, &[0, 5], 5).is_ok());
    assert!(run(&qkv, &[0, 5], 4).is_err());
    assert!(run(&qkv, &[0, 4], 5).is_err());
    assert!(run(&random((5, 23), 1), &[0, 5], 5).is_err());
}
