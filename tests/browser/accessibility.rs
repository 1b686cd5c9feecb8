//! axe-core's rules, run in the page.
//!
//! Chromium's own accessibility tree tells names and roles but judges neither contrast nor structure, so the tests keep
//! axe-core. `make browser-test` takes its script out of a wheel from PyPI, and no Node.js is needed.

use serde_json::{Value, json};

use crate::page::Page;

impl Page {
    /// Fails with the rules that the page breaks, except for those of `known`.
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
            "axe-core checked almost nothing"
        );
    }
}
