use crate::instructions::InstructionSet;
use crate::simd::{LANES, Simd, Task};

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
        let rows = std::array::from_fn(|row| simd.mul(a, simd.splat(row as f32)));
        let columns = simd.transpose(rows).map(|column| ("transpose", column));
        for (name, value) in vectors.into_iter().chain(columns) {
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
    for offset in (0..EDGES.len()).step_by(if cfg!(miri) { 10 } else { 1 }) {
        for start in (0..EDGES.len()).step_by(if cfg!(miri) { 10 } else { 1 }) {
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

/// What [`Operations`] leaves out, as it holds for some numbers alone.
struct Conversions<'t> {
    exponents: [f32; LANES],
    bytes: [f32; LANES],
    results: &'t mut ([f32; LANES], [u8; LANES]),
}

impl Task for Conversions<'_> {
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let (powers, bytes) = self.results;
        simd.store(simd.power_of_two(simd.load(&self.exponents)), powers);
        simd.to_bytes(simd.load(&self.bytes), bytes);
    }
}

#[test]
fn every_instruction_set_converts_exponents_and_bytes_exactly() {
    for start in (0..=255).step_by(if cfg!(miri) { 50 } else { 1 }) {
        let at = |lane: usize| (start + 16 * lane) % 256;
        let exponents = std::array::from_fn(|lane| (at(lane) as f32 - 126.0).min(127.0));
        let bytes: [f32; LANES] =
            std::array::from_fn(|lane| (at(lane) as f32 + (lane % 5) as f32 / 4.0 - 0.5).clamp(0.0, 255.0));
        for set in others().chain([InstructionSet::Portable]) {
            let mut results = ([0.0; LANES], [0; LANES]);
            set.run(Conversions {
                exponents,
                bytes,
                results: &mut results,
            });
            let name = set.name();
            assert_eq!(results.0, exponents.map(|n| f64::from(n).exp2() as f32), "{name}");
            assert_eq!(
                results.1,
                bytes.map(|byte| byte.round_ties_even() as u8),
                "{name}"
            );
        }
    }
}
