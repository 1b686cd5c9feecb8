//! `/v2`, the Open Inference Protocol.

use super::*;

const INFER: &str = "/v2/models/test/infer";

fn error(response: &Response) -> String {
    let body = response.json();
    assert_eq!(body.as_object().map(serde_json::Map::len), Some(1), "{body}");
    body["error"].as_str().unwrap().to_owned()
}

fn infer(server: &Server, body: &Value) -> Response {
    server.post(INFER, &body.to_string())
}

fn texts(texts: &[&str]) -> Value {
    json!([{"name": "text", "shape": [texts.len()], "datatype": "BYTES", "data": texts}])
}

fn elements(tensor: &Value) -> Vec<Value> {
    let data = tensor["data"].as_array().unwrap();
    data.iter()
        .map(|element| serde_json::from_str(element.as_str().unwrap()).unwrap())
        .collect()
}

#[test]
fn metadata_names_the_model_and_its_tensors() {
    let server = Server::plain();
    assert_eq!(
        server.get("/v2").json()["extensions"],
        json!(["binary_tensor_data"])
    );
    assert_eq!(server.get("/v2/health/live").json(), json!({"live": true}));
    assert_eq!(server.get("/v2/health/ready").json(), json!({"ready": true}));
    let tensor = |name: &str| json!({"name": name, "datatype": "BYTES", "shape": [-1]});
    let expected = json!({
        "name": "test",
        "versions": ["v1"],
        "platform": "nerve",
        "inputs": [tensor("text")],
        "outputs": [tensor("entities"), tensor("words")]
    });
    for path in ["/v2/models/test", "/v2/models/test/versions/v1"] {
        assert_eq!(server.get(path).json(), expected);
        let ready = server.get(&format!("{path}/ready")).json();
        assert_eq!(ready, json!({"name": "test", "ready": true}));
    }
    for path in [
        "/v2/models/other",
        "/v2/models/other/ready",
        "/v2/models/test/versions/v2",
        "/v2/models/test/versions/v2/ready",
        "/v2/nowhere",
        "/v2/models",
    ] {
        let refused = server.get(path);
        assert_eq!(refused.status, 404, "{path}");
        assert!(!error(&refused).is_empty());
        assert!(refused.header("x-request-id").is_some());
    }
    let wrong = server.post("/v2", "{}");
    assert_eq!((wrong.status, wrong.header("allow")), (405, Some("GET, HEAD")));
    assert_eq!(error(&wrong), "the route takes GET, HEAD");
    assert_eq!(
        server.metric("nerve_requests_total{route=\"/v2/models/{model}\",status=\"404\"}"),
        1.0
    );
}

#[test]
fn texts_are_answered_in_json_tensors() {
    let server = Server::plain();
    let body = json!({"id": "r1", "inputs": texts(&["paul", "😀 in paris", ""])});
    let answer = infer(&server, &body).json();
    assert_eq!(
        (&answer["id"], &answer["model_name"], &answer["model_version"]),
        (&json!("r1"), &json!("test"), &json!("v1"))
    );
    let outputs = answer["outputs"].as_array().unwrap();
    assert_eq!(
        (&outputs[0]["name"], &outputs[0]["shape"]),
        (&json!("entities"), &json!([3]))
    );
    let entities = elements(&outputs[0]);
    assert_eq!(entities[0][0]["type"], "person");
    assert_eq!(entities[1][0]["start"], 5);
    assert_eq!(entities[2], json!([]));
    assert_eq!(elements(&outputs[1])[1][2]["label"], "B-location");
    // Once for both outputs.
    assert_eq!(server.metric("nerve_entities_total{type=\"person\"}"), 1.0);

    let asked = json!({
        "inputs": [{"name": "text", "shape": [2, 1], "datatype": "BYTES", "data": [["paul"], ["😀 in paris"]]}],
        "outputs": [{"name": "entities"}],
        "parameters": {"offsets": "utf16", "labels": "location, person", "threshold": 0.5, "constrained": false, "aggregation": "none"}
    });
    let answer = server
        .post("/v2/models/test/versions/v1/infer", &asked.to_string())
        .json();
    assert!(answer.get("id").is_none());
    assert_eq!(answer["outputs"].as_array().unwrap().len(), 1);
    assert_eq!(elements(&answer["outputs"][0])[1][0]["start"], 6);
}

#[test]
fn tensors_travel_as_bytes_too() {
    let server = Server::plain();
    let ask = |outputs: Value, parameters: Value| {
        let head = json!({
            "inputs": [{"name": "text", "shape": [2], "datatype": "BYTES", "parameters": {"binary_data_size": 15}}],
            "outputs": outputs,
            "parameters": parameters
        })
        .to_string();
        let body = format!("{head}\u{4}\0\0\0paul\u{3}\0\0\0met");
        let headers = format!("inference-header-content-length: {}\r\n", head.len());
        receive(server.send("POST", INFER, &headers, &body))
    };
    let plain = ask(json!([{"name": "entities"}]), json!({})).json();
    assert_eq!(elements(&plain["outputs"][0])[0][0]["text"], "paul");

    let binary = ask(
        json!([{"name": "words", "parameters": {"binary_data": false}}, {"name": "entities"}]),
        json!({"binary_data_output": true}),
    );
    assert_eq!(binary.header("content-type"), Some("application/octet-stream"));
    let length = binary
        .header("inference-header-content-length")
        .unwrap()
        .parse()
        .unwrap();
    let (head, tensor) = binary.body.split_at(length);
    let head: Value = serde_json::from_str(head).unwrap();
    assert_eq!(elements(&head["outputs"][0]).len(), 2);
    let size = &head["outputs"][1]["parameters"]["binary_data_size"];
    assert_eq!(size, &json!(tensor.len()));
    let (first, second) = tensor.as_bytes().split_at(tensor.len() - 6);
    assert_eq!(second, b"\x02\0\0\0[]");
    assert_eq!(first[..4], (first.len() as u32 - 4).to_le_bytes());
    assert!(serde_json::from_slice::<Value>(&first[4..]).unwrap()[0]["score"].is_number());
}

#[test]
fn each_mistake_is_an_error_of_the_protocol() {
    let server = Server::start(Script::default(), |config| {
        config.http.max_texts_per_batch = 2;
        config.engine.texts.max_text_bytes = 20;
        config.http.max_body_bytes = 2000;
    })
    .ready();
    let input = |edit: fn(&mut Value)| {
        let mut body = json!({"inputs": texts(&["paul"])});
        edit(&mut body);
        infer(&server, &body)
    };
    let long = "a".repeat(21);
    let cases = [
        (400, "is missing", input(|body| body["inputs"] = json!([]))),
        (
            400,
            "datatype INT32",
            input(|body| body["inputs"][0]["datatype"] = json!("INT32")),
        ),
        (
            400,
            "shape [1, 2]",
            input(|body| body["inputs"][0]["shape"] = json!([1, 2])),
        ),
        (
            400,
            "must hold strings",
            input(|body| body["inputs"][0]["data"] = json!([1])),
        ),
        (
            400,
            "unknown output `ner`",
            input(|body| body["outputs"] = json!([{"name": "ner"}])),
        ),
        (
            400,
            "asked for twice",
            input(|body| body["outputs"] = json!([{"name": "words"}, {"name": "words"}])),
        ),
        (
            400,
            "`threshold`",
            input(|body| body["parameters"] = json!({"threshold": 2})),
        ),
        (
            400,
            "person, location",
            input(|body| body["parameters"] = json!({"labels": "gpe"})),
        ),
        (
            400,
            "`timeout` is \"soon\"; it must be a whole number of microseconds",
            input(|body| body["parameters"] = json!({"timeout": "soon"})),
        ),
        (
            400,
            "name the outputs you want instead of `include_words`",
            input(|body| body["parameters"] = json!({"include_words": false})),
        ),
        (
            400,
            "`model_name` is `other`, but the request is answered by `test`",
            input(|body| body["model_name"] = json!("other")),
        ),
        (
            400,
            "`model_version` is `v2`, but the request is answered by `v1`",
            input(|body| body["model_version"] = json!("v2")),
        ),
        (
            400,
            "`words` has no classes",
            input(|body| body["outputs"] = json!([{"name": "words", "parameters": {"classification": 3}}])),
        ),
        (
            400,
            "`entities` is in shared memory",
            input(|body| {
                body["outputs"] = json!([{"name": "entities", "parameters": {"shared_memory_region": "r"}}]);
            }),
        ),
        (400, "not JSON", server.post(INFER, "{")),
        (
            413,
            "has 3 texts",
            infer(&server, &json!({"inputs": texts(&["a", "b", "c"])})),
        ),
        (
            413,
            "text 1 of `text`",
            infer(&server, &json!({"inputs": texts(&["a", &long])})),
        ),
        (
            413,
            "--max-body-bytes",
            infer(&server, &json!({"inputs": texts(&[&"a".repeat(2000)])})),
        ),
        (
            500,
            "text 0 of `text`",
            infer(&server, &json!({"inputs": texts(&["nan"])})),
        ),
        (
            404,
            "the model is `test`",
            server.post("/v2/models/other/infer", "{}"),
        ),
        (
            415,
            "content-type",
            receive(server.send("POST", INFER, "content-type: text/plain\r\n", "{}")),
        ),
        (
            400,
            "inference-header-content-length is 9",
            receive(server.send("POST", INFER, "inference-header-content-length: 9\r\n", "{}")),
        ),
    ];
    for (status, problem, response) in &cases {
        let message = error(response);
        assert_eq!(response.status, *status, "{message}");
        assert!(message.contains(problem), "{message}");
    }
    assert_eq!(server.metric("nerve_refused_total{reason=\"text_bytes\"}"), 1.0);
    assert_eq!(server.metric("nerve_refused_total{reason=\"texts\"}"), 1.0);
}

/// What the clients of KServe, MLServer and Triton send besides the protocol's own fields.
#[test]
fn fields_and_parameters_of_other_servers_are_ignored() {
    let server = Server::plain();
    let tensor = json!({
        "name": "text",
        "shape": [1, 1],
        "datatype": "BYTES",
        "parameters": {"content_type": "str"},
        "data": ["paul"]
    });
    let asked = json!({
        "model_name": "test",
        "model_version": "",
        "inputs": [tensor],
        "outputs": [{"name": "entities", "parameters": {"content_type": "str", "classification": 0}}],
        "parameters": {
            "content_type": "pd",
            "headers": {"accept": "*/*"},
            "sequence_id": 7,
            "sequence_start": true,
            "sequence_end": false,
            "priority": 1,
            "timeout": 20_000_000,
            "triton_enable_empty_final_response": true,
            "threshold": 0.5
        },
        "trace": null
    });
    let answer = infer(&server, &asked).json();
    assert_eq!(
        elements(&answer["outputs"][0])[0][0]["type"],
        "person",
        "{answer}"
    );

    let head = json!({
        "model_name": "test",
        "inputs": [{"name": "text", "shape": [1], "datatype": "BYTES", "parameters": {"binary_data_size": 8, "content_type": "str"}}],
        "parameters": {"priority": 2}
    })
    .to_string();
    let headers = format!("inference-header-content-length: {}\r\n", head.len());
    let binary = receive(server.send("POST", INFER, &headers, &format!("{head}\u{4}\0\0\0paul")));
    assert_eq!(elements(&binary.json()["outputs"][0])[0][0]["text"], "paul");
    assert_eq!(server.post("/ner", r#"{"text": "", "priority": 1}"#).status, 422);
}

#[test]
fn the_parameter_timeout_is_a_deadline() {
    let server = Server::start(slow(), |_| ()).ready();
    let late = infer(
        &server,
        &json!({"inputs": texts(&["slow"]), "parameters": {"timeout": 1500}}),
    );
    assert_eq!(late.status, 504);
    assert!(
        error(&late).starts_with("no answer within 1.5 ms"),
        "{}",
        late.body
    );
    server.script.slow_waits.store(false, Ordering::SeqCst);
    let none = json!({"inputs": texts(&["slow"]), "parameters": {"timeout": 0}});
    assert_eq!(infer(&server, &none).status, 200);
}
