//! gRPC: the Open Inference Protocol, health and reflection.

mod connections;
mod mistakes;
mod service;
mod tls;

use std::collections::HashMap;

use tokio_stream::StreamExt;
use tonic::codec::CompressionEncoding::Gzip;
use tonic::transport::Channel;
use tonic::{Code, Request, Status};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_reflection::pb::v1::ServerReflectionRequest;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;

use super::*;
use crate::config::KeySource;
use crate::grpc::proto::grpc_inference_service_client::GrpcInferenceServiceClient;
use crate::grpc::proto::infer_parameter::ParameterChoice::{
    self, BoolParam, DoubleParam, Int64Param, StringParam,
};
use crate::grpc::proto::model_infer_request::{InferInputTensor, InferRequestedOutputTensor};
use crate::grpc::proto::{
    InferParameter, InferTensorContents, ModelInferRequest, ModelInferResponse, ModelMetadataRequest,
    ModelReadyRequest, ModelStreamInferResponse, ServerLiveRequest, ServerMetadataRequest,
    ServerReadyRequest,
};

type Client = GrpcInferenceServiceClient<Channel>;

const MODEL_INFER: &str = "/inference.GRPCInferenceService/ModelInfer";

/// Runs calls to a server.
fn on<T>(server: &Server, calls: impl AsyncFnOnce(Client, Channel) -> T) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let endpoint = Channel::from_shared(format!("http://{}", server.grpc)).unwrap();
        let channel = endpoint.connect().await.unwrap();
        let client = Client::new(channel.clone()).max_decoding_message_size(usize::MAX);
        calls(client, channel).await
    })
}

fn parameters<const N: usize>(given: [(&str, ParameterChoice); N]) -> HashMap<String, InferParameter> {
    let parameter = |(name, choice): (&str, _)| {
        let parameter_choice = Some(choice);
        (name.to_owned(), InferParameter { parameter_choice })
    };
    given.into_iter().map(parameter).collect()
}

/// A request whose texts are in the contents of its input.
fn typed(texts: &[&str]) -> ModelInferRequest {
    let contents = InferTensorContents {
        bytes_contents: texts.iter().map(|text| text.as_bytes().to_vec()).collect(),
        ..InferTensorContents::default()
    };
    ModelInferRequest {
        model_name: "test".to_owned(),
        inputs: vec![InferInputTensor {
            name: "text".to_owned(),
            datatype: "BYTES".to_owned(),
            shape: vec![texts.len() as i64],
            contents: Some(Box::new(contents)),
            ..InferInputTensor::default()
        }],
        ..ModelInferRequest::default()
    }
}

/// The same request with raw contents.
fn raw(texts: &[&str]) -> ModelInferRequest {
    let mut request = typed(texts);
    request.inputs[0].contents = None;
    let mut bytes = Vec::new();
    for text in texts {
        bytes.extend_from_slice(&(text.len() as u32).to_le_bytes());
        bytes.extend_from_slice(text.as_bytes());
    }
    request.raw_input_contents = vec![bytes];
    request
}

/// The elements of an output, parsed.
fn output(answer: &ModelInferResponse, index: usize) -> Vec<Value> {
    let parse = |bytes: &[u8]| serde_json::from_slice(bytes).unwrap();
    match answer.raw_output_contents.get(index) {
        None => {
            let contents = answer.outputs[index].contents.as_ref().unwrap();
            contents
                .bytes_contents
                .iter()
                .map(|element| parse(element))
                .collect()
        }
        Some(bytes) => {
            let mut elements = Vec::new();
            let mut rest = bytes.as_slice();
            while let Some((length, after)) = rest.split_first_chunk::<4>() {
                let (element, after) = after.split_at(u32::from_le_bytes(*length) as usize);
                elements.push(parse(element));
                rest = after;
            }
            elements
        }
    }
}

#[test]
fn metadata_and_readiness_name_the_model() {
    let server = Server::plain();
    on(&server, async |mut client, _| {
        assert!(
            client
                .server_live(ServerLiveRequest {})
                .await
                .unwrap()
                .into_inner()
                .live
        );
        assert!(
            client
                .server_ready(ServerReadyRequest {})
                .await
                .unwrap()
                .into_inner()
                .ready
        );
        let metadata = client
            .server_metadata(ServerMetadataRequest {})
            .await
            .unwrap()
            .into_inner();
        assert_eq!(
            (metadata.name.as_str(), metadata.version.as_str()),
            ("nerve", env!("CARGO_PKG_VERSION"))
        );
        for (name, version, known) in [
            ("test", "", true),
            ("test", "v1", true),
            ("test", "v2", false),
            ("other", "", false),
        ] {
            let (name, version) = (name.to_owned(), version.to_owned());
            let ready = ModelReadyRequest {
                name: name.clone(),
                version: version.clone(),
            };
            let ready = client.model_ready(ready).await;
            let model = client
                .model_metadata(ModelMetadataRequest { name, version })
                .await;
            if known {
                assert!(ready.unwrap().into_inner().ready);
                let model = model.unwrap().into_inner();
                assert_eq!(
                    (model.name.as_str(), model.versions),
                    ("test", vec!["v1".to_owned()])
                );
                assert_eq!(
                    (model.inputs[0].name.as_str(), &model.inputs[0].shape),
                    ("text", &vec![-1])
                );
                assert_eq!(model.outputs.len(), 2);
            } else {
                assert_eq!(ready.unwrap_err().code(), Code::NotFound);
                assert_eq!(model.unwrap_err().code(), Code::NotFound);
            }
        }
    });
    let counted = "nerve_requests_total{route=\"/inference.GRPCInferenceService/ModelReady\",status=\"404\"}";
    assert_eq!(server.metric(counted), 2.0);
}

#[test]
fn texts_are_answered_in_the_form_they_are_sent_in() {
    let server = Server::plain();
    let texts = ["paul", "😀 in paris", ""];
    on(&server, async |mut client, _| {
        let mut plain = typed(&texts);
        plain.id = "r1".to_owned();
        let mut request = Request::new(plain);
        request
            .metadata_mut()
            .insert("x-request-id", "call-7".parse().unwrap());
        let answer = client.model_infer(request).await.unwrap();
        assert_eq!(answer.metadata().get("x-request-id").unwrap(), "call-7");
        let answer = answer.into_inner();
        assert_eq!(
            (
                answer.id.as_str(),
                answer.model_name.as_str(),
                answer.model_version.as_str()
            ),
            ("r1", "test", "v1")
        );
        assert_eq!(
            (answer.outputs[0].name.as_str(), &answer.outputs[0].shape),
            ("entities", &vec![3])
        );
        assert!(answer.raw_output_contents.is_empty());
        let entities = output(&answer, 0);
        assert_eq!(
            (&entities[0][0]["type"], &entities[1][0]["start"]),
            (&json!("person"), &json!(5))
        );
        assert_eq!(entities[2], json!([]));
        assert_eq!(output(&answer, 1)[1][2]["label"], "B-location");

        let as_bytes = client.model_infer(raw(&texts)).await.unwrap().into_inner();
        assert_eq!(as_bytes.raw_output_contents.len(), 2);
        assert!(as_bytes.outputs.iter().all(|output| output.contents.is_none()));
        assert_eq!(
            (output(&as_bytes, 0), output(&as_bytes, 1)),
            (entities, output(&answer, 1))
        );

        // The messages of KServe have no fractions.
        let mut asked = raw(&["😀 in paris"]);
        asked.parameters = parameters([
            ("offsets", StringParam("utf16".to_owned())),
            ("threshold", StringParam("0.5".to_owned())),
            ("labels", StringParam("location, person".to_owned())),
            ("priority", Int64Param(1)),
            ("sequence_start", BoolParam(true)),
        ]);
        asked.inputs[0].parameters = parameters([("content_type", StringParam("str".to_owned()))]);
        asked.outputs = vec![InferRequestedOutputTensor {
            name: "entities".to_owned(),
            parameters: parameters([("content_type", StringParam("str".to_owned()))]),
        }];
        let answer = client.model_infer(asked).await.unwrap().into_inner();
        assert_eq!(
            (answer.outputs.len(), &output(&answer, 0)[0][0]["start"]),
            (1, &json!(6))
        );
    });
    let counted = format!("nerve_requests_total{{route=\"{MODEL_INFER}\",status=\"200\"}}");
    eventually(|| server.metric(&counted) == 3.0);
    eventually(|| server.metric("nerve_in_flight") == 1.0);
}

#[test]
fn a_key_is_needed_for_texts_alone() {
    let server = Server::start(Script::default(), |config| {
        config.api_keys = Some(KeySource::Variable {
            name: "KEYS".to_owned(),
            value: "secret".to_owned(),
        });
    })
    .ready();
    on(&server, async |mut client, _| {
        assert!(client.server_ready(ServerReadyRequest {}).await.is_ok());
        for (name, value, allowed) in [
            ("x-other", "", false),
            ("authorization", "Bearer guess", false),
            ("authorization", "Bearer secret", true),
            ("x-api-key", "secret", true),
        ] {
            let mut request = Request::new(typed(&["paul"]));
            request.metadata_mut().insert(name, value.parse().unwrap());
            let answered = client.model_infer(request).await;
            assert_eq!(answered.is_ok(), allowed, "{name}: {value}");
            if let Err(refused) = answered {
                assert_eq!(refused.code(), Code::Unauthenticated);
            }
        }
        let streamed = client
            .model_stream_infer(tokio_stream::iter([typed(&["paul"])]))
            .await;
        assert_eq!(streamed.unwrap_err().code(), Code::Unauthenticated);
    });
    assert_eq!(server.metric("nerve_refused_total{reason=\"key\"}"), 3.0);
}

#[test]
fn the_timeout_of_the_client_is_a_deadline_and_a_full_queue_says_when_to_retry() {
    let server = Server::start(slow(), |config| config.engine.queue.windows = 1).ready();
    on(&server, async |mut client, _| {
        let mut late = typed(&["slow"]);
        late.parameters = parameters([("timeout", Int64Param(20_000))]);
        let late = client.model_infer(late).await.unwrap_err();
        assert_eq!(late.code(), Code::DeadlineExceeded);
        assert!(late.message().starts_with("no answer within 20 ms"), "{late:?}");

        // The worker is still busy with it.
        let waiting = server.later("paul");
        eventually(|| server.metric("nerve_queue_windows") == 1.0);
        let refused = client.model_infer(typed(&["paris"])).await.unwrap_err();
        assert_eq!(refused.code(), Code::ResourceExhausted);
        assert_eq!(refused.metadata().get("retry-after").unwrap(), "1");
        assert_eq!(refused.metadata().get("grpc-retry-pushback-ms").unwrap(), "1000");
        server.script.slow_waits.store(false, Ordering::SeqCst);
        assert_eq!(receive(waiting).status, 200);
    });
    assert_eq!(
        server.metric("nerve_refused_total{reason=\"queue_windows\"}"),
        1.0
    );
}

#[test]
fn a_client_that_leaves_withdraws_its_call() {
    let server = Server::start(slow(), |_| ()).ready();
    on(&server, async |mut client, _| {
        let call = client.model_infer(typed(&["slow"]));
        let left = tokio::time::timeout(Duration::from_millis(100), call).await;
        assert!(left.is_err());
    });
    let counted = format!("nerve_requests_total{{route=\"{MODEL_INFER}\",status=\"499\"}}");
    eventually(|| server.metric(&counted) == 1.0);
    eventually(|| server.metric("nerve_in_flight") == 1.0);
}

fn streamed(answer: &ModelStreamInferResponse) -> (String, String, bool) {
    let response = answer.infer_response.clone().unwrap();
    let last = response.parameters["triton_final_response"].parameter_choice == Some(BoolParam(true));
    (response.id, answer.error_message.clone(), last)
}

#[test]
fn a_stream_is_answered_in_order_with_the_errors_of_its_requests() {
    let server = Server::plain();
    let requests = (0..100).map(|number| {
        let text = if number % 10 == 3 { "nan" } else { "paul met paul" };
        let mut request = if number % 2 == 0 {
            typed(&[text])
        } else {
            raw(&[text])
        };
        request.id = number.to_string();
        request
    });
    on(&server, async |mut client, _| {
        let answers = client
            .model_stream_infer(tokio_stream::iter(requests.collect::<Vec<_>>()))
            .await;
        let answers: Vec<_> = answers.unwrap().into_inner().map(Result::unwrap).collect().await;
        assert_eq!(answers.len(), 100);
        for (number, answer) in answers.iter().enumerate() {
            let (id, error, last) = streamed(answer);
            assert_eq!((id, last), (number.to_string(), true));
            assert_eq!(error.contains("text 0 of `text`"), number % 10 == 3, "{error}");
            if error.is_empty() {
                assert_eq!(
                    output(answer.infer_response.as_ref().unwrap(), 0)[0][1]["type"],
                    "person"
                );
            }
        }
    });
    let counted =
        "nerve_requests_total{route=\"/inference.GRPCInferenceService/ModelStreamInfer\",status=\"200\"}";
    eventually(|| server.metric(counted) == 1.0);
    eventually(|| server.metric("nerve_in_flight") == 1.0);
}

#[test]
fn reflection_describes_the_services() {
    let server = Server::plain();
    on(&server, async |_, channel| {
        let list = ServerReflectionRequest {
            host: String::new(),
            message_request: Some(MessageRequest::ListServices(String::new())),
        };
        let answers = ServerReflectionClient::new(channel)
            .server_reflection_info(tokio_stream::iter([list]))
            .await;
        let answer = answers.unwrap().into_inner().message().await.unwrap().unwrap();
        let Some(MessageResponse::ListServicesResponse(list)) = answer.message_response else {
            panic!("{answer:?}");
        };
        let mut names: Vec<_> = list.service.into_iter().map(|service| service.name).collect();
        names.sort();
        assert_eq!(
            names,
            [
                "grpc.health.v1.Health",
                "grpc.reflection.v1.ServerReflection",
                "inference.GRPCInferenceService"
            ]
        );
    });
}

#[test]
fn messages_are_compressed_for_clients_that_unpack_them() {
    let server = Server::plain();
    let text = "paul met in paris ".repeat(50);
    on(&server, async |mut client, channel| {
        let mut packed = Client::new(channel).send_compressed(Gzip).accept_compressed(Gzip);
        let answer = packed.model_infer(typed(&[&text])).await.unwrap();
        assert_eq!(answer.metadata().get("grpc-encoding").unwrap(), "gzip");
        let plain = client.model_infer(typed(&[&text])).await.unwrap();
        assert!(plain.metadata().get("grpc-encoding").is_none());
        assert_eq!(answer.into_inner(), plain.into_inner());
    });
}

#[test]
fn the_canary_answers_its_share_of_calls() {
    let server = Server::start_with(
        Script::default(),
        Some(Script {
            current: Mutex::new("v2".to_owned()),
            ..Script::default()
        }),
        |config| {
            config.engine.versions.canary = Some(nerve_engine::CanaryConfig {
                address: "./canary".parse().unwrap(),
                source: None,
                percent: 50,
            });
        },
    )
    .ready();
    on(&server, async |mut client, _| {
        let mut versions = HashMap::new();
        for number in 0..40 {
            let mut request = Request::new(typed(&["paul"]));
            let id = format!("request-{number}");
            request.metadata_mut().insert("x-request-id", id.parse().unwrap());
            let over_grpc = client
                .model_infer(request)
                .await
                .unwrap()
                .into_inner()
                .model_version;
            let headers = format!("content-type: application/json\r\nx-request-id: {id}\r\n");
            let over_http = receive(server.send("POST", "/ner", &headers, r#"{"text": "paul"}"#)).json();
            assert_eq!(over_http["model"]["version"], over_grpc);
            *versions.entry(over_grpc).or_insert(0) += 1;
        }
        assert_eq!(versions.len(), 2, "{versions:?}");
        let mut named = typed(&["paul"]);
        named.model_version = "v2".to_owned();
        assert_eq!(
            client
                .model_infer(named)
                .await
                .unwrap()
                .into_inner()
                .model_version,
            "v2"
        );
    });
}
