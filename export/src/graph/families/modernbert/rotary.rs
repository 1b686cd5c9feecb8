//! Rotary positions (Su et al. 2021, *RoFormer*).

use nerve_repository::ModernBert;
use nerve_repository::rotary::rotations;

use crate::graph::writer::{INPUTS, Writer};
use crate::onnx::builder::Attribute;

/// The names of the factors by which the pairs of all tokens are rotated: the cosines, `[.., 1, 1, pairs]`, and the sines of both
/// numbers of a pair, `[.., 1, 2, pairs]`, those of the first negative.
pub(super) struct Rotations {
    cosines: String,
    sines: String,
}

impl Rotations {
    /// The rotations of layers that attend to the whole sequence, and of layers that attend to a window.
    ///
    /// Tables by position are gathered once for all layers. Real tokens are counted from 1; only padding before the first of them
    /// reads row 0.
    pub(super) fn write(writer: &mut Writer<'_>, own: &ModernBert) -> [Self; 2] {
        let config = &writer.checkpoint.config;
        let (head, positions) = (config.head_size(), config.max_length());
        let (heads, pairs) = (config.num_attention_heads as i64, head as i64 / 2);
        let shape: &[i64] = match writer.is_half() {
            true => &[0, 0, heads, 2, pairs],
            false => &[-1, heads, 2, pairs],
        };
        writer.graph.i64s("rotary.shape", shape);
        writer.graph.i64s("rotary.exchanged", &[1, 0]);
        writer.graph.i64s("rotary.length_axis", &[1]);
        let count = [INPUTS[1], "rotary.length_axis"];
        let mut counted = writer.graph.op("CumSum", &count, &[], "rotary.counted");
        if writer.is_padding_free() {
            counted = writer.packed(&counted, "rotary.packed");
        } else if writer.is_of_rows() {
            writer.graph.i64s("rotary.flat", &[-1]);
            let flat = [counted.as_str(), "rotary.flat"];
            counted = writer.graph.op("Reshape", &flat, &[], "rotary.rows");
        }
        [("global", own.global_theta), ("local", own.local_theta)].map(|(name, theta)| {
            let (cosines, sines) = rotations(theta, head, positions);
            let pairs = head / 2;
            // Row 0 is that of the first position.
            let first = |rows: &[f32]| rows[..pairs].to_vec();
            let cosines = [first(&cosines), cosines].concat();
            let sines = [first(&sines), sines].concat();
            let signed: Vec<f32> = sines
                .chunks_exact(pairs)
                .flat_map(|row| row.iter().map(|sine| -sine).chain(row.iter().copied()))
                .collect();
            let table = format!("rotary.{name}.cosine_table");
            writer.graph.f32s(&table, &[positions + 1, 1, 1, pairs], &cosines);
            let cosines = writer.rows_of(&table, &counted, &format!("rotary.{name}.cosines"));
            let table = format!("rotary.{name}.sine_table");
            writer.graph.f32s(&table, &[positions + 1, 1, 2, pairs], &signed);
            let sines = writer.rows_of(&table, &counted, &format!("rotary.{name}.sines"));
            Self { cosines, sines }
        })
    }
}

impl Writer<'_> {
    /// Queries or keys with their heads rotated, in f32 also in half precision, as `[.., heads, 2, pairs]`.
    pub(super) fn rotated(&mut self, rows: &str, rotations: &Rotations) -> String {
        let name = |part: &str| format!("{rows}.{part}");
        let floats = self.as_f32(rows);
        let pairs = self
            .graph
            .op("Reshape", &[&floats, "rotary.shape"], &[], &name("pairs"));
        let axis = [("axis", Attribute::Int(-2))];
        let exchanged = self
            .graph
            .op("Gather", &[&pairs, "rotary.exchanged"], &axis, &name("exchanged"));
        let along = self
            .graph
            .op("Mul", &[&pairs, &rotations.cosines], &[], &name("along"));
        let across = self
            .graph
            .op("Mul", &[&exchanged, &rotations.sines], &[], &name("across"));
        let rotated = self.graph.op("Add", &[&along, &across], &[], &name("rotated"));
        self.as_operand(&rotated)
    }
}
