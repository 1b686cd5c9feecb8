use super::*;

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
    Linear::new(&weight, &scales, &bias, [inputs, outputs], affine).unwrap()
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
    let mut norm = || Norm {
        weight: (0..hidden).map(|_| 1.0 + numbers.float() / 4.0).collect(),
        bias: (0..hidden).map(|_| numbers.float() / 4.0).collect(),
    };
    let (attention_norm, output_norm) = (norm(), norm());
    Layer {
        projections: linear(numbers, [hidden, 3 * hidden], input),
        output: linear(numbers, [hidden, hidden], mixed),
        widen: linear(numbers, [hidden, inner], input),
        narrow: linear(numbers, [inner, hidden], activated),
        input,
        mixed,
        attended: input,
        activated,
        attention_norm,
        output_norm,
    }
}

fn encoder(seed: u64, shape: Shape, layers: usize, instructions: InstructionSet) -> Encoder {
    let mut numbers = Numbers(seed);
    let layers = (0..layers).map(|_| layer(&mut numbers, shape)).collect();
    Encoder::new(shape, layers, instructions).unwrap()
}

/// Small under Miri, which takes seconds for a million multiplications.
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
    ] {
        let shape = Shape {
            heads,
            activation,
            ..SHAPE
        };
        let lengths: &[usize] = if cfg!(miri) {
            &[1, 17, 0]
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
            let encoder = encoder(3, shape, 3, set);
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
    let encoder = encoder(5, SHAPE, 2, InstructionSet::detect().unwrap());
    let lengths = if cfg!(miri) { [4, 3, 18] } else { [40, 3, 120] };
    let tokens = lengths.iter().sum();
    let states = states(9, tokens, SHAPE.hidden);
    let all: Vec<usize> = (0..tokens).collect();
    let mut arena = Arena::default();
    let sequences = Sequences {
        lengths: &lengths,
        selected: &all,
    };
    let together = bits(encoder.run(&states, sequences, &mut arena).unwrap());
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
    for selected in [&[3][..], &[1, 1], &[2, 0]] {
        assert_eq!(
            run(&[1, 2], selected, &mut arena),
            Err(EncoderError::Selection { tokens: 3 })
        );
    }
}
