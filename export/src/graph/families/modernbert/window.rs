//! The masks of layers with and without a window (Beltagy et al. 2020, *Longformer*).

use nerve_repository::ModernBert;

use crate::graph::attention::MASKED;
use crate::graph::writer::Writer;

impl Writer<'_> {
    /// What is added to attention scores in layers that attend to the whole sequence, and in layers that attend to a window: the
    /// mask, and the mask with that of keys outside the window.
    ///
    /// The window is a table by distance.
    pub(super) fn window_masks(&mut self, own: &ModernBert) -> [String; 2] {
        let longest = self.checkpoint.config.max_length();
        let global = "mask".to_owned();
        // A window as long as the longest sequence masks nothing.
        let Some(reach) = own.window().filter(|reach| *reach < longest) else {
            return [global.clone(), global];
        };
        let outside = reach + 1;
        let mut table = vec![0.0; 2 * outside + 1];
        table[0] = MASKED;
        table[2 * outside] = MASKED;
        self.graph.f32s("window.table", &[table.len()], &table);
        let rows = self.distance_indices("window", outside);
        self.rows_of("window.table", &rows, "window.scores");
        let local = self
            .graph
            .op("Add", &["window.scores", "mask"], &[], "window.mask");
        [global, local]
    }
}
