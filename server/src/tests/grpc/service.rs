//! Calls without a connection: what a client's library would not send, or would end by itself.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame};
use prost::Message;
use tokio::sync::watch;
use tonic::body::Body;
use tonic::service::Routes;
use tower_service::Service;

use super::*;
use crate::grpc::observe::{CALL_BYTES, Observed};
use crate::grpc::server::routes;
use crate::grpc::stage::Stage;
use crate::http::keys::Keys;
use crate::http::state::AppState;

/// A body of parts, after which the client sends nothing more, or ends.
struct Parts {
    parts: Vec<Bytes>,
    ends: bool,
}

impl HttpBody for Parts {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        match (self.parts.pop(), self.ends) {
            (Some(part), _) => Poll::Ready(Some(Ok(Frame::data(part)))),
            (None, true) => Poll::Ready(None),
            (None, false) => Poll::Pending,
        }
    }
}

fn frame(message: &[u8], compressed: bool) -> Bytes {
    let length = (message.len() as u32).to_be_bytes();
    [&[u8::from(compressed)], &length[..], message].concat().into()
}

/// What a call is answered with.
struct Answered {
    status: String,
    message: String,
    body: Vec<u8>,
}

struct Direct {
    state: AppState,
    service: Observed<Routes>,
    _stage: watch::Sender<Stage>,
}

impl Direct {
    async fn new(script: Arc<Script>, edit: impl FnOnce(&mut ServerConfig)) -> Self {
        let mut config = ServerConfig::default();
        config.engine.model.workers = Some(1);
        edit(&mut config);
        let source = Arc::new(FakeSource(script));
        let engine = Engine::with_sources(config.engine.clone(), source, None)
            .await
            .unwrap();
        engine.ready().await.unwrap();
        let keys = Arc::new(Keys::read(&config).unwrap());
        let state = AppState::new(Arc::new(engine), keys, config.http).unwrap();
        let (stage, told) = watch::channel(Stage::Serving);
        let inner = routes(&state, &told).unwrap();
        let service = Observed {
            state: state.clone(),
            inner,
        };
        Self {
            state,
            service,
            _stage: stage,
        }
    }

    async fn call<B>(&mut self, path: &str, headers: &[(&str, &str)], parts: B) -> Answered
    where
        B: HttpBody<Data = Bytes, Error = Status> + Send + 'static,
    {
        let mut request = http::Request::post(path).header("content-type", "application/grpc");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Body::new(parts)).unwrap();
        let (head, mut body) = self.service.call(request).await.unwrap().into_parts();
        let (mut bytes, mut trailers) = (Vec::new(), head.headers);
        while let Some(frame) = std::future::poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await
        {
            match frame.unwrap().into_data() {
                Ok(data) => bytes.extend_from_slice(&data),
                Err(frame) => trailers.extend(frame.into_trailers().unwrap()),
            }
        }
        let text = |name: &str| {
            let value = trailers.get(name).map(|value| value.to_str().unwrap().to_owned());
            value.unwrap_or_default()
        };
        Answered {
            status: text("grpc-status"),
            message: text("grpc-message").replace("%20", " "),
            body: bytes,
        }
    }
}

fn direct(script: Script, edit: impl FnOnce(&mut ServerConfig), calls: impl AsyncFnOnce(&mut Direct)) {
    let script = Arc::new(script);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let mut direct = Direct::new(Arc::clone(&script), edit).await;
        calls(&mut direct).await;
        script.slow_waits.store(false, Ordering::SeqCst);
        // What a call held is returned.
        assert_eq!(direct.state.memory.used(), 0);
        direct.state.engine.close().await;
    });
}

fn whole(message: &[u8]) -> Parts {
    Parts {
        parts: vec![frame(message, false)],
        ends: true,
    }
}

#[test]
fn grpc_timeout_is_a_deadline_that_cannot_be_lengthened() {
    let limit = |config: &mut ServerConfig| config.http.request_timeout_ms = 40;
    direct(slow(), limit, async |direct| {
        let message = typed(&["slow"]).encode_to_vec();
        for (timeout, limit) in [("20m", "20 ms"), ("99999999H", "40 ms")] {
            let answered = direct
                .call(MODEL_INFER, &[("grpc-timeout", timeout)], whole(&message))
                .await;
            assert_eq!(answered.status, "4");
            assert!(answered.message.contains(limit), "{}", answered.message);
        }
        let wrong = direct
            .call(MODEL_INFER, &[("grpc-timeout", "soon")], whole(&message))
            .await;
        assert_eq!(wrong.status, "3");
    });
}

#[test]
fn a_body_that_does_not_arrive_ends_its_call() {
    let limit = |config: &mut ServerConfig| {
        config.http.read_timeout_ms = 20;
        config.http.idle_timeout_ms = 20;
    };
    direct(Script::default(), limit, async |direct| {
        let message = frame(&typed(&["paul"]).encode_to_vec(), false);
        let half = Parts {
            parts: vec![message.slice(..9)],
            ends: false,
        };
        let slow = direct.call(MODEL_INFER, &[], half).await;
        assert_eq!(slow.status, "4");
        assert!(slow.message.contains("--read-timeout-ms"), "{}", slow.message);
        let broken = Parts {
            parts: vec![message.slice(..9)],
            ends: true,
        };
        assert_eq!(direct.call(MODEL_INFER, &[], broken).await.status, "3");
        let silent = Parts {
            parts: vec![message],
            ends: false,
        };
        let stream = MODEL_INFER.replace("ModelInfer", "ModelStreamInfer");
        let silent = direct.call(&stream, &[], silent).await;
        assert_eq!(silent.status, "4", "{}", silent.message);
        assert!(!silent.body.is_empty());
    });
}

#[test]
fn a_message_and_its_answer_take_memory_until_they_are_sent() {
    // What a call takes beside its message and answer, with the one header that it has.
    const BUDGET: usize = 3000 + CALL_BYTES + 256;
    let limit = |config: &mut ServerConfig| config.http.max_inflight_bytes = BUDGET;
    direct(Script::default(), limit, async |direct| {
        let small = typed(&["paul"]).encode_to_vec();
        assert_eq!(direct.call(MODEL_INFER, &[], whole(&small)).await.status, "0");
        // The request fits, and its answer does not.
        let wordy = typed(&[&"paul ".repeat(100)]).encode_to_vec();
        let answered = direct.call(MODEL_INFER, &[], whole(&wordy)).await;
        assert_eq!(answered.status, "8", "{}", answered.message);
        assert!(
            answered.message.contains("--max-inflight-bytes"),
            "{}",
            answered.message
        );
        let mut other = direct.state.memory.permit();
        other.grow(BUDGET).unwrap();
        assert_eq!(direct.call(MODEL_INFER, &[], whole(&small)).await.status, "8");
        drop(other);

        let request = http::Request::post(MODEL_INFER)
            .header("content-type", "application/grpc")
            .body(Body::new(whole(&small)))
            .unwrap();
        let mut body = direct.service.call(request).await.unwrap().into_body();
        let sent = std::future::poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await;
        let sent = sent.unwrap().unwrap().into_data().unwrap();
        drop(body);
        // The connection still has the bytes.
        assert!(
            direct.state.memory.used() >= sent.len() - 100,
            "{}",
            direct.state.memory.used()
        );
        drop(sent);
    });
}

#[test]
fn what_is_no_call_of_the_service_is_refused_and_counted() {
    direct(
        Script::default(),
        |_| (),
        async |direct| {
            let mut many = typed(&["a"]);
            many.inputs = vec![InferInputTensor::default(); 100_000];
            for (path, headers, message, status, problem) in [
                (
                    "/inference.GRPCInferenceService/ModelConfig",
                    &[][..],
                    vec![],
                    "12",
                    "no such method; reflection",
                ),
                (
                    "/other.Service/Call",
                    &[],
                    vec![],
                    "12",
                    "no such method; reflection",
                ),
                (MODEL_INFER, &[], vec![0x0a, 9, 1], "3", "cannot be decoded"),
                (MODEL_INFER, &[], many.encode_to_vec(), "3", "more than 1024"),
                (MODEL_INFER, &[("grpc-encoding", "zstd")], vec![], "12", "zstd"),
                (
                    MODEL_INFER,
                    &[("grpc-encoding", "gzip")],
                    vec![],
                    "5",
                    "no such model",
                ),
            ] {
                let answered = direct.call(path, headers, whole(&message)).await;
                assert_eq!(answered.status, status, "{path} {headers:?} {}", answered.message);
                assert!(answered.message.contains(problem), "{}", answered.message);
            }
            let broken = Parts {
                parts: vec![frame(b"no gzip", true)],
                ends: true,
            };
            let broken = direct
                .call(MODEL_INFER, &[("grpc-encoding", "gzip")], broken)
                .await;
            assert_eq!(broken.status, "3", "{}", broken.message);
        },
    );
}

/// A body whose connection breaks after a part.
struct Broken(Option<Bytes>);

impl HttpBody for Broken {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let broken = || Status::internal("h2 protocol error: broken pipe");
        Poll::Ready(Some(self.0.take().map(Frame::data).ok_or_else(broken)))
    }
}

/// The metrics, as text.
fn metrics(direct: &Direct) -> String {
    let families = direct.state.engine.metrics().registry().gather();
    prometheus::TextEncoder::new()
        .encode_to_string(&families)
        .unwrap()
}

#[test]
fn a_client_that_leaves_within_its_message_cancels_its_call() {
    direct(
        Script::default(),
        |_| (),
        async |direct| {
            let message = frame(&typed(&["paul"]).encode_to_vec(), false);
            for path in [MODEL_INFER, "/inference.GRPCInferenceService/ModelStreamInfer"] {
                let left = direct.call(path, &[], Broken(Some(message.slice(..9)))).await;
                assert_eq!(left.status, "1", "{}", left.message);
                let counted = format!("nerve_requests_total{{route=\"{path}\",status=\"499\"}} 1");
                let metrics = metrics(direct);
                assert!(metrics.contains(&counted), "{metrics}");
            }
        },
    );
}

#[test]
fn metadata_takes_memory_from_the_start_of_a_call() {
    const BUDGET: usize = 10 * CALL_BYTES;
    let limit = |config: &mut ServerConfig| config.http.max_inflight_bytes = BUDGET;
    direct(Script::default(), limit, async |direct| {
        let small = typed(&["paul"]).encode_to_vec();
        let long = "v".repeat(BUDGET / 4);
        let headers = [("a", long.as_str()), ("b", long.as_str())];
        let refused = direct.call(MODEL_INFER, &headers, whole(&small)).await;
        assert_eq!(refused.status, "8", "{}", refused.message);
        assert!(metrics(direct).contains("nerve_refused_total{reason=\"body_memory\"} 1"));
        let mut other = direct.state.memory.permit();
        other.grow(BUDGET).unwrap();
        let health = "/grpc.health.v1.Health/Check";
        assert_eq!(direct.call(health, &[], whole(&[])).await.status, "0");
        assert_eq!(direct.call(health, &headers, whole(&[])).await.status, "8");
        drop(other);
        assert_eq!(direct.call(MODEL_INFER, &[], whole(&small)).await.status, "0");
    });
}

#[test]
fn no_status_repeats_a_long_request() {
    direct(
        Script::default(),
        |_| (),
        async |direct| {
            let mut request = typed(&["paul"]);
            request.inputs[0].name = "x".repeat(100_000);
            let refused = direct
                .call(MODEL_INFER, &[], whole(&request.encode_to_vec()))
                .await;
            // Percent-encoded, with up to three bytes for a byte.
            assert!(refused.message.contains("takes"), "{}", refused.message);
            assert!(refused.message.len() <= 3 * 303, "{}", refused.message);
            request.inputs[0].shape = vec![1; 100_000];
            let refused = direct
                .call(MODEL_INFER, &[], whole(&request.encode_to_vec()))
                .await;
            assert!(refused.message.contains("dimensions"), "{}", refused.message);
            let coding = "z".repeat(5000);
            let headers = [("grpc-encoding", coding.as_str())];
            let refused = direct.call(MODEL_INFER, &headers, whole(&[])).await;
            assert!(refused.message.len() <= 400, "{}", refused.message);
        },
    );
}
