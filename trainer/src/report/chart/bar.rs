//! Lengths beside their names.

use std::fmt::Write;

use super::scale::Scale;
use super::svg::{Anchor, Canvas, EDGE, ROW, WIDTH, colour, cut, text_width};
use crate::report::html::{escape, figure};

/// One bar of a [`BarChart`].
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Bar {
    /// Its name, at its left.
    pub name: String,
    /// One length for each of the chart's series; one that is not finite is left out.
    pub values: Vec<f64>,
    /// Half the length of the whisker around each value; missing or 0 for none.
    pub errors: Vec<f64>,
}

impl Bar {
    /// A bar of one value.
    pub fn new(name: impl Into<String>, value: f64) -> Self {
        Self {
            name: name.into(),
            values: vec![value],
            errors: Vec::new(),
        }
    }

    /// The same with a whisker of `error` to each side.
    pub fn error(mut self, error: f64) -> Self {
        self.errors = vec![error];
        self
    }
}

/// Horizontal bars, one below the other, from 0.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct BarChart {
    /// What it shows.
    pub title: String,
    /// What the lengths measure.
    pub x_label: String,
    /// Names of the values that each bar has; empty where there is one.
    pub series: Vec<String>,
    /// The bars, from the top.
    pub bars: Vec<Bar>,
}

impl BarChart {
    /// The chart as one `<svg>` element.
    pub fn svg(&self) -> String {
        let mut canvas = Canvas::new();
        canvas.title(&self.title);
        let mut top = 32.0;
        if self.series.len() > 1 {
            let names = self.series.iter().map(String::as_str).enumerate();
            top += canvas.legend(top, names) + 4.0;
        }
        let widest = self
            .bars
            .iter()
            .map(|bar| text_width(&bar.name))
            .fold(0.0, f64::max);
        let left = EDGE + widest.min(0.4 * WIDTH) + 8.0;
        let right = WIDTH - 64.0;
        let ends = self.bars.iter().flat_map(|bar| {
            let errors = bar.errors.iter().copied().chain(std::iter::repeat(0.0));
            let pairs = bar.values.iter().zip(errors);
            pairs.flat_map(|(value, error)| [*value, value - error, value + error])
        });
        let x = Scale::new(ends.chain([0.0]), false, true).drawn(left, right);
        let heights: Vec<f64> = self.bars.iter().map(|bar| height(bar) + 8.0).collect();
        let bottom = top + heights.iter().sum::<f64>().max(ROW);
        for (tick, label) in x.ticks() {
            if let Some(at) = x.position(tick) {
                canvas.rule((at, top), (at, bottom), tick == 0.0);
                canvas.text(at, bottom + 15.0, Anchor::Middle, &label);
            }
        }
        canvas.text((left + right) / 2.0, bottom + 33.0, Anchor::Middle, &self.x_label);
        for (bar, height) in self.bars.iter().zip(heights) {
            self.draw(bar, &x, (left, top + 4.0), &mut canvas);
            top += height;
        }
        canvas.finish(&self.title, bottom + 40.0)
    }

    fn draw(&self, bar: &Bar, x: &Scale, (left, top): (f64, f64), canvas: &mut Canvas) {
        let middle = top + height(bar) / 2.0;
        let name = cut(&bar.name, 0.4 * WIDTH);
        canvas.text(left - 8.0, middle + 4.0, Anchor::End, &name);
        let thick = thickness(bar);
        for (index, &value) in bar.values.iter().enumerate() {
            let (Some(zero), Some(end)) = (x.position(0.0), x.position(value)) else {
                continue;
            };
            let y = top + index as f64 * (thick + 2.0);
            let series = self.series.get(index).map_or("", String::as_str);
            let mut markup = String::new();
            // Writing to a string cannot fail.
            let _ = write!(
                markup,
                r#"<rect x="{:.1}" y="{y:.1}" width="{:.1}" height="{thick:.1}" rx="2" style="fill:{}"><title>{} {}: {}</title></rect>"#,
                zero.min(end),
                (end - zero).abs(),
                colour(index),
                escape(&bar.name),
                escape(series),
                figure(value)
            );
            let error = bar.errors.get(index).copied().unwrap_or(0.0).abs();
            let mut reach = end.max(zero);
            let whisker = (x.position(value - error), x.position(value + error));
            if let (Some(low), Some(high)) = whisker
                && error > 0.0
            {
                let y = y + thick / 2.0;
                let _ = write!(
                    markup,
                    r#"<path d="M{low:.1} {y:.1}H{high:.1}M{low:.1} {0:.1}v8M{high:.1} {0:.1}v8" style="stroke:var(--ink,#0b0b0b);stroke-width:1.5;fill:none"/>"#,
                    y - 4.0
                );
                reach = reach.max(high);
            }
            canvas.raw(&markup);
            canvas.text(reach + 5.0, y + thick / 2.0 + 4.0, Anchor::Start, &figure(value));
        }
    }
}

fn thickness(bar: &Bar) -> f64 {
    if bar.values.len() > 1 { 12.0 } else { 16.0 }
}

fn height(bar: &Bar) -> f64 {
    bar.values.len().max(1) as f64 * (thickness(bar) + 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_are_drawn_from_zero_with_their_values_and_whiskers() {
        let chart = BarChart {
            title: "F1".to_owned(),
            x_label: "entity F1".to_owned(),
            bars: vec![
                Bar::new("a & b", 0.42).error(0.01),
                Bar::new("less", -0.2),
                Bar::new("none", f64::NAN),
            ],
            ..BarChart::default()
        };
        let svg = chart.svg();
        assert_eq!(svg.matches("<rect").count(), 2);
        assert_eq!(svg.matches("<path").count(), 1);
        assert!(svg.contains("a &amp; b") && svg.contains(">0.42<") && svg.contains(">-0.2<"));
        assert!(!svg.contains("NaN"));
        assert_eq!(svg, chart.svg());
    }

    #[test]
    fn a_chart_without_bars_is_a_chart() {
        let svg = BarChart::default().svg();
        assert!(svg.starts_with("<svg ") && !svg.contains("NaN") && !svg.contains("inf"));
    }
}
