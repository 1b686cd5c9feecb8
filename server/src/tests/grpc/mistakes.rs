//! Requests that are refused, and how they are counted.

use super::*;

#[test]
fn each_mistake_is_a_status_that_names_it() {
    let server = Server::start(Script::default(), |config| {
        config.http.max_texts_per_batch = 2;
        config.engine.texts.max_text_bytes = 20;
        config.http.max_body_bytes = 2000;
    })
    .ready();
    let edited = |edit: fn(&mut ModelInferRequest)| {
        let mut request = typed(&["paul"]);
        edit(&mut request);
        request
    };
    let cases = [
        (
            Code::InvalidArgument,
            "is missing",
            edited(|request| request.inputs.clear()),
        ),
        (
            Code::InvalidArgument,
            "unknown input `ids`",
            edited(|request| request.inputs[0].name = "ids".to_owned()),
        ),
        (
            Code::InvalidArgument,
            "datatype INT32",
            edited(|request| request.inputs[0].datatype = "INT32".to_owned()),
        ),
        (
            Code::InvalidArgument,
            "shape [1, 2]",
            edited(|request| request.inputs[0].shape = vec![1, 2]),
        ),
        (
            Code::InvalidArgument,
            "shape [-1]",
            edited(|request| request.inputs[0].shape = vec![-1]),
        ),
        (
            Code::InvalidArgument,
            "shape [2] and 1 texts",
            edited(|request| request.inputs[0].shape = vec![2]),
        ),
        (
            Code::InvalidArgument,
            "either `contents.bytes_contents`",
            edited(|request| request.raw_input_contents = vec![vec![]]),
        ),
        (
            Code::InvalidArgument,
            "2 entries for 1 inputs",
            edited(|request| request.raw_input_contents = vec![vec![], vec![]]),
        ),
        (
            Code::InvalidArgument,
            "text 0 of `text` is longer",
            edited(|request| {
                request.inputs[0].contents = None;
                request.raw_input_contents = vec![vec![9, 0, 0, 0, 1]];
            }),
        ),
        (
            Code::InvalidArgument,
            "not UTF-8",
            edited(|request| {
                request.inputs[0].contents.as_mut().unwrap().bytes_contents = vec![vec![0xff]];
            }),
        ),
        (
            Code::InvalidArgument,
            "shared memory",
            edited(|request| {
                request.inputs[0].parameters =
                    parameters([("shared_memory_region", StringParam("r".to_owned()))]);
            }),
        ),
        (
            Code::InvalidArgument,
            "`offsets` is \"utf8\"; it must be one of \"codepoint\",",
            edited(|request| request.parameters = parameters([("offsets", StringParam("utf8".to_owned()))])),
        ),
        (
            Code::InvalidArgument,
            "name the outputs you want instead of `include_words`",
            edited(|request| request.parameters = parameters([("include_words", BoolParam(false))])),
        ),
        (
            Code::InvalidArgument,
            "between 0 and 1",
            edited(|request| request.parameters = parameters([("threshold", Int64Param(2))])),
        ),
        (
            Code::InvalidArgument,
            "between 0 and 1",
            edited(|request| request.parameters = parameters([("threshold", DoubleParam(f64::INFINITY))])),
        ),
        (
            Code::InvalidArgument,
            "between 0 and 1",
            edited(|request| {
                request.parameters = parameters([("threshold", StringParam("nan".to_owned()))]);
            }),
        ),
        (
            Code::InvalidArgument,
            "NaN",
            edited(|request| request.parameters = parameters([("offsets", DoubleParam(f64::NAN))])),
        ),
        (
            Code::NotFound,
            "the model is `test`",
            edited(|request| request.model_name = "other".to_owned()),
        ),
        (
            Code::NotFound,
            "the version is `v1`",
            edited(|request| request.model_version = "v2".to_owned()),
        ),
        (Code::ResourceExhausted, "has 3 texts", typed(&["a", "b", "c"])),
        (
            Code::ResourceExhausted,
            "text 1 of `text`",
            typed(&["a", "aaaaaaaaaaaaaaaaaaaaa"]),
        ),
        (
            Code::ResourceExhausted,
            "--max-body-bytes",
            typed(&[&"a".repeat(2000)]),
        ),
        (Code::Internal, "text 0 of `text`", typed(&["nan"])),
    ];
    on(&server, async |mut client, channel| {
        for (code, problem, request) in cases {
            let refused = client.model_infer(request).await.unwrap_err();
            assert_eq!(refused.code(), code, "{refused:?}");
            assert!(refused.message().contains(problem), "{refused:?}");
            assert!(refused.metadata().get("x-request-id").is_some());
        }
        // A compressed message is limited by what it unpacks to.
        let mut packed = Client::new(channel).send_compressed(Gzip);
        let refused = packed
            .model_infer(typed(&[&"a".repeat(100_000)]))
            .await
            .unwrap_err();
        assert!(refused.message().contains("--max-body-bytes"), "{refused:?}");
    });
    assert_eq!(server.metric("nerve_refused_total{reason=\"text_bytes\"}"), 1.0);
    assert_eq!(server.metric("nerve_refused_total{reason=\"texts\"}"), 1.0);
    assert_eq!(server.metric("nerve_refused_total{reason=\"body_bytes\"}"), 2.0);
    let counted = |status| {
        server.metric(&format!(
            "nerve_requests_total{{route=\"{MODEL_INFER}\",status=\"{status}\"}}"
        ))
    };
    assert_eq!(
        (counted(400), counted(404), counted(413), counted(500)),
        (17.0, 2.0, 4.0, 1.0)
    );
}
