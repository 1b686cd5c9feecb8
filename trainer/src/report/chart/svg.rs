//! The pieces all charts are drawn with.

use std::fmt::Write;

use crate::report::html::escape;

/// Width of every chart in its own units: about a phone's, so that text stays readable when it is shown there.
pub(super) const WIDTH: f64 = 480.0;
/// Height of a line of legend or label.
pub(super) const ROW: f64 = 18.0;
/// Room kept free at the left and right edges.
pub(super) const EDGE: f64 = 8.0;

/// Hues of the series, in an order whose neighbours stay apart for colour-blind readers, on white.
const COLOURS: [&str; 8] = [
    "#2a78d6", "#eb6834", "#1baf7a", "#eda100", "#e87ba4", "#008300", "#4a3aa7", "#e34948",
];

/// The colour of the series at `index`, as the page sets it.
pub(super) fn colour(index: usize) -> String {
    let index = index % COLOURS.len();
    format!("var(--series-{},{})", index + 1, COLOURS[index])
}

/// The dashes that tell a series from the earlier one of the same colour.
pub(super) fn dashes(index: usize) -> &'static str {
    match index / COLOURS.len() {
        0 => "",
        1 => "stroke-dasharray:6 3;",
        _ => "stroke-dasharray:2 3;",
    }
}

/// A drawing that grows.
pub(super) struct Canvas {
    body: String,
}

/// Where a text stands relative to its point.
#[derive(Clone, Copy)]
pub(super) enum Anchor {
    Start,
    Middle,
    End,
}

impl Canvas {
    pub(super) fn new() -> Self {
        Self { body: String::new() }
    }

    /// Adds markup as it is.
    pub(super) fn raw(&mut self, markup: &str) {
        self.body.push_str(markup);
    }

    /// Adds quiet text: labels and ticks.
    pub(super) fn text(&mut self, x: f64, y: f64, anchor: Anchor, text: &str) {
        let anchor = match anchor {
            Anchor::Start => "start",
            Anchor::Middle => "middle",
            Anchor::End => "end",
        };
        let text = escape(text);
        // Writing to a string cannot fail.
        let _ = write!(
            self.body,
            r#"<text x="{x:.1}" y="{y:.1}" text-anchor="{anchor}" style="fill:var(--muted,#52514e)">{text}</text>"#
        );
    }

    /// Adds the chart's title.
    pub(super) fn title(&mut self, text: &str) {
        let text = escape(text);
        let _ = write!(
            self.body,
            r#"<text x="{EDGE:.1}" y="18.0" font-weight="600" style="fill:var(--ink,#0b0b0b)">{text}</text>"#
        );
    }

    /// Adds a straight line of the grid, or of an axis if it is `strong`.
    pub(super) fn rule(&mut self, from: (f64, f64), to: (f64, f64), strong: bool) {
        let colour = if strong {
            "var(--axis,#8a8984)"
        } else {
            "var(--grid,#e4e3df)"
        };
        let ((x1, y1), (x2, y2)) = (from, to);
        let _ = write!(
            self.body,
            r#"<line x1="{x1:.1}" y1="{y1:.1}" x2="{x2:.1}" y2="{y2:.1}" style="stroke:{colour};stroke-width:1"/>"#
        );
    }

    /// Adds a legend that starts at `top`, wrapped to the width, and yields the height it took.
    pub(super) fn legend<'a>(&mut self, top: f64, names: impl Iterator<Item = (usize, &'a str)>) -> f64 {
        let (mut x, mut y) = (EDGE, top);
        for (index, name) in names {
            let width = 24.0 + text_width(name) + 14.0;
            if x > EDGE && x + width > WIDTH - EDGE {
                x = EDGE;
                y += ROW;
            }
            let _ = write!(
                self.body,
                r#"<line x1="{x:.1}" y1="{0:.1}" x2="{1:.1}" y2="{0:.1}" style="stroke:{2};stroke-width:3;{3}"/>"#,
                y + 8.0,
                x + 18.0,
                colour(index),
                dashes(index)
            );
            self.text(x + 24.0, y + 12.0, Anchor::Start, name);
            x += width;
        }
        y + ROW - top
    }

    /// The finished drawing, `title` its name to screen readers.
    pub(super) fn finish(self, title: &str, height: f64) -> String {
        format!(
            r#"<svg class="chart" xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH:.0} {height:.0}" role="img" aria-label="{}" font-family="system-ui,sans-serif" font-size="12">{}</svg>"#,
            escape(title),
            self.body
        )
    }
}

/// About how wide a text is: no font is at hand to ask.
pub(super) fn text_width(text: &str) -> f64 {
    text.chars().count() as f64 * 6.6
}

/// A text cut to a width, its end marked.
pub(super) fn cut(text: &str, width: f64) -> String {
    if text_width(text) <= width {
        return text.to_owned();
    }
    let keep = (width / 6.6) as usize;
    let mut cut: String = text.chars().take(keep.saturating_sub(1)).collect();
    cut.push('…');
    cut
}
