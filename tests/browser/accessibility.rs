//! axe-core's rules, run in the page.
//!
//! Chromium's accessibility tree has names and roles, but no checks of contrast and structure, so the tests use axe-core.
//! `make browser-test` takes its script from a wheel on PyPI, so Node.js is not needed.

use serde_json::{Value, json};

use crate::page::Page;

impl Page {
    /// Fails if the page violates rules other than `known`, and lists them.
    pub(crate) async fn assert_accessible(&self, known: &[&str]) {
        let axe = std::fs::read_to_string(&self.tools.axe).unwrap();
        self.run(&axe).await;
        let disabled = known.iter().map(|rule| (*rule, json!({ "enabled": false })));
        let disabled: Value = disabled.collect();
        let found = self
            .run(&format!(
                "const node = ({{ html, failureSummary }}) => `${{html}}\\n${{failureSummary}}`;
                return axe.run(document, {{ resultTypes: ['violations'], rules: {disabled} }}).then(
                    ({{ violations, passes }}) => ({{
                        broken: violations.map(({{ id, nodes }}) => ({{ id, nodes: nodes.map(node) }})),
                        passes: passes.length,
                    }}));"
            ))
            .await;
        assert_eq!(found["broken"], json!([]));
        assert!(
            found["passes"].as_u64().unwrap() > 10,
            "axe-core has checked too few rules"
        );
    }
}
