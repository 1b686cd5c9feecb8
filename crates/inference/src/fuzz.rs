//! What `fuzz/` runs on hostile graphs.

use nerve_kernels::{Arena, InstructionSet, Sequences};

use crate::encoder::replace_encoder;

/// Replaces the encoder of a graph and runs it on a few tokens. Every instruction set must give the same bits.
pub fn kernels(bytes: &[u8]) {
    let Some(expected) = run(bytes, InstructionSet::Portable) else {
        return;
    };
    for set in InstructionSet::ALL.into_iter().filter(|set| set.is_available()) {
        let found = run(bytes, set);
        assert!(
            found.as_ref() == Some(&expected),
            "{} gives other bits",
            set.name()
        );
    }
}

/// The bits of the outputs, if the encoder is recognized. What kind of NaN they are does not count.
fn run(bytes: &[u8], instructions: InstructionSet) -> Option<Vec<u32>> {
    let encoder = replace_encoder(bytes.to_vec(), instructions).ok()?.encoder;
    let states: Vec<f32> = (0..5 * encoder.shape().hidden)
        .map(|at| (at % 13) as f32 / 4.0 - 1.5)
        .collect();
    let sequences = Sequences {
        lengths: &[3, 0, 2],
        selected: &[0, 2, 4],
    };
    let mut arena = Arena::default();
    let outputs = encoder.run(&states, sequences, &mut arena).ok()?;
    let canonical = |&x: &f32| if x.is_nan() { f32::NAN } else { x };
    Some(outputs.iter().map(|x| canonical(x).to_bits()).collect())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn hostile_graphs_are_refused_or_run_with_the_same_bits() {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/seeds/kernels");
        let mut recognized = 0;
        for entry in std::fs::read_dir(&dir).unwrap() {
            let bytes = std::fs::read(entry.unwrap().path()).unwrap();
            kernels(&bytes);
            recognized += usize::from(run(&bytes, InstructionSet::Portable).is_some());
        }
        assert!(recognized > 1, "{}", dir.display());
    }
}
