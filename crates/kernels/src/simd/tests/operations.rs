use crate::instructions::InstructionSet;
use crate::linear::{Affine, GROUP, Linear, PackedWeights};
use crate::product::{Store, multiply};
use crate::simd::vector::{LANES, Rows, Simd, Task};

/// The step from one case to the next: few cases under Miri.
const STEP: usize = if cfg!(miri) { 11 } else { 1 };

/// The bits of each operation's results on two vectors. All numbers that are none have the same bits: which ones they have depends on the
/// processor.
struct Operations<'t> {
    a: [f32; LANES],
    b: [f32; LANES],
    results: &'t mut Vec<(&'static str, Vec<u32>)>,
}

fn bits(values: &[f32]) -> Vec<u32> {
    let bits = |value: &f32| match value.is_nan() {
        true => f32::NAN.to_bits(),
        false => value.to_bits(),
    };
    values.iter().map(bits).collect()
}

impl Task for Operations<'_> {
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let (a, b) = (simd.load(&self.a), simd.load(&self.b));
        let vectors = [
            ("splat", simd.splat(self.a[3])),
            ("load", a),
            ("add", simd.add(a, b)),
            ("sub", simd.sub(a, b)),
            ("mul", simd.mul(a, b)),
            ("div", simd.div(a, b)),
            ("mul_add", simd.mul_add(a, b, simd.splat(1.0 + f32::EPSILON))),
            ("max", simd.max(a, b)),
            ("min", simd.min(a, b)),
            ("round", simd.round(a)),
        ];
        for (name, value) in vectors {
            let mut lanes = [0.0; LANES];
            simd.store(value, &mut lanes);
            self.results.push((name, bits(&lanes)));
        }
        self.results.push(("sum", bits(&[simd.sum(a)])));
        self.results.push(("highest", bits(&[simd.highest(a)])));
    }
}

/// The instruction sets of this processor other than portable Rust.
fn others() -> impl Iterator<Item = InstructionSet> {
    InstructionSet::ALL
        .into_iter()
        .filter(|set| *set != InstructionSet::Portable && set.is_available())
}

#[test]
fn every_operation_has_the_same_bits_on_every_instruction_set() {
    const EDGES: [f32; 20] = [
        0.0,
        -0.0,
        0.5,
        -0.5,
        1.5,
        -2.5,
        1.0 + f32::EPSILON,
        3.402_823e38,
        f32::MIN,
        f32::MIN_POSITIVE,
        -1e-40,
        f32::INFINITY,
        f32::NEG_INFINITY,
        f32::NAN,
        8_388_609.0,
        1e-3,
        -7.75,
        100.5,
        101.5,
        -0.1,
    ];
    // The offsets pair every edge with every other one, in vectors with and without numbers that are none.
    for offset in (0..EDGES.len()).step_by(STEP) {
        for start in (0..EDGES.len()).step_by(STEP) {
            let a = std::array::from_fn(|lane| EDGES[(start + lane) % EDGES.len()]);
            let b = std::array::from_fn(|lane| EDGES[(start + offset + lane) % EDGES.len()]);
            let run = |set: InstructionSet| {
                let mut results = Vec::new();
                set.run(Operations {
                    a,
                    b,
                    results: &mut results,
                });
                results
            };
            let expected = run(InstructionSet::Portable);
            for set in others() {
                assert_eq!(run(set), expected, "{} of {a:?} and {b:?}", set.name());
            }
        }
    }
}

/// What [`Operations`] leaves out.
struct Conversions<'t> {
    exponents: [f32; LANES],
    values: [f32; LANES],
    zero: u8,
    results: &'t mut ([f32; LANES], [u8; LANES]),
}

impl Task for Conversions<'_> {
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let (powers, bytes) = self.results;
        simd.store(simd.power_of_two(simd.load(&self.exponents)), powers);
        simd.to_bytes(simd.load(&self.values), self.zero, bytes);
    }
}

#[test]
fn every_instruction_set_converts_exponents_and_bytes_exactly() {
    const EDGES: [f32; 8] = [
        f32::NAN,
        f32::INFINITY,
        f32::NEG_INFINITY,
        3e9,
        -3e9,
        f32::MAX,
        f32::MIN,
        1e-40,
    ];
    for start in (0..=255).step_by(STEP) {
        let at = |lane: usize| (start + 16 * lane) % 256;
        let exponents = std::array::from_fn(|lane| (at(lane) as f32 - 126.0).min(127.0));
        let zero = (start * 7 % 256) as u8;
        let values: [f32; LANES] = std::array::from_fn(|lane| match lane {
            0 => EDGES[start % EDGES.len()],
            _ => at(lane) as f32 * 1.5 - 128.0 + (lane % 5) as f32 / 4.0 - 0.5,
        });
        // Rust converts what is not a number to 0.
        let bytes = values.map(|value| match value.is_nan() {
            true => 0,
            false => (f64::from(value).round_ties_even() + f64::from(zero)) as u8,
        });
        for set in others().chain([InstructionSet::Portable]) {
            let mut results = ([0.0; LANES], [0; LANES]);
            set.run(Conversions {
                exponents,
                values,
                zero,
                results: &mut results,
            });
            let name = set.name();
            assert_eq!(results.0, exponents.map(|n| f64::from(n).exp2() as f32), "{name}");
            assert_eq!(results.1, bytes, "{name}, {values:?} plus {zero}");
        }
    }
}

struct Transpose<'t> {
    rows: [[f32; LANES]; LANES],
    results: &'t mut [[f32; LANES]; LANES],
}

impl Task for Transpose<'_> {
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let mut rows = [simd.splat(0.0); LANES];
        for (row, values) in rows.iter_mut().zip(&self.rows) {
            *row = simd.load(values);
        }
        for (column, values) in simd.transpose(rows).into_iter().zip(self.results) {
            simd.store(column, values);
        }
    }
}

#[test]
fn every_instruction_set_transposes() {
    let rows: [[f32; LANES]; LANES] =
        std::array::from_fn(|row| std::array::from_fn(|column| (100 * row + column) as f32));
    for set in others().chain([InstructionSet::Portable]) {
        let mut results = [[0.0; LANES]; LANES];
        set.run(Transpose {
            rows,
            results: &mut results,
        });
        for (column, values) in results.iter().enumerate() {
            assert_eq!(*values, rows.map(|row| row[column]), "{}", set.name());
        }
    }
}

struct Multiply<'t> {
    rows: Rows<'t>,
    linear: &'t Linear,
    to: &'t mut [f32],
    stride: usize,
}

impl Task for Multiply<'_> {
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Self { to, stride, .. } = self;
        multiply(simd, self.rows, self.linear, &mut Store { to, stride });
    }
}

#[test]
fn products_are_exact_on_every_instruction_set() {
    let counts: &[usize] = if cfg!(miri) {
        &[2]
    } else {
        &[1, 2, 3, 4, 5, 6, 7, 11, 12, 33]
    };
    let widths: &[[usize; 2]] = match cfg!(miri) {
        true => &[[5, 20]],
        false => &[
            [1, 1],
            [3, 16],
            [4, 64],
            [5, 65],
            [20, 48],
            [64, 130],
            [76, 64],
            [130, 80],
            [512, 64],
        ],
    };
    for &[inputs, outputs] in widths {
        let kinds = [(0, false), (128, false), (255, true), (7, true)];
        for (zero_point, extreme) in kinds.into_iter().skip(if cfg!(miri) { 3 } else { 0 }) {
            let number = |at: usize| at.wrapping_mul(2_654_435_761) >> 7;
            let weight: Vec<i8> = (0..inputs * outputs)
                .map(|at| match extreme {
                    true => [64, -64][at % outputs % 2],
                    false => ((number(at) % 129) as i16 - 64) as i8,
                })
                .collect();
            let bias: Vec<i32> = (0..outputs).map(|at| number(at) as i32 % 5000).collect();
            let affine = Affine {
                scale: 0.5,
                zero_point,
            };
            let scales = vec![2.0; outputs];
            let weights = PackedWeights::new(&weight, [inputs, outputs]).unwrap();
            let linear = Linear::new(weights, &scales, &bias, affine).unwrap();
            let (width, stride) = (
                inputs.next_multiple_of(GROUP) + 4,
                outputs.next_multiple_of(LANES),
            );
            for &count in counts {
                let bytes: Vec<u8> = (0..count * width)
                    .map(|at| if extreme { 255 } else { (number(at) % 256) as u8 })
                    .collect();
                let rows = Rows {
                    bytes: &bytes,
                    stride: width,
                    count,
                };
                let expected = |row: usize, column: usize| {
                    let product = |k: usize| {
                        let x = i32::from(bytes[row * width + k]) - i32::from(zero_point);
                        x * i32::from(weight[k * outputs + column])
                    };
                    ((0..inputs).map(product).sum::<i32>() + bias[column]) as f32
                };
                for set in others().chain([InstructionSet::Portable]) {
                    let mut to = vec![f32::NAN; count * stride];
                    let linear = &linear;
                    set.run(Multiply {
                        rows,
                        linear,
                        to: &mut to,
                        stride,
                    });
                    for (row, to) in to.chunks(stride).enumerate() {
                        for (column, &found) in to[..outputs].iter().enumerate() {
                            let name = set.name();
                            let place = format!(
                                "{name}: {inputs} x {outputs}, row {row} of {count}, column {column}"
                            );
                            assert_eq!(found, expected(row, column), "{place}");
                        }
                        assert!(to[outputs..].iter().all(|&padding| padding == 0.0));
                    }
                }
            }
        }
    }
}
