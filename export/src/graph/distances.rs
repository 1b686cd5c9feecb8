//! The distances between the tokens of a sequence.

use crate::graph::writer::{INPUTS, Writer};

impl Writer<'_> {
    /// The index of each pair's distance, a key's position less the query's, in a table of the distances from `-longest` to
    /// `longest`: int64 `[1, query, key]`, named `prefix.rows`. Farther distances have the first or last index.
    ///
    /// Positions are counted in a column of ones that is made without a shape, which would be computed on the CPU only.
    pub(super) fn distances(&mut self, prefix: &str, longest: usize) {
        let name = |part: &str| format!("{prefix}.{part}");
        for axis in 0..3 {
            self.graph.i64s(&name(&format!("axis_{axis}")), &[axis]);
        }
        self.graph.i64s(&name("one"), &[1]);
        self.graph.i64s(&name("longest"), &[longest as i64]);
        self.graph.i64_scalar(&name("first_row"), 0);
        self.graph.i64_scalar(&name("last_row"), 2 * longest as i64);

        self.graph.op("Sub", &[INPUTS[1], INPUTS[1]], &[], &name("zeros"));
        let mut plain = |op: &str, inputs: &[&str], output: &str| {
            let inputs: Vec<String> = inputs.iter().map(|input| name(input)).collect();
            let inputs: Vec<&str> = inputs.iter().map(String::as_str).collect();
            self.graph.op(op, &inputs, &[], &name(output));
        };
        plain("ReduceSum", &["zeros", "axis_0"], "zero_row");
        plain("Add", &["zero_row", "one"], "ones");
        plain("CumSum", &["ones", "axis_1"], "positions");
        plain("Unsqueeze", &["positions", "axis_1"], "keys");
        plain("Unsqueeze", &["positions", "axis_2"], "queries");
        plain("Sub", &["keys", "queries"], "distances");
        plain("Add", &["distances", "longest"], "unclipped_rows");
        plain("Clip", &["unclipped_rows", "first_row", "last_row"], "rows");
    }
}
