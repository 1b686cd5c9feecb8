//! A page that stands alone: no script, no font and no style from elsewhere, on screens and on paper.

use std::fmt::Write;

/// A page.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Page {
    /// Its title.
    pub title: String,
    /// The line below the title.
    pub lead: String,
    /// What stands on it, in order.
    pub sections: Vec<Section>,
}

/// A part of a page under a heading.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Section {
    /// The heading.
    pub title: String,
    /// HTML, made of this module's pieces.
    pub body: String,
}

impl Section {
    /// HTML under a heading.
    pub fn new(title: impl Into<String>, body: impl Into<String>) -> Self {
        Self {
            title: title.into(),
            body: body.into(),
        }
    }
}

impl Page {
    /// The page as one HTML document.
    pub fn html(&self) -> String {
        let title = escape(&self.title);
        let mut html = format!(
            "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
             <meta name=\"color-scheme\" content=\"light dark\">\n<title>{title}</title>\n\
             <style>\n{STYLE}</style>\n</head>\n<body>\n<main>\n<h1>{title}</h1>\n"
        );
        if !self.lead.is_empty() {
            html.push_str(&paragraph(&self.lead));
        }
        for section in &self.sections {
            // Writing to a string cannot fail.
            let _ = write!(
                html,
                "<section>\n<h2>{}</h2>\n{}</section>\n",
                escape(&section.title),
                section.body
            );
        }
        html.push_str("</main>\n</body>\n</html>\n");
        html
    }
}

/// A text with what means something in HTML, in elements and in quoted attributes, replaced.
pub fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            // No HTML or XML document may hold other control characters, not even as references.
            letter if letter.is_control() && !matches!(letter, '\t' | '\n' | '\r') => {
                escaped.push('\u{fffd}');
            }
            letter => escaped.push(letter),
        }
    }
    escaped
}

/// A number as a reader wants it: four digits that matter, the very small and very large with an exponent, `–` for what
/// is no number.
pub fn figure(value: f64) -> String {
    if !value.is_finite() {
        return "–".to_owned();
    }
    let size = value.abs();
    if size == 0.0 {
        return "0".to_owned();
    }
    if !(1e-3..1e9).contains(&size) {
        let text = format!("{value:.3e}");
        let (digits, power) = text.split_once('e').unwrap_or((&text, "0"));
        return format!("{}e{power}", without_zeros(digits));
    }
    let decimals = (3.0 - size.log10().floor()).clamp(0.0, 6.0) as usize;
    without_zeros(&format!("{value:.decimals$}")).to_owned()
}

fn without_zeros(number: &str) -> &str {
    match number.contains('.') {
        true => number.trim_end_matches('0').trim_end_matches('.'),
        false => number,
    }
}

/// A paragraph of plain text.
pub fn paragraph(text: &str) -> String {
    format!("<p>{}</p>\n", escape(text))
}

/// Drawings side by side where there is room for them.
pub fn figures<S: AsRef<str>>(svgs: impl IntoIterator<Item = S>) -> String {
    let mut html = "<div class=\"figures\">\n".to_owned();
    for svg in svgs {
        // Writing to a string cannot fail.
        let _ = writeln!(html, "<figure>{}</figure>", svg.as_ref());
    }
    html.push_str("</div>\n");
    html
}

/// A table of plain text, wide ones scrolling by themselves. Cells after the first of a row stand to the right.
pub fn table<H: AsRef<str>, C: AsRef<str>>(
    header: &[H],
    rows: impl IntoIterator<Item = impl IntoIterator<Item = C>>,
) -> String {
    let mut html = "<div class=\"wide\"><table>\n<thead><tr>".to_owned();
    for cell in header {
        // Writing to a string cannot fail.
        let _ = write!(html, "<th scope=\"col\">{}</th>", escape(cell.as_ref()));
    }
    html.push_str("</tr></thead>\n<tbody>\n");
    for row in rows {
        html.push_str("<tr>");
        for (column, cell) in row.into_iter().enumerate() {
            let cell = escape(cell.as_ref());
            let _ = match column {
                0 => write!(html, "<th scope=\"row\">{cell}</th>"),
                _ => write!(html, "<td>{cell}</td>"),
            };
        }
        html.push_str("</tr>\n");
    }
    html.push_str("</tbody>\n</table></div>\n");
    html
}

/// Names and their values as plain text, a pair a line.
pub fn definitions<S: AsRef<str>>(rows: impl IntoIterator<Item = (S, S)>) -> String {
    let mut html = "<div class=\"wide\"><table class=\"definitions\">\n<tbody>\n".to_owned();
    for (name, value) in rows {
        let (name, value) = (escape(name.as_ref()), escape(value.as_ref()));
        // Writing to a string cannot fail.
        let _ = writeln!(html, "<tr><th scope=\"row\">{name}</th><td>{value}</td></tr>");
    }
    html.push_str("</tbody>\n</table></div>\n");
    html
}

/// HTML that opens at a click on `summary`, and is printed open.
pub fn details(summary: &str, body: &str) -> String {
    format!(
        "<details>\n<summary>{}</summary>\n{body}</details>\n",
        escape(summary)
    )
}

const STYLE: &str = include_str!("page.css");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_escapes_its_text_and_asks_for_nothing_from_elsewhere() {
        let page = Page {
            title: "a <b> & c".to_owned(),
            lead: "lead".to_owned(),
            sections: vec![Section::new(
                "it's \"s\"",
                table(&["<h>", "n"], [["<script>", "1"]]),
            )],
        };
        let html = page.html();
        assert!(html.contains("<title>a &lt;b&gt; &amp; c</title>"));
        assert!(html.contains("it&#39;s &quot;s&quot;") && html.contains("&lt;script&gt;"));
        for foreign in ["<script", "http://", "https://", "@import", "url("] {
            assert!(!html.contains(foreign), "{foreign}");
        }
        assert_eq!(escape("a\u{0}b\u{1b}c\n"), "a\u{fffd}b\u{fffd}c\n");
    }

    #[test]
    fn figures_keep_four_digits() {
        let cases = [
            (0.0, "0"),
            (0.42, "0.42"),
            (0.123_456, "0.1235"),
            (2e-4, "2e-4"),
            (12_345.6, "12346"),
            (1060.0, "1060"),
            (-1.5, "-1.5"),
            (1e12, "1e12"),
            (f64::NAN, "–"),
        ];
        for (value, text) in cases {
            assert_eq!(figure(value), text);
        }
    }
}
