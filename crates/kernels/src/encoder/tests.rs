use proptest::prelude::*;

use super::*;
use crate::arena::Arena;
use crate::linear::{Affine, PackedWeights};
use crate::threads::Threads;

/// Numbers that look random, always the same for a seed.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        self.0 >> 33
    }

    fn float(&mut self) -> f32 {
        (self.next() % 20_001) as f32 / 10_000.0 - 1.0
    }
}

fn linear(numbers: &mut Numbers, [inputs, outputs]: [usize; 2], affine: Affine) -> Linear {
    let weight: Vec<i8> = (0..inputs * outputs)
        .map(|_| (numbers.next() % 127) as i8 - 63)
        .collect();
    let scales: Vec<f32> = (0..outputs)
        .map(|_| 0.02 / (inputs as f32) * (2.0 + numbers.float()))
        .collect();
    let bias: Vec<i32> = (0..outputs)
        .map(|_| numbers.next() as i32 % 2000 - 1000)
        .collect();
    let weights = PackedWeights::new(&weight, [inputs, outputs]).unwrap();
    Linear::new(weights, &scales, &bias, affine).unwrap()
}

fn layer(numbers: &mut Numbers, shape: Shape) -> Layer {
    let Shape { hidden, inner, .. } = shape;
    let input = Affine {
        scale: 0.03,
        zero_point: 128,
    };
    let mixed = Affine {
        scale: 0.01,
        zero_point: 120,
    };
    let activated = Affine {
        scale: 0.02,
        zero_point: 9,
    };
    let mut norm = || {
        Arc::new(Norm {
            weight: (0..hidden).map(|_| 1.0 + numbers.float() / 4.0).collect(),
            bias: (0..hidden).map(|_| numbers.float() / 4.0).collect(),
        })
    };
    let (attention_norm, output_norm) = (norm(), norm());
    Layer {
        projections: linear(numbers, [hidden, 3 * hidden], input),
        output: linear(numbers, [hidden, hidden], mixed),
        widen: linear(numbers, [hidden, inner], input),
        narrow: linear(numbers, [inner, hidden], activated),
        input: input.into(),
        mixed: mixed.into(),
        attended: input.into(),
        activated: activated.into(),
        attention_norm,
        output_norm,
    }
}

/// Biases of distances up to `longest`.
fn position_bias(numbers: &mut Numbers, longest: usize, heads: usize) -> PositionBias {
    let table: Vec<f32> = (0..(2 * longest + 1) * heads)
        .map(|_| 2.0 * numbers.float())
        .collect();
    PositionBias::new(&table, heads).unwrap()
}

fn encoder(seed: u64, shape: Shape, layers: usize, instructions: InstructionSet) -> Encoder {
    let mut numbers = Numbers(seed);
    let layers = (0..layers).map(|_| layer(&mut numbers, shape)).collect();
    let bias = position_bias(&mut numbers, 20, shape.heads);
    let encoder = Encoder::new(shape, layers, instructions).unwrap();
    encoder.with_position_bias(bias).unwrap()
}

/// Small under Miri, which takes seconds for a million multiplications.
const LAYERS: usize = if cfg!(miri) { 1 } else { 3 };
const SHAPE: Shape = Shape {
    hidden: if cfg!(miri) { 32 } else { 128 },
    heads: if cfg!(miri) { 1 } else { 4 },
    inner: if cfg!(miri) { 16 } else { 208 },
    epsilon: 1e-12,
    activation: Activation::Gelu,
};

fn states(seed: u64, tokens: usize, hidden: usize) -> Vec<f32> {
    let mut numbers = Numbers(seed);
    (0..tokens * hidden).map(|_| 2.0 * numbers.float()).collect()
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}

#[test]
fn every_instruction_set_gives_the_same_bits() {
    for (heads, activation) in [
        (SHAPE.heads, Activation::Gelu),
        (SHAPE.heads / 2, Activation::GeluTanh),
        (SHAPE.heads, Activation::Relu),
    ]
    .into_iter()
    .take(LAYERS)
    {
        let shape = Shape {
            heads,
            activation,
            ..SHAPE
        };
        let lengths: &[usize] = if cfg!(miri) {
            &[2, 0, 1]
        } else {
            &[1, 17, 5, 0, 33, 16]
        };
        let tokens = lengths.iter().sum();
        let selected: Vec<usize> = (0..tokens).filter(|at| at % 3 != 1).collect();
        let states = states(7, tokens, shape.hidden);
        let sequences = Sequences {
            lengths,
            selected: &selected,
        };
        let mut results = Vec::new();
        for set in InstructionSet::ALL.into_iter().filter(|set| set.is_available()) {
            let mut arena = Arena::default();
            let encoder = encoder(3, shape, LAYERS, set);
            assert_eq!(encoder.instructions(), set);
            results.push((set, bits(encoder.run(&states, sequences, &mut arena).unwrap())));
        }
        let (_, portable) = results.pop().unwrap();
        assert!(portable.iter().all(|&bits| f32::from_bits(bits).is_finite()));
        for (set, result) in results {
            assert!(result == portable, "{} differs from portable Rust", set.name());
        }
    }
}

#[test]
fn a_sequence_has_the_same_bits_alone() {
    let encoder = encoder(5, SHAPE, LAYERS, InstructionSet::detect().unwrap());
    let lengths = if cfg!(miri) { [1, 1, 2] } else { [40, 3, 120] };
    let tokens = lengths.iter().sum();
    let states = states(9, tokens, SHAPE.hidden);
    let all: Vec<usize> = (0..tokens).collect();
    let mut arena = Arena::default();
    let sequences = Sequences {
        lengths: &lengths,
        selected: &all,
    };
    let mut together = vec![0.0; states.len()];
    encoder
        .run_on(&NewThreads(2), &states, sequences, &mut arena, &mut together)
        .unwrap();
    let together = bits(&together);
    let mut start = 0;
    for length in lengths {
        let part = start * SHAPE.hidden..(start + length) * SHAPE.hidden;
        let selected: Vec<usize> = (0..length).collect();
        let sequences = Sequences {
            lengths: &[length],
            selected: &selected,
        };
        let alone = bits(encoder.run(&states[part.clone()], sequences, &mut arena).unwrap());
        assert!(alone == together[part]);
        start += length;
    }
}

#[test]
fn an_instruction_set_that_is_missing_is_an_error() {
    // No processor has those of x86-64 and of aarch64.
    let missing = InstructionSet::ALL
        .into_iter()
        .find(|set| !set.is_available())
        .unwrap();
    let error = Encoder::new(SHAPE, vec![layer(&mut Numbers(1), SHAPE)], missing).err();
    assert_eq!(error, Some(EncoderError::Instructions(missing)));
}

#[test]
fn what_does_not_fit_is_refused() {
    let encoder = encoder(1, SHAPE, 1, InstructionSet::Portable);
    let mut arena = Arena::default();
    let states = states(1, 3, SHAPE.hidden);
    let run = |lengths: &[usize], selected: &[usize], arena: &mut Arena| {
        encoder
            .run(&states, Sequences { lengths, selected }, arena)
            .map(<[f32]>::len)
    };
    assert_eq!(run(&[3], &[], &mut arena), Ok(0));
    assert!(matches!(
        run(&[4], &[0], &mut arena),
        Err(EncoderError::States { .. })
    ));
    let heads = SHAPE.heads;
    let bias = position_bias(&mut Numbers(1), 3, heads + 1);
    let found = heads + 1;
    let other = Encoder::new(
        SHAPE,
        vec![layer(&mut Numbers(1), SHAPE)],
        InstructionSet::Portable,
    );
    let error = other.unwrap().with_position_bias(bias);
    assert_eq!(error.err(), Some(EncoderError::BiasHeads { found, heads }));
    for selected in [&[3][..], &[1, 1], &[2, 0]] {
        assert_eq!(
            run(&[1, 2], selected, &mut arena),
            Err(EncoderError::Selection { tokens: 3 })
        );
    }
}

/// The numbers of a random encoder and its input.
#[derive(Clone, Copy, Debug)]
enum Range {
    /// As in a trained model.
    Usual,
    /// Quantizers whose steps are so small that nearly all integers are 0 or 255, and weights of at most 64.
    Saturated,
    /// Floats near the largest; products overflow to infinity.
    Huge,
    /// Floats below the smallest normal one.
    Denormal,
    /// Infinities and NaN among usual numbers.
    NotFinite,
}

#[derive(Clone, Debug)]
struct Case {
    shape: Shape,
    layers: usize,
    /// The longest distance with a position bias of its own; none without biases.
    longest: Option<usize>,
    lengths: Vec<usize>,
    /// One token in so many is selected; none if it is 0.
    every: usize,
    range: Range,
    seed: u64,
}

impl Case {
    fn tokens(&self) -> usize {
        self.lengths.iter().sum()
    }

    fn selected(&self) -> Vec<usize> {
        (0..self.tokens())
            .filter(|at| self.every > 0 && (at + self.seed as usize).is_multiple_of(self.every))
            .collect()
    }

    fn affine(&self, numbers: &mut Numbers) -> Affine {
        let scale = match self.range {
            Range::Usual | Range::NotFinite => 0.02 + 0.01 * numbers.float(),
            Range::Saturated => 1e-6,
            Range::Huge => 1e32,
            Range::Denormal => f32::MIN_POSITIVE,
        };
        Affine {
            scale,
            zero_point: numbers.next() as u8,
        }
    }

    /// The quantization with these steps; every second one has factors.
    fn quantization(&self, numbers: &mut Numbers, affine: Affine, width: usize) -> Quantization {
        let is_smoothed = numbers.next().is_multiple_of(2);
        let factors = is_smoothed.then(|| (0..width).map(|_| 1.0 + numbers.float() / 2.0).collect());
        Quantization { affine, factors }
    }

    fn linear(&self, numbers: &mut Numbers, [inputs, outputs]: [usize; 2], input: Affine) -> Linear {
        let weight: Vec<i8> = (0..inputs * outputs)
            .map(|_| match self.range {
                Range::Saturated if numbers.next().is_multiple_of(2) => 64,
                _ => ((numbers.next() % 129) as i16 - 64) as i8,
            })
            .collect();
        let scales: Vec<f32> = (0..outputs)
            .map(|_| {
                let usual = (2.0 + numbers.float()) / inputs as f32;
                match self.range {
                    Range::Usual | Range::NotFinite => 0.02 * usual,
                    Range::Saturated => 1e3 * usual,
                    Range::Huge => 1e4,
                    Range::Denormal => usual,
                }
            })
            .collect();
        let bias: Vec<i32> = (0..outputs)
            .map(|_| (numbers.next() as i32).wrapping_mul(2) % 3000)
            .collect();
        let weights = PackedWeights::new(&weight, [inputs, outputs]).unwrap();
        Linear::new(weights, &scales, &bias, input).unwrap()
    }

    fn encoder(&self, instructions: InstructionSet) -> Encoder {
        let mut numbers = Numbers(self.seed);
        let numbers = &mut numbers;
        let Shape { hidden, inner, .. } = self.shape;
        let norm = |numbers: &mut Numbers| {
            Arc::new(Norm {
                weight: (0..hidden).map(|_| 1.0 + numbers.float()).collect(),
                bias: (0..hidden).map(|_| numbers.float()).collect(),
            })
        };
        let layers = (0..self.layers)
            .map(|_| {
                let [input, mixed, attended, activated] = std::array::from_fn(|_| self.affine(numbers));
                Layer {
                    projections: self.linear(numbers, [hidden, 3 * hidden], input),
                    output: self.linear(numbers, [hidden, hidden], mixed),
                    widen: self.linear(numbers, [hidden, inner], attended),
                    narrow: self.linear(numbers, [inner, hidden], activated),
                    input: self.quantization(numbers, input, hidden),
                    mixed: self.quantization(numbers, mixed, hidden),
                    attended: self.quantization(numbers, attended, hidden),
                    activated: self.quantization(numbers, activated, inner),
                    attention_norm: norm(numbers),
                    output_norm: norm(numbers),
                }
            })
            .collect();
        let encoder = Encoder::new(self.shape, layers, instructions).unwrap();
        match self.longest {
            None => encoder,
            Some(longest) => {
                let bias = position_bias(numbers, longest, self.shape.heads);
                encoder.with_position_bias(bias).unwrap()
            }
        }
    }

    fn states(&self) -> Vec<f32> {
        let mut numbers = Numbers(!self.seed);
        (0..self.tokens() * self.shape.hidden)
            .map(|_| {
                let usual = 3.0 * numbers.float();
                match self.range {
                    Range::Usual | Range::Saturated => usual,
                    Range::Huge => 1e38 * usual,
                    Range::Denormal => f32::MIN_POSITIVE * usual,
                    Range::NotFinite => match numbers.next() % 97 {
                        0 => f32::INFINITY,
                        1 => f32::NEG_INFINITY,
                        2 => f32::NAN,
                        _ => usual,
                    },
                }
            })
            .collect()
    }
}

fn run(encoder: &Encoder, states: &[f32], lengths: &[usize], selected: &[usize]) -> Vec<u32> {
    let sequences = Sequences { lengths, selected };
    run_in(encoder, states, sequences, &mut Arena::default())
}

fn run_in(encoder: &Encoder, states: &[f32], sequences: Sequences, arena: &mut Arena) -> Vec<u32> {
    bits_of_numbers(encoder.run(states, sequences, arena).unwrap())
}

/// The bits of the outputs; the sign and payload of NaN, which IEEE 754 leaves open, do not count.
fn bits_of_numbers(outputs: &[f32]) -> Vec<u32> {
    let canonical = |&x: &f32| if x.is_nan() { f32::NAN } else { x };
    outputs.iter().map(|x| canonical(x).to_bits()).collect()
}

/// A new thread for each part.
struct NewThreads(usize);

// SAFETY: the loop starts one thread for each number.
unsafe impl Threads for NewThreads {
    fn count(&self) -> usize {
        self.0
    }

    fn run(&self, parts: usize, part: &(dyn Fn(usize) + Sync)) -> Result<(), EncoderError> {
        std::thread::scope(|scope| {
            for number in 0..parts {
                scope.spawn(move || part(number));
            }
        });
        Ok(())
    }
}

fn cases() -> impl Strategy<Value = Case> {
    let lengths = prop_oneof![
        4 => prop::collection::vec(0usize..40, 0..6).boxed(),
        1 => (41usize..=512).prop_map(|length| vec![length]).boxed(),
    ];
    let usual = (prop::sample::select(vec![128, 192, 256, 384]), lengths);
    let wide = (
        prop::sample::select(vec![512, 768, 1024]),
        prop::collection::vec(0usize..4, 0..3),
    );
    let sizes = prop_oneof![
        6 => usual.prop_map(|(hidden, lengths)| (if lengths.iter().sum::<usize>() > 150 { 128 } else { hidden }, lengths)),
        1 => wide,
    ];
    let activations = [Activation::Gelu, Activation::GeluTanh, Activation::Relu];
    let ranges = vec![
        Range::Usual,
        Range::Usual,
        Range::Saturated,
        Range::Huge,
        Range::Denormal,
        Range::NotFinite,
    ];
    let kind = (
        prop::sample::select(vec![32, 64]),
        1usize..30,
        prop::sample::select(activations.to_vec()),
        prop::sample::select(vec![1e-12f32, 1e-5]),
        prop::sample::select(ranges),
    );
    let depth = (1usize..3, prop::option::of(0usize..60));
    (sizes, kind, depth, 0usize..4, any::<u64>()).prop_map(
        |((hidden, lengths), (size, inner, activation, epsilon, range), (layers, longest), every, seed)| {
            Case {
                shape: Shape {
                    hidden,
                    heads: hidden / size,
                    inner: 16 * inner,
                    epsilon,
                    activation,
                },
                layers,
                longest,
                lengths,
                every,
                range,
                seed,
            }
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn bits_depend_on_the_sequence_alone(case in cases()) {
        let (states, selected) = (case.states(), case.selected());
        let expected = run(&case.encoder(InstructionSet::Portable), &states, &case.lengths, &selected);
        prop_assert_eq!(expected.len(), selected.len() * case.shape.hidden);
        for set in InstructionSet::ALL.into_iter().filter(|set| set.is_available()) {
            let encoder = case.encoder(set);
            // Buffers of another run must not matter.
            let mut arena = Arena::default();
            let longer = vec![1.5; 50 * case.shape.hidden];
            let sequences = Sequences { lengths: &[50], selected: &[49] };
            encoder.run(&longer, sequences, &mut arena).unwrap();
            let sequences = Sequences { lengths: &case.lengths, selected: &selected };
            let found = run_in(&encoder, &states, sequences, &mut arena);
            prop_assert!(found == expected, "{} differs from portable Rust", set.name());
        }
        let Ok(fastest) = InstructionSet::detect() else { return Ok(()) };
        let encoder = case.encoder(fastest);
        for threads in [2, 3, 7] {
            let mut outputs = vec![0.0; selected.len() * case.shape.hidden];
            let sequences = Sequences { lengths: &case.lengths, selected: &selected };
            encoder.run_on(&NewThreads(threads), &states, sequences, &mut Arena::default(), &mut outputs).unwrap();
            prop_assert!(bits_of_numbers(&outputs) == expected, "{} threads differ from one", threads);
        }
        let (mut start, mut done) = (0, 0);
        for &length in &case.lengths {
            let own: Vec<usize> = selected
                .iter()
                .filter(|&&token| (start..start + length).contains(&token))
                .map(|token| token - start)
                .collect();
            let rows = &states[start * case.shape.hidden..(start + length) * case.shape.hidden];
            let alone = run(&encoder, rows, &[length], &own);
            let together = &expected[done * case.shape.hidden..(done + own.len()) * case.shape.hidden];
            prop_assert!(alone == together, "a sequence of {} tokens differs alone", length);
            start += length;
            done += own.len();
        }
        let all: Vec<usize> = (0..case.tokens()).collect();
        let every = run(&encoder, &states, &case.lengths, &all);
        for (at, &token) in selected.iter().enumerate() {
            let row = |of: &[u32], at: usize| of[at * case.shape.hidden..(at + 1) * case.shape.hidden].to_vec();
            prop_assert!(row(&expected, at) == row(&every, token), "the row of token {} depends on the selection", token);
        }
    }
}

#[test]
fn factors_of_another_width_are_refused() {
    let mut numbers = Numbers(3);
    let shape = Shape {
        hidden: 64,
        heads: 2,
        inner: 128,
        epsilon: 1e-5,
        activation: Activation::Gelu,
    };
    let mut layer = layer(&mut numbers, shape);
    layer.activated.factors = Some(vec![1.0; 64]);
    let error = Encoder::new(shape, vec![layer], InstructionSet::Portable).unwrap_err();
    assert_eq!(
        error.to_string(),
        "layer 0: the factors of the activations: the widths are [64, 128] instead of [128, 128]"
    );
}
