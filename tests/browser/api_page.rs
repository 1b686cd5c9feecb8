//! The page at `/docs`: Swagger UI with this server's API.

use serde_json::{Value, json};

use crate::page::{Page, Visit};

const DOCS: Visit = Visit {
    path: "/docs",
    dark: false,
    phone: false,
    prefixed: false,
    script: "",
    expected: &[],
};

/// Rules of axe-core that elements of Swagger UI violate, regardless of its settings.
const KNOWN: [&str; 6] = [
    "button-name",
    "heading-order",
    "label",
    "landmark-unique",
    "nested-interactive",
    "scrollable-region-focusable",
];

impl Page {
    /// Waits until the operations are shown.
    async fn loaded_api(&self) {
        self.element(".opblock").await;
    }

    /// Opens the operation with this ID and returns the selector of its element.
    async fn open_operation(&self, id: &str) -> String {
        let operation = format!("#operations-{id}");
        self.click(&format!("{operation} .opblock-summary-control")).await;
        self.element(&format!("{operation} .execute")).await;
        operation
    }

    /// Sends the request of an open operation and returns the status of the response.
    async fn execute(&self, operation: &str) -> String {
        self.click(&format!("{operation} .execute")).await;
        self.text(&format!(
            "{operation} .live-responses-table .response .response-col_status"
        ))
        .await
    }

    /// The body of the response to an operation that was executed.
    async fn response_body(&self, operation: &str) -> Value {
        let body = format!("{operation} .live-responses-table .response .highlight-code code");
        serde_json::from_str(&self.text(&body).await).unwrap()
    }
}

#[test]
fn every_operation_of_the_api_is_on_the_page() {
    DOCS.run(async |page| {
        page.loaded_api().await;
        let expected = page
            .run(
                "return fetch('openapi.json').then((response) => response.json()).then(({ paths }) =>
                    Object.entries(paths).flatMap(([path, item]) =>
                        Object.entries(item).map(([method, { summary }]) => [method.toUpperCase(), path, summary])));",
            )
            .await;
        let shown = page
            .run(
                "const text = (element) => element.textContent.replaceAll('\\u200b', '');
                return [...document.querySelectorAll('.opblock')].map((operation) =>
                    ['method', 'path', 'description'].map(
                        (part) => text(operation.querySelector(`.opblock-summary-${part}`))));",
            )
            .await;
        let sorted = |operations: Value| {
            let mut operations: Vec<[String; 3]> = serde_json::from_value(operations).unwrap();
            operations.sort();
            operations
        };
        let expected = sorted(expected);
        assert!(expected.len() > 20);
        assert_eq!(sorted(shown), expected);
    });
}

#[test]
fn an_operation_shows_its_statuses_and_the_fields_of_its_request() {
    DOCS.run(async |page| {
        page.loaded_api().await;
        let operation = page.open_operation("tagging-ner").await;
        let contract = page
            .run("return fetch('openapi.json').then((response) => response.json())")
            .await;
        let text = page.text(&operation).await;
        for (status, response) in contract["paths"]["/ner"]["post"]["responses"].as_object().unwrap() {
            let description = response["description"].as_str().unwrap().replace('`', "");
            assert!(text.contains(status) && text.contains(&description), "{status} {description}");
        }
        page.run(&format!(
            "document.querySelector('{operation} .opblock-section-request-body .tabitem:not(.active) button').click()"
        ))
        .await;
        let schema = format!("{operation} .opblock-section-request-body .json-schema-2020-12");
        let fields = page.text(&schema).await;
        let request = &contract["components"]["schemas"]["NerRequest"];
        for name in request["properties"].as_object().unwrap().keys() {
            assert!(fields.contains(name.as_str()), "{name} in {fields}");
        }
    });
}

#[test]
fn the_console_sends_the_example_of_the_api_and_shows_the_response() {
    DOCS.run(async |page| {
        page.loaded_api().await;
        let operation = page.open_operation("tagging-ner").await;
        assert_eq!(page.execute(&operation).await, "200");
        let body = page.response_body(&operation).await;
        assert_eq!(body["entities"][1]["text"], "Barack Obama");
        let headers = page
            .text(&format!("{operation} .live-responses-table .headerline"))
            .await;
        assert!(!headers.is_empty());
        assert!(page.text(&operation).await.contains("x-request-id: "));
        page.run(&format!("document.querySelector('{operation}').scrollIntoView()"))
            .await;
        page.screenshot("docs-console").await;
        let info = page.open_operation("operations-info").await;
        assert_eq!(page.execute(&info).await, "200");
    });
}

#[test]
fn behind_a_path_prefix_the_console_sends_requests_below_the_prefix() {
    let prefixed = true;
    Visit { prefixed, ..DOCS }.run(async |page| {
        page.loaded_api().await;
        let operation = page.open_operation("tagging-ner").await;
        assert_eq!(page.execute(&operation).await, "200");
        let calls = page.run("return window.calls.map(({ url }) => url)").await;
        let address = format!("{}/ner", page.base);
        assert!(calls.as_array().unwrap().contains(&json!(address)), "{calls}");
        assert!(
            page.text(&format!("{operation} .curl-command"))
                .await
                .contains(&address)
        );
    });
}

#[test]
fn an_error_of_the_api_is_shown_and_markup_in_it_is_text() {
    let expected = &[422];
    Visit { expected, ..DOCS }.run(async |page| {
        page.loaded_api().await;
        let operation = page.open_operation("tagging-ner").await;
        let body = json!({ "text": "", "labels": ["<img src=x onerror=alert(1)>"] });
        let field = format!("{operation} textarea.body-param__text");
        page.fill(&field, &body.to_string()).await;
        assert_eq!(page.execute(&operation).await, "422");
        let answer = page.response_body(&operation).await;
        assert_eq!(answer["error"]["code"], "invalid_request");
        assert_eq!(page.count("main img").await, 0);
    });
}

#[test]
fn the_api_page_is_accessible_in_light_and_dark_colors() {
    for (dark, scheme) in [(false, "light"), (true, "dark")] {
        Visit { dark, ..DOCS }.run(async |page| {
            page.loaded_api().await;
            page.screenshot(&format!("docs-{scheme}")).await;
            for id in ["tagging-ner", "operations-info"] {
                let operation = page.open_operation(id).await;
                page.execute(&operation).await;
            }
            page.assert_accessible(&KNOWN).await;
        });
    }
}

#[test]
fn the_api_page_fits_a_phone() {
    Visit { phone: true, ..DOCS }.run(async |page| {
        page.loaded_api().await;
        page.open_operation("tagging-ner").await;
        page.assert_fits_the_width().await;
        page.screenshot("docs-phone").await;
    });
}
