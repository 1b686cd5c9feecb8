//! The page at `/`, which marks the entities of a text.

use fantoccini::key::Key;
use serde_json::{Value, json};

use crate::page::{Page, Visit};

const SENTENCE: &str = "Empire State Building is where Barack Obama met Beyoncé";
const EMOJI: &str = "👩‍👩‍👧 and Barack Obama met Beyoncé in Köln, then 😀 flew to Paris 🎤";

const HOME: Visit = Visit {
    path: "/",
    dark: false,
    phone: false,
    prefixed: false,
    script: "",
    expected: &[],
};

impl Page {
    /// Waits for the response to the request that `act` causes, and returns the body of the request.
    async fn request_of(&self, act: impl Future<Output = ()>) -> Value {
        self.request_answered_with(200, act).await
    }

    async fn request_answered_with(&self, status: u16, act: impl Future<Output = ()>) -> Value {
        let calls = "window.calls.filter(({ url }) => url.endsWith('/ner'))";
        let before = self.run(&format!("return {calls}.length")).await;
        act.await;
        self.wait_until(&format!(
            "{calls}.length > {before} && {calls}.at(-1).status && !document.body.classList.contains('busy')"
        ))
        .await;
        let call = self.run(&format!("return {calls}.at(-1)")).await;
        assert_eq!(call["status"], status);
        assert_eq!(self.is_visible("#problem").await, status != 200);
        serde_json::from_str(call["body"].as_str().unwrap()).unwrap()
    }

    /// Sends a text by keyboard.
    async fn submit(&self, text: &str) {
        self.fill("#text", text).await;
        self.press(&[Key::Control, Key::Enter]).await;
    }

    /// Waits until the page shows the response to its initial text.
    async fn loaded(&self) {
        self.wait_until(
            "document.querySelector('#reading .entity') && !document.body.classList.contains('busy')",
        )
        .await;
    }

    /// The text and the type of each marked entity.
    async fn marks(&self) -> Vec<(String, String)> {
        let marks = "return [...document.querySelectorAll('#reading .entity')].map(
            (entity) => [entity.firstChild.data, entity.querySelector('.type').textContent]);";
        serde_json::from_value(self.run(marks).await).unwrap()
    }

    async fn assert_marks(&self, expected: &[(&str, &str)]) {
        let marks = self.marks().await;
        let marks: Vec<(&str, &str)> = marks
            .iter()
            .map(|(text, kind)| (text.as_str(), kind.as_str()))
            .collect();
        assert_eq!(marks, expected);
    }

    async fn has_mark(&self, name: &str) -> bool {
        self.marks().await.iter().any(|(text, _)| text == name)
    }

    /// The displayed text without the labels.
    async fn shown_text(&self) -> Value {
        self.run(
            "const copy = document.querySelector('#reading').cloneNode(true);
            for (const added of copy.querySelectorAll('.type, .visually-hidden')) added.remove();
            return copy.textContent;",
        )
        .await
    }
}

const MARKS: [(&str, &str); 3] = [
    ("Empire State Building", "location"),
    ("Barack Obama", "person"),
    ("Beyoncé", "person"),
];

#[test]
fn a_sentence_typed_and_sent_by_keyboard_has_its_entities_marked() {
    HOME.run(async |page| {
        page.loaded().await;
        page.fill("#text", "").await;
        page.click("#text").await;
        page.type_text(SENTENCE).await;
        let body = page.request_of(page.press(&[Key::Control, Key::Enter])).await;
        assert_eq!(body, json!({ "text": SENTENCE }));
        page.assert_marks(&MARKS).await;
        assert_eq!(page.shown_text().await, SENTENCE);
        let status = page.text("#status").await;
        assert!(status.starts_with("3 entities in 9 words "), "{status}");
        assert!(status.ends_with(" ms in the server"), "{status}");
        assert_eq!(page.count("#rows tr").await, 9);
    });
}

#[test]
fn entities_are_reached_with_the_arrow_keys_and_show_their_confidence() {
    HOME.run(async |page| {
        page.loaded().await;
        page.run("document.querySelector('#share').focus()").await;
        page.press(&[Key::Tab]).await;
        page.press(&[Key::Right]).await;
        let focused = "[...document.querySelectorAll('#reading .entity')].indexOf(document.activeElement)";
        assert_eq!(page.run(&format!("return {focused}")).await, 1);
        let name = page.run("return document.activeElement.textContent").await;
        let score = page.text("#tip .tip-score").await;
        assert!(
            name.as_str().unwrap().ends_with(&format!("confidence {score}")),
            "{name} {score}"
        );
        page.press(&[Key::Enter]).await;
        assert_eq!(page.text("#rows tr.chosen .word").await, "Barack");
        assert_eq!(page.count("#rows tr.chosen").await, 2);
        page.press(&[Key::Escape]).await;
        assert!(!page.is_visible("#tip").await);
        page.hover("#reading .entity").await;
        assert!(page.is_visible("#tip").await);
    });
}

#[test]
fn the_controls_are_in_the_request_and_in_what_is_shown() {
    HOME.run(async |page| {
        page.loaded().await;
        let body = page.request_of(page.fill("#threshold", "0.99")).await;
        assert_eq!(body["threshold"], 0.99);
        assert!(
            page.marks().await.len() < 3,
            "a threshold of 0.99 excludes entities"
        );
        page.request_of(page.fill("#threshold", "0")).await;
        let body = page.request_of(page.click("#words")).await;
        assert_eq!(body["include_words"], false);
        assert!(page.is_visible("#no-words").await);
        assert!(page.text("#status").await.starts_with("3 entities "));
        page.request_of(page.click("#words")).await;
        let chip = ".chip[data-type=location]";
        let body = page.request_of(page.click(chip)).await;
        assert_eq!(body["labels"], json!(["location"]));
        page.assert_marks(&MARKS[..1]).await;
        page.request_of(page.click(chip)).await;
        for offsets in ["byte", "utf16"] {
            let body = page.request_of(page.choose("#offsets", offsets)).await;
            assert_eq!(body["offsets"], offsets);
            page.assert_marks(&MARKS).await;
        }
    });
}

#[test]
fn every_aggregation_is_answered() {
    HOME.run(async |page| {
        page.loaded().await;
        for (aggregation, unit) in [
            ("none", "Token"),
            ("simple", "Token"),
            ("average", "Word"),
            ("max", "Word"),
        ] {
            let body = page.request_of(page.choose("#aggregation", aggregation)).await;
            assert_eq!(body["aggregation"], aggregation);
            assert!(
                page.marks()
                    .await
                    .iter()
                    .any(|(text, _)| text.starts_with("Barack"))
            );
            assert_eq!(page.text("#unit").await, unit);
        }
        let body = page.request_of(page.choose("#aggregation", "first")).await;
        assert_eq!(body, json!({ "text": SENTENCE }));
    });
}

#[test]
fn the_json_is_the_response_and_the_curl_command_repeats_the_request() {
    HOME.run(async |page| {
        page.loaded().await;
        page.run("document.querySelector('#tab-words').focus()").await;
        page.press(&[Key::Right]).await;
        assert!(page.is_visible("#json").await);
        let same = page
            .run(&format!(
                "const body = JSON.stringify({{ text: '{SENTENCE}' }});
                const headers = {{ 'content-type': 'application/json' }};
                const shown = JSON.stringify(JSON.parse(document.querySelector('#json').textContent));
                return fetch('ner', {{ method: 'POST', headers, body }})
                    .then((response) => response.json())
                    .then((answer) => JSON.stringify(answer) === shown);"
            ))
            .await;
        assert_eq!(same, true);
        page.press(&[Key::End]).await;
        let curl = page.text("#curl").await;
        let body = format!("--data-raw '{{\"text\":\"{SENTENCE}\"}}'");
        assert!(
            curl.contains(&format!("'{}/ner'", page.base)) && curl.contains(&body),
            "{curl}"
        );
    });
}

#[test]
fn a_button_copies_the_json() {
    HOME.run(async |page| {
        page.loaded().await;
        page.allow_clipboard().await;
        page.click("#tab-json").await;
        page.click("#copy-json").await;
        page.wait_until("document.querySelector('#copy-json').textContent === 'Copied'")
            .await;
        let copied = page.run("return navigator.clipboard.readText()").await;
        assert_eq!(copied, page.text("#json").await);
    });
}

#[test]
fn markup_in_a_text_is_shown_as_text() {
    HOME.run(async |page| {
        page.loaded().await;
        let text = "<img src=x onerror=\"document.title='broken'\"> <script>document.title='broken'</script> \
                    Barack Obama & 'Beyoncé'";
        page.request_of(page.submit(text)).await;
        assert_eq!(page.shown_text().await, text);
        assert_eq!(page.count("#reading img, #reading script, #rows img").await, 0);
        assert_ne!(page.run("return document.title").await, "broken");
        assert!(page.has_mark("Barack Obama").await);
    });
}

#[test]
fn emoji_do_not_shift_the_marks() {
    HOME.run(async |page| {
        page.loaded().await;
        for offsets in ["codepoint", "byte", "utf16"] {
            if offsets != "codepoint" {
                page.request_of(page.choose("#offsets", offsets)).await;
            }
            page.request_of(page.submit(EMOJI)).await;
            assert_eq!(page.shown_text().await, EMOJI);
            for name in ["Barack Obama", "Beyoncé"] {
                assert!(page.has_mark(name).await, "{name} with {offsets}");
            }
        }
    });
}

#[test]
fn each_unit_of_offsets_becomes_the_index_that_javascript_slices_at() {
    HOME.run(async |page| {
        let wrong = page
            .run(
                r"return import('./assets/offsets.js').then(({ utf16Index }) => {
                    const text = 'aé€😀\u0301👩‍👩‍👧\r\n東z';
                    const lengths = {
                        codepoint: (part) => [...part].length,
                        byte: (part) => new TextEncoder().encode(part).length,
                        utf16: (part) => part.length,
                    };
                    const wrong = [];
                    for (const [unit, length] of Object.entries(lengths)) {
                        const indexOf = utf16Index(text, unit);
                        let index = 0;
                        for (const character of [...text, '']) {
                            if (indexOf(length(text.slice(0, index))) !== index) wrong.push([unit, index]);
                            index += character.length;
                        }
                    }
                    return wrong;
                });",
            )
            .await;
        assert_eq!(wrong, json!([]));
    });
}

#[test]
fn an_error_of_the_api_is_shown_in_its_words_and_the_next_text_is_answered() {
    let expected = &[413, 422];
    Visit { expected, ..HOME }.run(async |page| {
        page.loaded().await;
        let long = "Beyoncé ".repeat(400);
        page.request_answered_with(413, page.submit(&long)).await;
        let problem = page.text("#problem").await;
        for part in [
            "The text is too large",
            "2000",
            "status 413 · text_too_large · request ",
        ] {
            assert!(problem.contains(part), "{problem}");
        }
        assert!(!page.is_visible("#reading").await);
        page.assert_accessible(&[]).await;
        page.screenshot("error").await;
        page.request_of(page.submit(SENTENCE)).await;
        page.assert_marks(&MARKS).await;
        page.request_answered_with(422, page.go_to("/#text=Beyonc%C3%A9&label=planet"))
            .await;
        let problem = page.text("#problem").await;
        assert!(
            problem.contains("planet") && problem.contains("person"),
            "{problem}"
        );
    });
}

#[test]
fn a_busy_server_is_reported_with_the_time_it_asks_for() {
    let script = r#"
        window.stub = ({ url }) => {
            if (!url.endsWith("/ner")) return undefined;
            const error = { code: "overloaded", message: "too much waits" };
            return Promise.resolve(Response.json({ error }, { status: 429, headers: { "retry-after": "3" } }));
        };
    "#;
    Visit { script, ..HOME }.run(async |page| {
        page.wait_until("document.querySelector('#problem').textContent.includes('The server is busy')")
            .await;
        let problem = page.text("#problem").await;
        assert!(
            problem.contains("too much waits") && problem.contains("asks for 3 s"),
            "{problem}"
        );
        page.run("window.stub = undefined").await;
        page.request_of(page.click_button("Try again")).await;
        assert_eq!(page.marks().await.len(), 3);
    });
}

#[test]
fn a_new_request_cancels_the_one_before() {
    let script = r#"
        window.stub = ({ body }, { signal } = {}) => {
            if (!body?.includes("slow")) return undefined;
            return new Promise((_, reject) => {
                signal.addEventListener("abort", () => {
                    window.cancelled = true;
                    reject(signal.reason);
                });
            });
        };
    "#;
    Visit { script, ..HOME }.run(async |page| {
        page.loaded().await;
        page.submit("slow Barack Obama").await;
        page.wait_until("document.body.classList.contains('busy')").await;
        page.request_of(page.submit(SENTENCE)).await;
        assert_eq!(page.run("return window.cancelled").await, true);
        page.assert_marks(&MARKS).await;
    });
}

#[test]
fn a_link_brings_back_the_text_and_the_options() {
    HOME.run(async |page| {
        page.loaded().await;
        page.allow_clipboard().await;
        page.request_of(page.choose("#offsets", "utf16")).await;
        page.request_of(page.click(".chip[data-type=person]")).await;
        let text = format!("{EMOJI} & more");
        page.request_of(page.submit(&text)).await;
        let before = page.marks().await;
        page.click("#share").await;
        page.wait_until("document.querySelector('#share').textContent === 'Copied'")
            .await;
        let link = page.run("return navigator.clipboard.readText()").await;
        page.go_to_address("about:blank").await;
        page.go_to_address(link.as_str().unwrap()).await;
        page.loaded().await;
        assert_eq!(page.value("#text").await, text);
        assert_eq!(page.value("#offsets").await, "utf16");
        assert_eq!(page.marks().await, before);
    });
}

#[test]
fn the_page_is_accessible_in_light_and_dark_colors() {
    for (dark, scheme) in [(false, "light"), (true, "dark")] {
        Visit { dark, ..HOME }.run(async |page| {
            page.loaded().await;
            page.screenshot(&format!("page-{scheme}")).await;
            page.assert_accessible(&[]).await;
            for tab in ["#tab-json", "#tab-curl"] {
                page.click(tab).await;
                page.assert_accessible(&[]).await;
            }
            page.screenshot(&format!("page-{scheme}-curl")).await;
            page.click("#tab-words").await;
            page.request_of(page.click_button("a news item")).await;
            page.hover("#reading .entity").await;
            page.assert_accessible(&[]).await;
            page.screenshot(&format!("page-{scheme}-news")).await;
        });
    }
}

/// Answers instead of the server, with one entity of each of 60 types.
const SIXTY_TYPES: &str = r#"
    const types = Array.from({ length: 60 }, (_, place) => `TYPE_${place}`);
    const model = { name: "many", version: "1" };
    const text = types.map((type) => `${type} `).join("");
    const entities = types.map((type, place) => {
        const start = text.indexOf(`${type} `);
        return { type, text: type, start, end: start + type.length, score: 0.5, words: [place, place + 1] };
    });
    const words = entities.map(({ type, text, start, end, score }) => ({ text, start, end, label: `B-${type}`, score }));
    const answers = { info: { model, entity_types: types, device: "cpu" }, ner: { entities, words, model } };
    window.stub = ({ url }) => Promise.resolve(Response.json(answers[url.split("/").at(-1)]));
    location.hash ||= new URLSearchParams({ text });
"#;

/// The contrast of each mark and label with its background, as WCAG computes it.
const CONTRASTS: &str = r##"
    const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
    const luminance = (color) => {
        canvas.fillStyle = color;
        canvas.fillRect(0, 0, 1, 1);
        const [red, green, blue] = [...canvas.getImageData(0, 0, 1, 1).data].map((value) => {
            const part = value / 255;
            return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
        });
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
    };
    const elements = document.querySelectorAll("#reading .entity, #reading .type, #rows .label");
    return [...elements].map((element) => {
        const mark = element.closest(".entity, .label");
        const both = [getComputedStyle(element).color, getComputedStyle(mark).backgroundColor].map(luminance);
        return (Math.max(...both) + 0.05) / (Math.min(...both) + 0.05);
    });
"##;

#[test]
fn labels_of_any_name_are_readable_in_light_and_dark_colors() {
    for dark in [false, true] {
        let script = SIXTY_TYPES;
        Visit { dark, script, ..HOME }.run(async |page| {
            page.wait_until("document.querySelectorAll('#reading .entity').length === 60")
                .await;
            let contrasts: Vec<f64> = serde_json::from_value(page.run(CONTRASTS).await).unwrap();
            assert_eq!(contrasts.len(), 180);
            let lowest = contrasts.into_iter().fold(f64::INFINITY, f64::min);
            assert!(lowest >= 4.5, "the lowest contrast is {lowest}");
        });
    }
}

#[test]
fn the_page_fits_a_phone() {
    Visit { phone: true, ..HOME }.run(async |page| {
        page.loaded().await;
        let long = format!(
            "{SENTENCE} https://example.org/{} {}",
            "long".repeat(40),
            "w".repeat(120)
        );
        page.request_of(page.submit(&long)).await;
        page.assert_fits_the_width().await;
        for tab in ["#tab-json", "#tab-curl", "#tab-words"] {
            page.click(tab).await;
            page.assert_fits_the_width().await;
        }
        page.assert_accessible(&[]).await;
        page.request_of(page.click_button("several languages")).await;
        page.assert_fits_the_width().await;
        page.screenshot("page-phone").await;
    });
}

#[test]
fn everything_is_reached_by_keyboard_alone() {
    HOME.run(async |page| {
        page.loaded().await;
        let mut reached = Vec::new();
        for _ in 0..60 {
            page.press(&[Key::Tab]).await;
            let focused = page
                .run(
                    "const { activeElement } = document;
                    if (activeElement === document.body) return null;
                    const { outlineStyle, boxShadow } = getComputedStyle(activeElement);
                    const frame = getComputedStyle(activeElement.closest('.sheet') ?? activeElement).boxShadow;
                    const isShown = outlineStyle !== 'none' || boxShadow !== 'none' || frame !== 'none';
                    return [activeElement.id || activeElement.className || activeElement.textContent, isShown];",
                )
                .await;
            if focused.is_null() {
                break;
            }
            assert_eq!(focused[1], true, "{} shows no focus", focused[0]);
            reached.push(focused[0].as_str().unwrap().to_owned());
        }
        for name in [
            "text", "threshold", "aggregation", "offsets", "words", "share", "entity", "chip", "tab-words", "word-list",
        ] {
            assert!(reached.iter().any(|element| element == name), "{name} is not reached: {reached:?}");
        }
    });
}
