//! A self-contained HTML page: it loads no script, font or style, and is readable on screens and on paper.

use maud::{DOCTYPE, Markup, PreEscaped, Render, html};

const STYLE: &str = include_str!("page.css");

/// A page.
#[derive(Clone, Debug)]
pub struct Page {
    /// The title.
    pub title: String,
    /// The paragraph below the title; empty for none.
    pub lead: String,
    /// The sections, in order.
    pub sections: Vec<Section>,
}

/// A part of a page under a heading.
#[derive(Clone, Debug)]
pub struct Section {
    /// The heading.
    pub title: String,
    /// Everything below the heading.
    pub body: Markup,
}

impl Section {
    /// A section with this heading and content.
    pub fn new(title: impl Into<String>, body: Markup) -> Self {
        Self {
            title: title.into(),
            body,
        }
    }
}

impl Page {
    /// The page as one HTML document.
    pub fn html(&self) -> String {
        html! {
            (DOCTYPE)
            html lang="en" {
                head {
                    meta charset="utf-8";
                    meta name="viewport" content="width=device-width, initial-scale=1";
                    meta name="color-scheme" content="light dark";
                    title { (self.title) }
                    style { (PreEscaped(STYLE)) }
                }
                body {
                    main {
                        h1 { (self.title) }
                        @if !self.lead.is_empty() { p { (self.lead) } }
                        @for section in &self.sections {
                            section {
                                h2 { (section.title) }
                                (section.body)
                            }
                        }
                    }
                }
            }
        }
        .into_string()
    }
}

/// Figures side by side, as many as fit the width.
pub fn figures(figures: &[Markup]) -> Markup {
    html! {
        div class="figures" {
            @for figure in figures { (figure) }
        }
    }
}

/// A table with a heading for each column. The first cell of each row is the row's heading. A wide table scrolls alone.
pub fn table(
    header: &[impl Render],
    rows: impl IntoIterator<Item = impl IntoIterator<Item = impl Render>>,
) -> Markup {
    html! {
        div class="wide" {
            table {
                thead { tr { @for cell in header { th scope="col" { (cell) } } } }
                tbody {
                    @for row in rows {
                        tr {
                            @for (column, cell) in row.into_iter().enumerate() {
                                @if column == 0 { th scope="row" { (cell) } } @else { td { (cell) } }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// A table of names and values, one pair in each row.
pub fn definitions(rows: &[(String, String)]) -> Markup {
    html! {
        div class="wide" {
            table class="definitions" {
                tbody {
                    @for (name, value) in rows { tr { th scope="row" { (name) } td { (value) } } }
                }
            }
        }
    }
}

/// Content that a click on `summary` shows. It is always printed.
pub fn details(summary: impl Render, content: &Markup) -> Markup {
    html! {
        details {
            summary { (summary) }
            (content)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_escapes_its_text_and_loads_nothing() {
        let page = Page {
            title: "a <b> & c".to_owned(),
            lead: "lead".to_owned(),
            sections: vec![Section::new("\"s\"", table(&["<h>", "n"], [["<script>", "1"]]))],
        };
        let html = page.html();
        assert!(html.contains("<title>a &lt;b&gt; &amp; c</title>"));
        assert!(html.contains("&lt;h&gt;") && html.contains("&lt;script&gt;"));
        for foreign in ["<script", "http://", "https://", "@import", "url("] {
            assert!(!html.contains(foreign), "{foreign}");
        }
    }
}
