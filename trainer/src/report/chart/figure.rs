//! The HTML figure around a drawing, and the styles that all charts share.

use maud::{Markup, PreEscaped, html};
use plotters::backend::SVGBackend;
use plotters::coord::Shift;
use plotters::drawing::{DrawingArea, DrawingAreaErrorKind, IntoDrawingArea};
use plotters::style::{IntoFont, RGBColor, TextStyle};

/// Width of a drawing. It is about twice the width on the page, because `plotters` places everything at whole units.
pub(super) const WIDTH: u32 = 960;
/// Font size of all text.
const FONT_SIZE: f64 = 24.0;
/// About how wide a character is. No font is available to measure text.
pub(super) const CHARACTER_WIDTH: u32 = 14;

pub(super) const INK: RGBColor = RGBColor(0x0b, 0x0b, 0x0b);
pub(super) const MUTED: RGBColor = RGBColor(0x52, 0x51, 0x4e);
pub(super) const GRID: RGBColor = RGBColor(0xe4, 0xe3, 0xdf);
pub(super) const AXIS: RGBColor = RGBColor(0x8a, 0x89, 0x84);
/// Colors of the series, ordered so that neighbors stay apart for color-blind readers.
const SERIES: [RGBColor; 8] = [
    RGBColor(0x2a, 0x78, 0xd6),
    RGBColor(0xeb, 0x68, 0x34),
    RGBColor(0x1b, 0xaf, 0x7a),
    RGBColor(0xed, 0xa1, 0x00),
    RGBColor(0xe8, 0x7b, 0xa4),
    RGBColor(0x00, 0x83, 0x00),
    RGBColor(0x4a, 0x3a, 0xa7),
    RGBColor(0xe3, 0x49, 0x48),
];

pub(super) type Drawing<'svg> = DrawingArea<SVGBackend<'svg>, Shift>;
pub(super) type DrawingError = DrawingAreaErrorKind<std::io::Error>;

/// The color of the series at `index`.
pub(super) fn series_color(index: usize) -> RGBColor {
    SERIES[index % SERIES.len()]
}

/// The style of a text in this color.
pub(super) fn text_style(color: RGBColor) -> TextStyle<'static> {
    // The SVG backend writes a font's size divided by 1.24.
    ("system-ui, sans-serif", 1.24 * FONT_SIZE)
        .into_font()
        .color(&color)
}

/// A figure: the title, a legend of the series unless there is only one, and what `draw` draws.
///
/// The legend is HTML and not part of the drawing: the browser knows how wide names are and wraps them.
pub(super) fn figure(
    title: &str,
    series: &[&str],
    height: u32,
    draw: impl FnOnce(&Drawing) -> Result<(), DrawingError>,
) -> Markup {
    let mut svg = String::new();
    let drawn = {
        let area = SVGBackend::with_string(&mut svg, (WIDTH, height)).into_drawing_area();
        draw(&area).and_then(|()| area.present())
    };
    html! {
        figure {
            figcaption { (title) }
            @if series.len() > 1 {
                ul class="series" {
                    @for (index, name) in series.iter().enumerate() {
                        li { span style={ "background:" (css_color(index)) } {} (name) }
                    }
                }
            }
            @match drawn {
                Ok(()) => div class="chart" role="img" aria-label=(title) { (PreEscaped(themed(svg))) },
                Err(error) => p { "This chart cannot be drawn: " (error) },
            }
        }
    }
}

fn css_color(index: usize) -> String {
    format!("var(--series-{})", index % SERIES.len() + 1)
}

/// A drawing whose colors follow the page's light or dark theme: `plotters` writes fixed colors, which become the
/// variables of `page.css`.
fn themed(svg: String) -> String {
    let fixed = [(INK, "ink"), (MUTED, "muted"), (GRID, "grid"), (AXIS, "axis")];
    let fixed = fixed.map(|(color, name)| (color, format!("var(--{name})")));
    let series = SERIES
        .into_iter()
        .enumerate()
        .map(|(index, color)| (color, css_color(index)));
    fixed
        .into_iter()
        .chain(series)
        .fold(svg, |svg, (RGBColor(red, green, blue), variable)| {
            svg.replace(
                &format!("\"#{red:02X}{green:02X}{blue:02X}\""),
                &format!("\"{variable}\""),
            )
        })
}
