//! A chart of horizontal bars.

use maud::Markup;
use plotters::chart::ChartBuilder;
use plotters::element::{EmptyElement, Rectangle, Text};
use plotters::style::text_anchor::{HPos, Pos, VPos};
use plotters::style::{Color, TRANSPARENT};

use crate::report::chart::figure::{
    AXIS, CHARACTER_WIDTH, Drawing, DrawingError, GRID, INK, MUTED, figure, series_color, text_style,
};
use crate::report::number::format_number;

/// Height of one bar.
const BAR: u32 = 28;
/// Height of the space between groups of bars.
const SPACE: u32 = 14;
/// Height of the axis below the bars.
const AXIS_HEIGHT: u32 = 90;
/// The longest name shown, in characters.
const LONGEST_NAME: usize = 32;

/// The bars of one name.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Bar {
    /// The name, shown at the left.
    pub name: String,
    /// One length of 0 or more for each of the chart's series. One that is not finite is left out.
    pub values: Vec<f64>,
}

/// Horizontal bars from 0, one below the other.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct BarChart {
    /// What the chart shows.
    pub title: String,
    /// What the lengths measure.
    pub x_label: String,
    /// Names of the values that each bar has.
    pub series: Vec<String>,
    /// The bars, from the top.
    pub bars: Vec<Bar>,
}

impl BarChart {
    /// The chart as an HTML figure.
    pub fn figure(&self) -> Markup {
        let series: Vec<&str> = self.series.iter().map(String::as_str).collect();
        let height = self.bars.len() as u32 * (self.series.len() as u32 * BAR + SPACE) + AXIS_HEIGHT;
        figure(&self.title, &series, height, |drawing| self.draw(drawing))
    }

    fn draw(&self, drawing: &Drawing) -> Result<(), DrawingError> {
        let longest = self
            .bars
            .iter()
            .map(|bar| bar.name.chars().count())
            .max()
            .unwrap_or(0);
        let values = self
            .bars
            .iter()
            .flat_map(|bar| &bar.values)
            .copied()
            .filter(|value| value.is_finite());
        let greatest = values.fold(0.0, f64::max);
        let end = if greatest > 0.0 { greatest } else { 1.0 };
        let mut chart = ChartBuilder::on(drawing)
            .margin_right(7 * CHARACTER_WIDTH)
            .x_label_area_size(AXIS_HEIGHT - 10)
            .y_label_area_size(longest.min(LONGEST_NAME) as u32 * CHARACTER_WIDTH + 10)
            .build_cartesian_2d(0.0..end, self.bars.len() as f64..0.0)?;
        chart
            .configure_mesh()
            .disable_y_mesh()
            .y_labels(0)
            .x_labels(5)
            .bold_line_style(GRID.stroke_width(2))
            .light_line_style(TRANSPARENT)
            .axis_style(AXIS.stroke_width(2))
            .label_style(text_style(MUTED))
            .x_label_formatter(&|value| format_number(*value))
            .x_desc(&self.x_label)
            .draw()?;
        let centered = |position: HPos| Pos::new(position, VPos::Center);
        let name_style = text_style(MUTED).pos(centered(HPos::Right));
        let value_style = text_style(INK).pos(centered(HPos::Left));
        // The share of a bar's row that lies above its first value.
        let space = f64::from(SPACE) / f64::from(SPACE + BAR * self.series.len() as u32) / 2.0;
        let thickness = (1.0 - 2.0 * space) / self.series.len() as f64;
        for (row, bar) in self.bars.iter().enumerate() {
            let name = Text::new(shortened(&bar.name), (-10, 0), name_style.clone());
            chart.draw_series([EmptyElement::at((0.0, row as f64 + 0.5)) + name])?;
            for (index, &value) in bar
                .values
                .iter()
                .enumerate()
                .filter(|(_, value)| value.is_finite())
            {
                let top = row as f64 + space + index as f64 * thickness;
                let ends = [(0.0, top), (value, top + thickness)];
                chart.draw_series([Rectangle::new(ends, series_color(index).filled())])?;
                let label = Text::new(format_number(value), (8, 0), value_style.clone());
                chart.draw_series([EmptyElement::at((value, top + thickness / 2.0)) + label])?;
            }
        }
        Ok(())
    }
}

/// A name with its end replaced by an ellipsis where it is too long.
fn shortened(name: &str) -> String {
    match name.char_indices().nth(LONGEST_NAME) {
        Some(_) => name.chars().take(LONGEST_NAME - 1).chain(['…']).collect(),
        None => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_have_their_names_and_values() {
        let bar = |name: &str, value: f64| Bar {
            name: name.to_owned(),
            values: vec![value, 0.3],
        };
        let chart = BarChart {
            title: "F1".to_owned(),
            x_label: "entity F1".to_owned(),
            series: vec!["one".to_owned(), "other".to_owned()],
            bars: vec![bar("a & b", 0.42), bar(&"long ".repeat(20), f64::NAN)],
        };
        let html = chart.figure().into_string();
        assert_eq!(html.matches("<rect").count(), 3);
        for text in [
            "\na &amp; b\n",
            "\n0.42\n",
            "\n0.3\n",
            "\nentity F1\n",
            "other</li>",
            "…\n",
        ] {
            assert!(html.contains(text), "{text}");
        }
        assert!(!html.contains("NaN"));
    }

    #[test]
    fn a_chart_without_bars_is_a_chart() {
        let html = BarChart::default().figure().into_string();
        assert!(html.contains("<svg ") && !html.contains("NaN"));
    }
}
