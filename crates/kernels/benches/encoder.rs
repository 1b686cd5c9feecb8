//! Microseconds per token of an encoder with random weights: `cargo bench --bench encoder -- [hidden] [heads] [layers]`.
#![allow(clippy::expect_used)]

use std::sync::Arc;
use std::time::Instant;

use nerve_kernels::{
    Activation, Affine, Arena, Encoder, InstructionSet, Layer, Linear, Norm, PackedWeights, Sequences, Shape,
};

/// The lengths of a batch: like the WNUT-17 test texts, about 30 tokens on average.
const LENGTHS: [usize; 8] = [28, 29, 30, 30, 31, 31, 32, 33];

fn linear([inputs, outputs]: [usize; 2], affine: Affine) -> Linear {
    let weight: Vec<i8> = (0..inputs * outputs)
        .map(|at| ((at * 7919) % 127) as i8 - 63)
        .collect();
    let weights = PackedWeights::new(&weight, [inputs, outputs]).expect("valid weights");
    Linear::new(weights, &vec![1e-4; outputs], &vec![3; outputs], affine).expect("a valid layer")
}

fn layer(Shape { hidden, inner, .. }: Shape) -> Layer {
    let affine = Affine {
        scale: 0.03,
        zero_point: 128,
    };
    let norm = || {
        Arc::new(Norm {
            weight: vec![1.0; hidden],
            bias: vec![0.1; hidden],
        })
    };
    Layer {
        projections: linear([hidden, 3 * hidden], affine),
        output: linear([hidden, hidden], affine),
        widen: linear([hidden, inner], affine),
        narrow: linear([inner, hidden], affine),
        input: affine.into(),
        mixed: affine.into(),
        attended: affine.into(),
        activated: affine.into(),
        attention_norm: norm(),
        output_norm: norm(),
    }
}

fn main() {
    let given: Vec<usize> = std::env::args()
        .skip(1)
        .filter_map(|text| text.parse().ok())
        .collect();
    let [hidden, heads, layers] = given.try_into().unwrap_or([384, 12, 6]);
    let shape = Shape {
        hidden,
        heads,
        inner: 4 * hidden,
        epsilon: 1e-12,
        activation: Activation::Gelu,
    };
    let set = InstructionSet::detect().expect("a known instruction set");
    {
        let encoder =
            Encoder::new(shape, (0..layers).map(|_| layer(shape)).collect(), set).expect("a valid encoder");
        let mut arena = Arena::default();
        for lengths in [&LENGTHS[..], &LENGTHS[3..4], &[8]] {
            let tokens: usize = lengths.iter().sum();
            let states: Vec<f32> = (0..tokens * hidden)
                .map(|at| (at % 17) as f32 / 8.0 - 1.0)
                .collect();
            let selected: Vec<usize> = (0..tokens).collect();
            let sequences = Sequences {
                lengths,
                selected: &selected,
            };
            let mut best = f64::MAX;
            let began = Instant::now();
            let mut runs = 0;
            while runs < 3 || (began.elapsed().as_secs_f64() < 0.5 && runs < 1000) {
                let run = Instant::now();
                encoder.run(&states, sequences, &mut arena).expect("a run");
                best = best.min(run.elapsed().as_secs_f64());
                runs += 1;
            }
            println!(
                "{:12} {tokens:4} tokens: {:6.1} us per token",
                set.name(),
                best * 1e6 / tokens as f64
            );
        }
    }
}
