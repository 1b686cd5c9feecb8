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

    use nerve_repository::onnx::proto::ModelProto;
    use prost::Message;

    use super::*;

    fn seeds() -> Vec<Vec<u8>> {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/seeds/kernels");
        let entries = std::fs::read_dir(dir).unwrap();
        entries
            .map(|entry| std::fs::read(entry.unwrap().path()).unwrap())
            .collect()
    }

    fn is_recognized(bytes: &[u8]) -> bool {
        run(bytes, InstructionSet::Portable).is_some()
    }

    #[test]
    fn hostile_graphs_are_refused_or_run_with_the_same_bits() {
        let seeds = seeds();
        seeds.iter().for_each(|bytes| kernels(bytes));
        assert!(seeds.iter().filter(|bytes| is_recognized(bytes)).count() > 1);
    }

    /// Numbers that look random, always the same.
    struct Numbers(u64);

    impl Numbers {
        fn below(&mut self, end: usize) -> usize {
            self.0 = self
                .0
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (self.0 >> 33) as usize % end.max(1)
        }

        fn one_of<T: Copy>(&mut self, values: &[T]) -> T {
            values[self.below(values.len())]
        }
    }

    fn mutate(model: &mut ModelProto, numbers: &mut Numbers) {
        let graph = model.graph.as_mut().unwrap();
        let (nodes, constants) = (graph.node.len(), graph.initializer.len());
        let at = numbers.below(nodes);
        let constant = &mut graph.initializer[numbers.below(constants)];
        match numbers.below(12) {
            0..5 => {
                let floats = [0.0, -1.0, 1e-45, 1e-38, 1e38, f32::INFINITY, f32::NAN, 3.5];
                let (elements, _) = constant.raw_data.as_chunks_mut::<4>();
                let count = elements.len();
                if let Some(element) = elements.get_mut(numbers.below(count)) {
                    *element = numbers.one_of(&floats).to_le_bytes();
                }
            }
            5 => {
                let count = constant.raw_data.len();
                let byte = numbers.below(256) as u8;
                if let Some(to) = constant.raw_data.get_mut(numbers.below(count)) {
                    *to = byte;
                }
            }
            6 => {
                let extents = [0, -1, 1, 16, 48, 1 << 20, 1 << 40, i64::MAX, i64::MIN];
                let count = constant.dims.len();
                if let Some(extent) = constant.dims.get_mut(numbers.below(count)) {
                    *extent = numbers.one_of(&extents);
                }
            }
            7 => constant.raw_data.resize(numbers.below(5000), 1),
            8 => {
                let other = graph.node[numbers.below(nodes)].output[0].clone();
                let count = graph.node[at].input.len();
                if let Some(input) = graph.node[at].input.get_mut(numbers.below(count)) {
                    *input = other;
                }
            }
            9 => {
                let node = graph.node[at].clone();
                graph.node.insert(numbers.below(nodes), node);
            }
            10 => {
                graph.node.remove(at);
            }
            _ => {
                for attribute in &mut graph.node[at].attribute {
                    attribute.i = attribute.i.map(|_| numbers.one_of(&[-2, -1, 0, 1, i64::MAX]));
                    attribute.f = attribute.f.map(|_| numbers.one_of(&[-1.0, 0.0, 1e30, f32::NAN]));
                }
            }
        }
    }

    #[test]
    fn changed_graphs_are_refused_or_run_with_the_same_bits() {
        let mut numbers = Numbers(1);
        let models = seeds().into_iter().filter(|bytes| is_recognized(bytes));
        for bytes in models {
            let model = ModelProto::decode(bytes.as_slice()).unwrap();
            let mut recognized = 0;
            for _ in 0..300 {
                let mut model = model.clone();
                (0..=numbers.below(3)).for_each(|_| mutate(&mut model, &mut numbers));
                let bytes = model.encode_to_vec();
                kernels(&bytes);
                recognized += usize::from(is_recognized(&bytes));
            }
            assert!((30..270).contains(&recognized), "{recognized}");
        }
    }
}
