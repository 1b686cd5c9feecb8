//! An HTML page of tagged texts with their entities highlighted, written text by text.

use std::io::{Result, Write};

use maud::{DOCTYPE, Markup, PreEscaped, html};
use nerve_tagging::{LabelSet, OffsetUnit};

use nerve_engine::{Answer, AnswerOptions, TaggedText, TextModel};

/// Degrees between the hues of neighboring types. Multiples of the golden angle stay apart for any number of types.
const HUE_STEP: f64 = 137.508;

const STYLE: &str = "\
body { font: 1rem/1.9 system-ui, sans-serif; color: #111; background: #fff; max-width: 60rem; margin: 2rem auto; padding: 0 1rem }
p { white-space: pre-wrap; overflow-wrap: anywhere; border-bottom: 1px solid #ddd; padding-bottom: .5rem }
p > a { color: #595959; font-size: .75rem; margin-inline-end: .75rem }
mark { color: #111; padding: .2em .35em; border-radius: .35em; line-height: 1; -webkit-box-decoration-break: clone; box-decoration-break: clone }
mark small { font-size: .7em; font-weight: bold; margin-inline-start: .5em }
.error { color: #a00 }
";

/// Where the texts stand in the page. Escaped text cannot contain it.
const TEXTS: &str = "<!--texts-->";

/// The page of one model's answers.
pub(crate) struct Page {
    labels: LabelSet,
    before_texts: String,
    after_texts: String,
}

impl Page {
    /// The page for a model.
    pub(crate) fn new(model: &TextModel) -> Self {
        // The page is written in parts because a file of texts can be larger than memory. maud has no separate opening
        // and closing tags, so the whole page is rendered and divided.
        let page = html! {
            (DOCTYPE)
            html lang="en" {
                head {
                    meta charset="utf-8";
                    meta name="viewport" content="width=device-width";
                    title { "Entities, by " (model.name) " " (model.version) }
                    style {
                        (PreEscaped(STYLE))
                        @for index in 0..model.labels.types().len() { (type_style(index)) }
                    }
                }
                body {
                    main {
                        h1 { "Entities" }
                        (PreEscaped(TEXTS))
                    }
                }
            }
        }
        .into_string();
        let (before, after) = page.split_once(TEXTS).unwrap_or((&page, ""));
        Self {
            labels: model.labels.clone(),
            before_texts: before.to_owned(),
            after_texts: after.to_owned(),
        }
    }

    /// Writes everything before the first text.
    pub(crate) fn begin(&self, out: &mut impl Write) -> Result<()> {
        writeln!(out, "{}", self.before_texts)
    }

    /// Writes one text with its entities.
    pub(crate) fn text(
        &self,
        out: &mut impl Write,
        line: u64,
        tagged: &TaggedText,
        view: &AnswerOptions,
    ) -> Result<()> {
        let text = tagged.words.text.as_str();
        let in_bytes = AnswerOptions {
            offsets: OffsetUnit::Byte,
            include_words: false,
            ..view.clone()
        };
        let answer = Answer::new(tagged, &self.labels, &in_bytes, |_| ());
        let class = |entity_type: &str| {
            let index = self.labels.parse_type(entity_type).map_or(0, |index| index.0);
            format!("t{index}")
        };
        let plain = |start: usize, end: usize| text.get(start..end).unwrap_or_default();
        let ends = || answer.entities.iter().map(|entity| entity.end);
        let content = html! {
            @for (previous_end, entity) in std::iter::once(0).chain(ends()).zip(&answer.entities) {
                (plain(previous_end, entity.start))
                mark class=(class(entity.entity_type)) title=(format!("{:.3}", entity.score)) {
                    (entity.text)
                    small { (entity.entity_type) }
                }
            }
            (plain(ends().next_back().unwrap_or(0), text.len()))
        };
        paragraph(out, line, None, &content)
    }

    /// Writes why a text could not be tagged.
    pub(crate) fn failure(&self, out: &mut impl Write, line: u64, problem: &str) -> Result<()> {
        paragraph(out, line, Some("error"), &html! { (problem) })
    }

    /// Writes everything after the last text.
    pub(crate) fn end(&self, out: &mut impl Write) -> Result<()> {
        writeln!(out, "{}", self.after_texts)
    }
}

/// The style of the entities of the type at `index`.
fn type_style(index: usize) -> Markup {
    let hue = (index as f64 * HUE_STEP) % 360.0;
    PreEscaped(format!(".t{index} {{ background: hsl({hue:.0} 70% 85%) }}\n"))
}

/// Writes the paragraph of one line of the input, with its number as a link to itself.
fn paragraph(out: &mut impl Write, line: u64, class: Option<&str>, content: &Markup) -> Result<()> {
    let id = format!("line-{line}");
    let paragraph = html! {
        p class=[class] id=(id) dir="auto" {
            a href={ "#" (id) } { (line) }
            (content)
        }
    };
    writeln!(out, "{}", paragraph.into_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use nerve_engine::testing::{tagged, text_model};

    const ALL: AnswerOptions = AnswerOptions {
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
            "<p id=\"line-3\" dir=\"auto\"><a href=\"#line-3\">3</a>&lt;b&gt; \
             <mark class=\"t0\" title=\"1.000\">Zoë<small>person</small></mark> &amp; \
             <mark class=\"t1\" title=\"1.000\">&quot;co&quot;<small>location</small></mark></p>\n\
             <p class=\"error\" id=\"line-4\" dir=\"auto\"><a href=\"#line-4\">4</a>no &lt;i&gt;</p>\n"
        );
    }

    #[test]
    fn a_page_loads_nothing() {
        let page = Page::new(&text_model(8));
        let mut out = Vec::new();
        page.begin(&mut out).unwrap();
        page.end(&mut out).unwrap();
        let html = String::from_utf8(out).unwrap();
        assert!(html.starts_with("<!DOCTYPE html>") && html.trim_end().ends_with("</main></body></html>"));
        assert!(html.contains(".t1 {"));
        assert!(!html.contains("http") && !html.contains("src="));
    }
}
