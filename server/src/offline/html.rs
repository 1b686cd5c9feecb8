//! Tagged texts as a page with the entities highlighted.

use std::fmt::{Display, Formatter};
use std::io::{Result, Write};

use nerve_engine::{Answer, Tagged, TextModel, View};
use nerve_tagging::{LabelSet, OffsetUnit};

/// Degrees between the hues of neighbouring types: the golden angle, which never repeats soon.
const HUE_STEP: f64 = 137.508;

const STYLE: &str = "\
body { font: 1rem/1.9 system-ui, sans-serif; color: #111; background: #fff; max-width: 60rem; margin: 2rem auto; padding: 0 1rem }
p { white-space: pre-wrap; overflow-wrap: anywhere; border-bottom: 1px solid #ddd; padding-bottom: .5rem }
p > a { color: #595959; font-size: .75rem; margin-inline-end: .75rem }
mark { color: #111; padding: .2em .35em; border-radius: .35em; line-height: 1; -webkit-box-decoration-break: clone; box-decoration-break: clone }
mark small { font-size: .7em; font-weight: bold; margin-inline-start: .5em }
.error { color: #a00 }
";

/// The parts of a page about one model's answers.
pub(crate) struct Page {
    model: String,
    labels: LabelSet,
}

impl Page {
    /// The page for a model.
    pub(crate) fn new(model: &TextModel) -> Self {
        Self {
            model: format!("{} {}", model.name, model.version),
            labels: model.labels.clone(),
        }
    }

    /// Writes everything before the first text.
    pub(crate) fn begin(&self, out: &mut impl Write) -> Result<()> {
        writeln!(
            out,
            "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">"
        )?;
        writeln!(out, "<meta name=\"viewport\" content=\"width=device-width\">")?;
        writeln!(
            out,
            "<title>Entities, by {}</title>\n<style>\n{STYLE}",
            Escaped(&self.model)
        )?;
        for at in 0..self.labels.types().len() {
            let hue = (at as f64 * HUE_STEP) % 360.0;
            writeln!(out, ".t{at} {{ background: hsl({hue:.0} 70% 85%) }}")?;
        }
        writeln!(out, "</style>\n</head>\n<body>\n<main>\n<h1>Entities</h1>")
    }

    /// Writes one text with its entities.
    pub(crate) fn text(&self, out: &mut impl Write, line: u64, tagged: &Tagged, view: &View) -> Result<()> {
        let text = tagged.words.text.as_str();
        let in_bytes = View {
            offsets: OffsetUnit::Byte,
            include_words: false,
            ..view.clone()
        };
        let answer = Answer::new(tagged, &self.labels, &in_bytes, |_| ());
        write!(
            out,
            "<p dir=\"auto\" id=\"line-{line}\"><a href=\"#line-{line}\">{line}</a>"
        )?;
        let mut shown = 0;
        for entity in &answer.entities {
            let before = text.get(shown..entity.start).unwrap_or_default();
            let class = self.labels.parse_type(entity.entity_type).map_or(0, |of| of.0);
            write!(
                out,
                "{}<mark class=\"t{class}\" title=\"{:.3}\">{}<small>{}</small></mark>",
                Escaped(before),
                entity.score,
                Escaped(entity.text),
                Escaped(entity.entity_type)
            )?;
            shown = entity.end;
        }
        writeln!(out, "{}</p>", Escaped(text.get(shown..).unwrap_or_default()))
    }

    /// Writes why there is no text.
    pub(crate) fn failure(&self, out: &mut impl Write, line: u64, problem: &str) -> Result<()> {
        writeln!(
            out,
            "<p class=\"error\" id=\"line-{line}\"><a href=\"#line-{line}\">{line}</a>{}</p>",
            Escaped(problem)
        )
    }

    /// Writes everything after the last text.
    pub(crate) fn end(&self, out: &mut impl Write) -> Result<()> {
        writeln!(out, "</main>\n</body>\n</html>")
    }
}

/// Text that means itself in HTML, in attributes too.
struct Escaped<'a>(&'a str);

impl Display for Escaped<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        let mut rest = self.0;
        while let Some(at) = rest.find(['&', '<', '>', '"', '\'']) {
            f.write_str(&rest[..at])?;
            f.write_str(match rest.as_bytes()[at] {
                b'&' => "&amp;",
                b'<' => "&lt;",
                b'>' => "&gt;",
                b'"' => "&quot;",
                _ => "&#39;",
            })?;
            rest = &rest[at + 1..];
        }
        f.write_str(rest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nerve_engine::testing::{tagged, text_model};

    const ALL: View = View {
        offsets: OffsetUnit::Utf16,
        threshold: 0.0,
        types: None,
        include_words: true,
    };

    #[test]
    fn entities_are_marked_and_everything_is_escaped() {
        let page = Page::new(&text_model(8));
        let mut out = Vec::new();
        page.text(
            &mut out,
            3,
            &tagged(&["<b>", "Zoë", "&", "\"co\""], &[0, 1, 0, 3]),
            &ALL,
        )
        .unwrap();
        page.failure(&mut out, 4, "no <i>").unwrap();
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "<p dir=\"auto\" id=\"line-3\"><a href=\"#line-3\">3</a>&lt;b&gt; \
             <mark class=\"t0\" title=\"1.000\">Zoë<small>person</small></mark> &amp; \
             <mark class=\"t1\" title=\"1.000\">&quot;co&quot;<small>location</small></mark></p>\n\
             <p class=\"error\" id=\"line-4\"><a href=\"#line-4\">4</a>no &lt;i&gt;</p>\n"
        );
    }

    #[test]
    fn a_page_needs_nothing_else() {
        let page = Page::new(&text_model(8));
        let mut out = Vec::new();
        page.begin(&mut out).unwrap();
        page.end(&mut out).unwrap();
        let html = String::from_utf8(out).unwrap();
        assert!(html.contains(".t1 {") && html.trim_end().ends_with("</html>"));
        assert!(!html.contains("http") && !html.contains("src="));
    }
}
