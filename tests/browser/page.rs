//! A page in a browser of its own, and the actions of a visitor.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use fantoccini::actions::{InputSource, KeyAction, KeyActions, MouseActions, PointerAction};
use fantoccini::elements::Element;
use fantoccini::key::Key;
use fantoccini::wd::WebDriverCompatibleCommand;
use fantoccini::{Client, Locator};
use serde_json::{Value, json};

use crate::chromium::{self, Tools};
use crate::fixture::repository;
use crate::proxy;
use crate::server::Server;

/// The time limit of a test's wait for a condition.
const PATIENCE: Duration = Duration::from_secs(20);

/// Records in `calls` each request that a page makes with `fetch`, and lets a test's `stub` answer instead of the server.
const RECORD_CALLS: &str = r#"
    window.calls = [];
    const realFetch = window.fetch;
    window.fetch = async (url, init) => {
        const call = { url: String(url.url ?? url), body: init?.body, status: 0 };
        window.calls.push(call);
        const response = await (window.stub?.(call, init) ?? realFetch(url, init));
        call.status = response.status;
        return response;
    };
"#;

/// A visit to one of the pages.
#[derive(Clone, Copy, Default)]
pub(crate) struct Visit {
    /// The path, and the fragment if any.
    pub(crate) path: &'static str,
    /// Whether the visitor prefers dark colors.
    pub(crate) dark: bool,
    /// Whether the window is a phone's.
    pub(crate) phone: bool,
    /// Whether the server is behind a reverse proxy that serves it below a path prefix.
    pub(crate) prefixed: bool,
    /// A script that runs before those of the page.
    pub(crate) script: &'static str,
    /// The error statuses of responses that the test provokes; Chromium reports them on the console.
    pub(crate) expected: &'static [u16],
}

impl Visit {
    /// Opens the page and passes it to `test`. Then fails if the page has logged an error or a warning, or has sent a request
    /// to another server.
    pub(crate) fn run(self, test: impl AsyncFnOnce(&Page)) {
        let Some(tools) = chromium::tools() else { return };
        let model = repository().join("models/default");
        let server = Server::start(&model, &["--max-text-bytes", "2000"]);
        let driver = tools.driver();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.unwrap().block_on(async {
            let client = tools.browser(&driver).await;
            let page = Page::open(self, tools, client, &server).await;
            test(&page).await;
            page.assert_nothing_went_wrong(self.expected).await;
        });
    }
}

/// An open page.
pub(crate) struct Page {
    client: Client,
    pub(crate) tools: &'static Tools,
    /// The address of the server, without a slash at its end.
    pub(crate) base: String,
}

impl Page {
    async fn open(visit: Visit, tools: &'static Tools, client: Client, server: &Server) -> Self {
        let base = match visit.prefixed {
            true => format!("{}/prefix", proxy::serve_below_prefix(&server.base)),
            false => server.base.clone(),
        };
        let page = Self { client, tools, base };
        for script in [RECORD_CALLS, visit.script] {
            let command = "Page.addScriptToEvaluateOnNewDocument";
            page.devtools(command, json!({ "source": script })).await;
        }
        let scheme = if visit.dark { "dark" } else { "light" };
        let features = json!([{ "name": "prefers-color-scheme", "value": scheme }]);
        page.devtools("Emulation.setEmulatedMedia", json!({ "features": features }))
            .await;
        let (width, height) = if visit.phone { (360, 740) } else { (1280, 900) };
        page.devtools(
            "Emulation.setDeviceMetricsOverride",
            json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": visit.phone }),
        )
        .await;
        page.go_to(visit.path).await;
        page
    }

    pub(crate) async fn go_to(&self, path: &str) {
        self.client.goto(&format!("{}{path}", self.base)).await.unwrap();
    }

    /// Opens any address.
    pub(crate) async fn go_to_address(&self, address: &str) {
        self.client.goto(address).await.unwrap();
    }

    /// The value that a script returns, or that its promise resolves to.
    pub(crate) async fn run(&self, script: &str) -> Value {
        self.client.execute(script, Vec::new()).await.unwrap()
    }

    /// Waits until the expression is true.
    pub(crate) async fn wait_until(&self, condition: &str) {
        let end = Instant::now() + PATIENCE;
        while self.run(&format!("return Boolean({condition})")).await != true {
            assert!(Instant::now() < end, "not true after {PATIENCE:?}: {condition}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// The first element that matches the selector, once there is one.
    pub(crate) async fn element(&self, selector: &str) -> Element {
        self.find(Locator::Css(selector)).await
    }

    async fn find(&self, locator: Locator<'_>) -> Element {
        let wait = self.client.wait().at_most(PATIENCE);
        wait.for_element(locator).await.unwrap()
    }

    /// The text of the first element that matches the selector, hidden parts included.
    pub(crate) async fn text(&self, selector: &str) -> String {
        let element = self.element(selector).await;
        element.prop("textContent").await.unwrap().unwrap()
    }

    pub(crate) async fn value(&self, selector: &str) -> String {
        let element = self.element(selector).await;
        element.prop("value").await.unwrap().unwrap()
    }

    pub(crate) async fn count(&self, selector: &str) -> usize {
        let elements = self.client.find_all(Locator::Css(selector)).await.unwrap();
        elements.len()
    }

    pub(crate) async fn is_visible(&self, selector: &str) -> bool {
        self.element(selector).await.is_displayed().await.unwrap()
    }

    pub(crate) async fn click(&self, selector: &str) {
        self.element(selector).await.click().await.unwrap();
    }

    /// Clicks the button whose text starts with `text`.
    pub(crate) async fn click_button(&self, text: &str) {
        let path = format!("//button[starts-with(normalize-space(), '{text}')]");
        self.find(Locator::XPath(&path)).await.click().await.unwrap();
    }

    /// Chooses an option of a `select`.
    pub(crate) async fn choose(&self, selector: &str, value: &str) {
        let select = self.element(selector).await;
        select.select_by_value(value).await.unwrap();
    }

    /// Replaces the value of a field at once: chromedriver cannot type emoji.
    pub(crate) async fn fill(&self, selector: &str, value: &str) {
        let script = "const [field, value] = arguments;
            field.focus();
            const { set } = Object.getOwnPropertyDescriptor(Object.getPrototypeOf(field), 'value');
            set.call(field, value);
            for (const type of ['input', 'change']) field.dispatchEvent(new Event(type, { bubbles: true }));";
        let field = serde_json::to_value(self.element(selector).await).unwrap();
        self.client
            .execute(script, vec![field, json!(value)])
            .await
            .unwrap();
    }

    /// Presses keys together, in the element that has the focus.
    pub(crate) async fn press(&self, keys: &[Key]) {
        let value = |key: &Key| char::from(*key);
        let down = keys.iter().map(|key| KeyAction::Down { value: value(key) });
        let up = keys.iter().rev().map(|key| KeyAction::Up { value: value(key) });
        let keyboard = KeyActions::new("keyboard".to_owned());
        let keyboard = down.chain(up).fold(keyboard, KeyActions::then);
        self.client.perform_actions(keyboard).await.unwrap();
    }

    /// Types into the element that has the focus.
    pub(crate) async fn type_text(&self, text: &str) {
        let focused = self.client.active_element().await.unwrap();
        focused.send_keys(text).await.unwrap();
    }

    /// Moves the mouse onto an element.
    pub(crate) async fn hover(&self, selector: &str) {
        let (element, duration) = (self.element(selector).await, None);
        let (x, y) = (0.0, 0.0);
        let moved = PointerAction::MoveToElement {
            element,
            duration,
            x,
            y,
        };
        let mouse = MouseActions::new("mouse".to_owned()).then(moved);
        self.client.perform_actions(mouse).await.unwrap();
    }

    /// Allows the page to use the clipboard.
    pub(crate) async fn allow_clipboard(&self) {
        for name in ["clipboard-read", "clipboard-write"] {
            let body = json!({ "descriptor": { "name": name }, "state": "granted" });
            self.command("permissions", body).await;
        }
    }

    /// Fails if the page is wider than its window.
    pub(crate) async fn assert_fits_the_width(&self) {
        let widths = "const { scrollWidth, clientWidth } = document.documentElement; return [scrollWidth, clientWidth];";
        let widths = self.run(widths).await;
        assert!(
            widths[0].as_u64() <= widths[1].as_u64(),
            "page and window: {widths}"
        );
    }

    /// Saves a screenshot of the window in target/browser.
    pub(crate) async fn screenshot(&self, name: &str) {
        let directory: PathBuf = repository().join("target/browser");
        std::fs::create_dir_all(&directory).unwrap();
        let picture = self.client.screenshot().await.unwrap();
        std::fs::write(directory.join(format!("{name}.png")), picture).unwrap();
    }

    async fn assert_nothing_went_wrong(&self, expected: &[u16]) {
        let is_expected = |text: &str| {
            let mut statuses = expected.iter();
            statuses.any(|status| text.contains(&format!("status of {status} ")))
        };
        let mut wrong = Vec::new();
        for entry in self.log("browser").await {
            let message = entry["message"].as_str().unwrap();
            if ["SEVERE", "WARNING"].contains(&entry["level"].as_str().unwrap()) && !is_expected(message) {
                wrong.push(message.to_owned());
            }
        }
        let mut requests = 0;
        for entry in self.log("performance").await {
            let event: Value = serde_json::from_str(entry["message"].as_str().unwrap()).unwrap();
            if event["message"]["method"] == "Network.requestWillBeSent" {
                let url = event["message"]["params"]["request"]["url"].as_str().unwrap();
                requests += 1;
                // A `data:` URL, such as an image in a style sheet, needs no connection.
                if !url.starts_with(&format!("{}/", self.base)) && !url.starts_with("data:") {
                    wrong.push(format!("request to {url}"));
                }
            }
        }
        assert!(wrong.is_empty(), "{wrong:#?}");
        assert!(requests > 3, "the browser's requests were not recorded");
    }

    async fn log(&self, kind: &str) -> Vec<Value> {
        let log = self.command("se/log", json!({ "type": kind })).await;
        log.as_array().unwrap().clone()
    }

    /// Executes a command of the Chrome DevTools Protocol.
    async fn devtools(&self, command: &str, params: Value) -> Value {
        self.command("goog/cdp/execute", json!({ "cmd": command, "params": params }))
            .await
    }

    /// Executes a command of chromedriver that fantoccini does not have.
    async fn command(&self, path: &'static str, body: Value) -> Value {
        self.client.issue_cmd(PostCommand { path, body }).await.unwrap()
    }
}

/// A POST request below the session's address.
#[derive(Debug)]
struct PostCommand {
    path: &'static str,
    body: Value,
}

impl WebDriverCompatibleCommand for PostCommand {
    fn endpoint(&self, base: &url::Url, session: Option<&str>) -> Result<url::Url, url::ParseError> {
        base.join(&format!("session/{}/{}", session.unwrap_or_default(), self.path))
    }

    fn method_and_body(&self, _: &url::Url) -> (http::Method, Option<String>) {
        (http::Method::POST, Some(self.body.to_string()))
    }
}
