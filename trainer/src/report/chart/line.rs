//! A chart of lines over common axes.

use std::ops::Range;

use maud::Markup;
use plotters::chart::ChartBuilder;
use plotters::coord::combinators::IntoLogRange;
use plotters::coord::ranged1d::{AsRangedCoord, ValueFormatter};
use plotters::series::LineSeries;
use plotters::style::{Color, TRANSPARENT};

use crate::report::chart::figure::{
    AXIS, Drawing, DrawingError, GRID, MUTED, figure, series_color, text_style,
};
use crate::report::number::format_number;

const HEIGHT: u32 = 540;
/// The magnitudes that an axis shows. The bounds keep differences and logarithms finite.
const MAGNITUDES: Range<f64> = 1e-100..1e100;
/// Stretches that a longer series is divided into, each drawn as its least and its greatest value.
const STRETCHES: usize = 1_000;
/// The longest series whose points are marked.
const MOST_MARKS: usize = 40;

/// One line of a [`LineChart`].
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Series {
    /// Its name in the legend.
    pub name: String,
    /// Its points in drawing order. A point that is not finite interrupts the line.
    pub points: Vec<(f64, f64)>,
    /// Whether the line is thin and pale, in the color of the next series: raw values behind their running mean.
    pub faint: bool,
}

impl Series {
    /// A line of these points.
    pub fn new(name: impl Into<String>, points: Vec<(f64, f64)>) -> Self {
        Self {
            name: name.into(),
            points,
            faint: false,
        }
    }

    /// The same line, thin and pale.
    pub fn faint(mut self) -> Self {
        self.faint = true;
        self
    }
}

/// Lines over common axes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LineChart {
    /// What the chart shows.
    pub title: String,
    /// What the horizontal axis counts.
    pub x_label: String,
    /// What the vertical axis measures.
    pub y_label: String,
    /// The lines.
    pub series: Vec<Series>,
    /// Whether the vertical axis is logarithmic. Values of 0 or less then interrupt their line.
    pub log_y: bool,
    /// Values that the vertical axis always shows, such as `[0.0]` or `[0.0, 1.0]`.
    pub y_includes: Vec<f64>,
}

impl LineChart {
    /// The chart as an HTML figure.
    pub fn figure(&self) -> Markup {
        let legend: Vec<&str> = self
            .series
            .iter()
            .filter(|series| !series.faint)
            .map(|series| series.name.as_str())
            .collect();
        figure(&self.title, &legend, HEIGHT, |drawing| {
            let points = || {
                self.series
                    .iter()
                    .flat_map(|series| &series.points)
                    .filter(|point| self.shows(point))
            };
            let x = spread(points().map(|point| point.0));
            let y = spread(
                points()
                    .map(|point| point.1)
                    .chain(self.y_includes.iter().copied()),
            );
            match self.log_y {
                true => self.draw(drawing, x, decades(y).log_scale()),
                false => self.draw(drawing, x, y),
            }
        })
    }

    fn draw<Y>(&self, drawing: &Drawing, x: Range<f64>, y: Y) -> Result<(), DrawingError>
    where
        Y: AsRangedCoord<Value = f64>,
        Y::CoordDescType: ValueFormatter<f64>,
    {
        let mut chart = ChartBuilder::on(drawing)
            .margin(14)
            .margin_right(30)
            .x_label_area_size(76)
            .y_label_area_size(140)
            .build_cartesian_2d(x, y)?;
        chart
            .configure_mesh()
            .disable_x_mesh()
            .bold_line_style(GRID.stroke_width(2))
            .light_line_style(TRANSPARENT)
            .axis_style(AXIS.stroke_width(2))
            .label_style(text_style(MUTED))
            .x_labels(7)
            .y_labels(6)
            .x_label_formatter(&|value| format_number(*value))
            .y_label_formatter(&|value| format_number(*value))
            .x_desc(&self.x_label)
            .y_desc(&self.y_label)
            .draw()?;
        let mut hue = 0;
        for series in &self.series {
            let style = match series.faint {
                true => series_color(hue).mix(0.3).stroke_width(2),
                false => series_color(hue).filled().stroke_width(4),
            };
            let marked = !series.faint && series.points.len() <= MOST_MARKS;
            for run in series
                .points
                .split(|point| !self.shows(point))
                .filter(|run| !run.is_empty())
            {
                // A point without a neighbor is no line and would be invisible.
                let point_size = if marked || run.len() == 1 { 6 } else { 0 };
                let run = thinned(run, series.points.len());
                chart.draw_series(LineSeries::new(run, style).point_size(point_size))?;
            }
            hue += usize::from(!series.faint);
        }
        Ok(())
    }

    fn shows(&self, &(x, y): &(f64, f64)) -> bool {
        let within = |value: f64| value.abs() < MAGNITUDES.end;
        within(x) && within(y) && (!self.log_y || y > MAGNITUDES.start)
    }
}

/// The range of the values, widened where they are too close together to be divided.
fn spread(values: impl Iterator<Item = f64>) -> Range<f64> {
    let (low, high) = values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| {
        (low.min(value), high.max(value))
    });
    if low > high {
        return 0.0..1.0;
    }
    if high - low > 1e-9 * low.abs().max(high.abs()) {
        return low..high;
    }
    if high == 0.0 {
        return 0.0..1.0;
    }
    let room = 0.1 * high.abs();
    low - room..high + room
}

/// The range widened to powers of ten, and by a little more so that `plotters` labels these powers.
fn decades(range: Range<f64>) -> Range<f64> {
    let power = |exponent: f64| 10_f64.powf(exponent);
    power(range.start.log10().floor() - 1e-6)..power(range.end.log10().ceil() + 1e-6)
}

/// The points of a run, or its least and greatest in each stretch of a long series: a page with all points of a long
/// training would take many megabytes.
fn thinned(run: &[(f64, f64)], series_length: usize) -> Vec<(f64, f64)> {
    let by_value = |one: &&(f64, f64), other: &&(f64, f64)| one.1.total_cmp(&other.1);
    let ends = |stretch: &[(f64, f64)]| {
        let (low, high) = (stretch.iter().min_by(by_value), stretch.iter().max_by(by_value));
        let mut ends: Vec<(f64, f64)> = low.into_iter().chain(high).copied().collect();
        ends.sort_by(|one, other| one.0.total_cmp(&other.0));
        ends.dedup();
        ends
    };
    run.chunks(series_length.div_ceil(STRETCHES).max(1))
        .flat_map(ends)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chart(points: Vec<(f64, f64)>) -> LineChart {
        LineChart {
            title: "Loss & <more>".to_owned(),
            x_label: "step".to_owned(),
            y_label: "loss <y>".to_owned(),
            series: vec![
                Series::new("train \"raw\"", points),
                Series::new("dev", vec![(1.0, 2.0)]),
            ],
            ..LineChart::default()
        }
    }

    fn drawn(chart: &LineChart) -> String {
        chart.figure().into_string()
    }

    #[test]
    fn shows_title_legend_and_axes_with_their_text_escaped() {
        let html = drawn(&chart(vec![(0.0, 1.0), (1.0, 0.5), (2.0, 0.25)]));
        assert!(html.contains("<figcaption>Loss &amp; &lt;more&gt;</figcaption>"));
        assert!(html.contains("train &quot;raw&quot;") && html.contains("loss &lt;y&gt;"));
        for tick in ["\n0.5\n", "\n1\n", "\n2\n"] {
            assert!(html.contains(tick), "{tick}");
        }
        assert_eq!(html.matches("<svg ").count(), 1);
    }

    #[test]
    fn colors_are_the_pages_variables() {
        let html = drawn(&chart(vec![(0.0, 1.0), (1.0, 0.5)]));
        assert!(html.contains("stroke=\"var(--series-1)\"") && html.contains("fill=\"var(--series-2)\""));
        assert!(!html.contains("=\"#"));
    }

    #[test]
    fn a_value_that_is_not_finite_interrupts_the_line_and_is_not_written() {
        let html = drawn(&chart(vec![
            (0.0, 1.0),
            (1.0, 2.0),
            (2.0, f64::NAN),
            (3.0, f64::INFINITY),
            (4.0, 1.0),
            (5.0, 2.0),
        ]));
        assert!(!html.contains("NaN") && !html.contains("inf"));
        let lines = html
            .matches("stroke=\"var(--series-1)\" stroke-width=\"4\"")
            .count();
        assert_eq!(lines, 2);
    }

    #[test]
    fn any_values_can_be_drawn() {
        let odd = [
            0.0,
            -0.0,
            1.0,
            -1.0,
            1e-300,
            1e-17,
            1e16,
            1e16 + 2.0,
            1e99,
            -1e99,
            f64::MAX,
            f64::MIN,
            f64::NAN,
        ];
        for first in odd {
            for second in odd {
                for log_y in [false, true] {
                    let html = drawn(&LineChart {
                        log_y,
                        ..chart(vec![(first, second), (second, first)])
                    });
                    let far = i32::MAX.to_string();
                    for wrong in ["NaN", "inf", "cannot be drawn", far.as_str()] {
                        assert!(!html.contains(wrong), "{first} {second}: {wrong}");
                    }
                }
            }
        }
        assert!(drawn(&LineChart::default()).contains("<svg "));
    }

    #[test]
    fn a_long_series_keeps_its_peaks_and_gaps() {
        let mut points: Vec<(f64, f64)> = (0..100_000).map(|step| (f64::from(step), 1.0)).collect();
        points[50_000].1 = 9.0;
        let thin = thinned(&points, points.len());
        assert!(thin.len() <= 2 * STRETCHES);
        assert!(thin.contains(&(50_000.0, 9.0)));
        points[70_000].1 = f64::NAN;
        let html = drawn(&LineChart {
            series: vec![Series::new("train", points)],
            ..LineChart::default()
        });
        assert!(html.len() < 40_000);
        assert_eq!(
            html.matches("stroke=\"var(--series-1)\" stroke-width=\"4\"")
                .count(),
            2
        );
    }
}
