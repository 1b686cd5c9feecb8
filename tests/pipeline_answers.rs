//! `POST /` returns the stored answers of the `transformers` pipeline.
//!
//! `tests/parity/run.py --write-fixture` creates the answers and the checkpoint, which is tiny and random.

use serde_json::{Value, json};

use crate::fixture::{binary, repository, succeed};
use crate::server::Server;

#[test]
fn answers_are_those_of_the_pipeline() {
    let fixture = repository().join("tests/fixtures/pipeline");
    let dir = tempfile::tempdir().unwrap();
    let bundle = dir.path().join("bundle");
    succeed(
        binary("nerve-export")
            .args(["--precision", "fp32", "--max-length", "48"])
            .arg("--checkpoint")
            .arg(&fixture)
            .arg("--out")
            .arg(&bundle),
    );
    let cases: Vec<Value> =
        serde_json::from_slice(&std::fs::read(fixture.join("cases.json")).unwrap()).unwrap();
    let server = Server::start(&bundle, &[]);
    let mut entities = 0;
    for case in &cases {
        let asked = json!({"inputs": case["inputs"], "parameters": case["parameters"]});
        let answer = server.post("/", &asked);
        assert_eq!(answer.status, 200, "{asked}: {}", answer.body);
        let (expected, found) = (
            case["expected"].as_array().unwrap(),
            answer.body.as_array().unwrap(),
        );
        assert_eq!(expected.len(), found.len(), "{asked}: {}", answer.body);
        for (expected, found) in expected.iter().zip(found) {
            assert!(same(expected, found), "{asked}: {expected} but {found}");
        }
        entities += expected.len();
    }
    assert!(
        cases.len() > 200 && entities > 3000,
        "{} cases, {entities} entities",
        cases.len()
    );
}

/// Whether all fields are equal, with a tolerance of 1e-4 for scores.
fn same(expected: &Value, found: &Value) -> bool {
    let score = |entity: &Value| entity["score"].as_f64().unwrap();
    let others = |entity: &Value| {
        let mut others = entity.as_object().unwrap().clone();
        others.remove("score");
        others
    };
    (score(expected) - score(found)).abs() <= 1e-4 && others(expected) == others(found)
}
