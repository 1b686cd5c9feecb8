//! Lines over a common axis.

use std::fmt::Write;

use super::scale::Scale;
use super::svg::{Anchor, Canvas, EDGE, ROW, WIDTH, colour, cut, dashes, text_width};
use crate::report::html::{escape, figure};

/// Height of the plotted area.
const PLOT: f64 = 200.0;
/// The longest series drawn point by point: a chart has fewer columns than this.
const MOST_POINTS: usize = 2_000;
/// The longest series whose points are marked.
const MOST_MARKS: usize = 40;

/// One line of a [`LineChart`].
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Series {
    /// Its name in the legend.
    pub name: String,
    /// Its points in drawing order; one that is not finite breaks the line.
    pub points: Vec<(f64, f64)>,
    /// Drawn thin and pale, in the colour of the series after it: the raw values behind a smoothed line.
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

    /// The same, thin and pale.
    pub fn faint(mut self) -> Self {
        self.faint = true;
        self
    }
}

/// Lines over common axes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LineChart {
    /// What it shows.
    pub title: String,
    /// What the horizontal axis counts.
    pub x_label: String,
    /// What the vertical axis measures.
    pub y_label: String,
    /// The lines; one alone has no legend.
    pub series: Vec<Series>,
    /// Whether the horizontal axis is logarithmic; values of 0 or less then break their line.
    pub log_x: bool,
    /// Whether the vertical axis is logarithmic.
    pub log_y: bool,
    /// Values that the vertical axis shows in any case, such as `[0.0]` or `[0.0, 1.0]`.
    pub y_includes: Vec<f64>,
}

impl LineChart {
    /// The chart as one `<svg>` element.
    pub fn svg(&self) -> String {
        let mut canvas = Canvas::new();
        canvas.title(&self.title);
        let mut top = 28.0;
        if self.series.len() > 1 {
            let named = self.series.iter().enumerate().filter(|(_, series)| !series.faint);
            let names = named.map(|(index, series)| (self.hue(index), series.name.as_str()));
            top += canvas.legend(top, names);
        }
        canvas.text(EDGE, top + 12.0, Anchor::Start, &self.y_label);
        top += ROW + 10.0;
        let bottom = top + PLOT;

        let points = || self.series.iter().flat_map(|series| &series.points);
        let ys = points()
            .map(|point| point.1)
            .chain(self.y_includes.iter().copied());
        let y = Scale::new(ys, self.log_y, true).drawn(bottom, top);
        let widest = y.ticks().map(|(_, label)| text_width(&label)).fold(0.0, f64::max);
        let left = EDGE + widest + 6.0;
        let right = WIDTH - 2.0 * EDGE;
        let x = Scale::new(points().map(|point| point.0), self.log_x, false).drawn(left, right);

        for (tick, label) in y.ticks() {
            if let Some(at) = y.position(tick) {
                canvas.rule((left, at), (right, at), false);
                canvas.text(left - 6.0, at + 4.0, Anchor::End, &label);
            }
        }
        canvas.rule((left, bottom), (right, bottom), true);
        for (tick, label) in x.ticks() {
            if let Some(at) = x.position(tick) {
                canvas.rule((at, bottom), (at, bottom + 4.0), true);
                canvas.text(at, bottom + 17.0, Anchor::Middle, &label);
            }
        }
        canvas.text((left + right) / 2.0, bottom + 35.0, Anchor::Middle, &self.x_label);
        for (index, series) in self.series.iter().enumerate() {
            canvas.raw(&draw(series, self.hue(index), &x, &y));
        }
        canvas.finish(&self.title, bottom + 42.0)
    }

    /// Which colour a series has: faint ones borrow that of the series after them.
    fn hue(&self, index: usize) -> usize {
        let before = self.series.iter().take(index);
        before.filter(|series| !series.faint).count()
    }
}

fn draw(series: &Series, hue: usize, x: &Scale, y: &Scale) -> String {
    let points = thinned(&series.points);
    let mut path = String::new();
    let mut marks = String::new();
    let mut open = false;
    let marked = !series.faint && points.len() <= MOST_MARKS;
    for (index, &(px, py)) in points.iter().enumerate() {
        let (Some(at), Some(up)) = (x.position(px), y.position(py)) else {
            open = false;
            continue;
        };
        // Writing to a string cannot fail.
        let _ = write!(path, "{}{at:.1} {up:.1}", if open { 'L' } else { 'M' });
        let continues = points
            .get(index + 1)
            .is_some_and(|next| x.position(next.0).is_some() && y.position(next.1).is_some());
        // A point with no neighbour is no line, and would not be seen.
        if marked || (!open && !continues) {
            let _ = write!(
                marks,
                r#"<circle cx="{at:.1}" cy="{up:.1}" r="3" style="fill:{}"><title>{}: {}, {}</title></circle>"#,
                colour(hue),
                escape(&cut(&series.name, 400.0)),
                figure(px),
                figure(py)
            );
        }
        open = true;
    }
    let (width, opacity) = if series.faint { ("1", "0.3") } else { ("2", "1") };
    format!(
        r#"<path d="{path}" style="fill:none;stroke:{};stroke-width:{width};stroke-opacity:{opacity};stroke-linejoin:round;stroke-linecap:round;{}"/>{marks}"#,
        colour(hue),
        dashes(hue)
    )
}

/// The points, or of more than can be told apart the least and the greatest of each stretch and any gap.
fn thinned(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    if points.len() <= MOST_POINTS {
        return points.to_vec();
    }
    let mut kept = Vec::with_capacity(MOST_POINTS);
    for stretch in points.chunks(points.len().div_ceil(MOST_POINTS / 2)) {
        let finite = || {
            stretch
                .iter()
                .enumerate()
                .filter(|(_, point)| point.0.is_finite() && point.1.is_finite())
        };
        let low = finite().min_by(|(_, one), (_, other)| one.1.total_cmp(&other.1));
        let high = finite().max_by(|(_, one), (_, other)| one.1.total_cmp(&other.1));
        let gap = stretch
            .iter()
            .enumerate()
            .find(|(_, point)| !(point.0.is_finite() && point.1.is_finite()));
        let mut ends: Vec<usize> = [low, high, gap]
            .into_iter()
            .flatten()
            .map(|(index, _)| index)
            .collect();
        ends.sort_unstable();
        ends.dedup();
        kept.extend(ends.into_iter().map(|index| stretch[index]));
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chart(points: Vec<(f64, f64)>) -> LineChart {
        LineChart {
            title: "Loss & <more>".to_owned(),
            x_label: "step".to_owned(),
            y_label: "loss".to_owned(),
            series: vec![
                Series::new("train \"raw\"", points),
                Series::new("dev", vec![(1.0, 2.0)]),
            ],
            ..LineChart::default()
        }
    }

    #[test]
    fn text_is_escaped_and_the_same_chart_gives_the_same_bytes() {
        let chart = chart(vec![(0.0, 1.0), (1.0, 0.5), (2.0, 0.25)]);
        let svg = chart.svg();
        assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>"));
        assert!(svg.contains("Loss &amp; &lt;more&gt;") && svg.contains("train &quot;raw&quot;"));
        assert!(!svg.contains("<more>"));
        assert_eq!(svg, chart.svg());
    }

    #[test]
    fn a_value_that_is_not_finite_breaks_the_line_and_is_not_written() {
        let svg = chart(vec![
            (0.0, 1.0),
            (1.0, 2.0),
            (2.0, f64::NAN),
            (3.0, f64::INFINITY),
            (4.0, 1.0),
            (5.0, 2.0),
        ])
        .svg();
        assert!(!svg.contains("NaN") && !svg.contains("inf"));
        let path = svg.split("<path d=\"").nth(1).unwrap().split('"').next().unwrap();
        assert_eq!(path.matches('M').count(), 2);
        assert_eq!(path.matches('L').count(), 2);
    }

    #[test]
    fn empty_series_and_lone_points_are_charts() {
        for points in [vec![], vec![(f64::NAN, f64::NAN)], vec![(3.0, 3.0)]] {
            let mut chart = chart(points);
            for (log_x, log_y) in [(false, false), (true, true)] {
                chart.log_x = log_x;
                chart.log_y = log_y;
                let svg = chart.svg();
                assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
            }
        }
    }

    #[test]
    fn a_long_series_keeps_its_peaks_and_gaps() {
        let mut points: Vec<(f64, f64)> = (0..100_000).map(|step| (f64::from(step), 1.0)).collect();
        points[50_000].1 = 9.0;
        points[70_000].1 = f64::NAN;
        let thin = thinned(&points);
        assert!(thin.len() <= MOST_POINTS + 1);
        assert!(thin.contains(&(50_000.0, 9.0)));
        assert!(thin.iter().any(|point| point.1.is_nan()));
    }
}
