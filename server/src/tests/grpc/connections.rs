//! Health, draining, and clients that do not read.

use super::*;

async fn health(channel: &Channel, service: &str) -> Result<ServingStatus, Status> {
    let service = service.to_owned();
    let answer = HealthClient::new(channel.clone())
        .check(HealthCheckRequest { service })
        .await?;
    Ok(answer.into_inner().status())
}

#[test]
fn health_follows_readiness_and_calls_end_when_the_server_drains() {
    let mut server = Server::start(slow(), |config| config.http.drain_delay_ms = 2_000).ready();
    on(&server, async |_, channel| {
        for service in ["", "inference.GRPCInferenceService"] {
            assert_eq!(health(&channel, service).await.unwrap(), ServingStatus::Serving);
        }
        assert_eq!(
            health(&channel, "other").await.unwrap_err().code(),
            Code::NotFound
        );
    });
    let shutdown = server.shutdown.take();
    on(&server, async |mut client, channel| {
        let watched = HealthClient::new(channel.clone())
            .watch(HealthCheckRequest::default())
            .await;
        let mut watched = watched.unwrap().into_inner();
        assert_eq!(
            watched.message().await.unwrap().unwrap().status(),
            ServingStatus::Serving
        );
        let (requests, received) = tokio::sync::mpsc::channel(4);
        requests.send(typed(&["paul"])).await.unwrap();
        let stream = tokio_stream::wrappers::ReceiverStream::new(received);
        let mut stream = client.model_stream_infer(stream).await.unwrap().into_inner();
        assert!(streamed(&stream.message().await.unwrap().unwrap()).1.is_empty());
        let mut slow = client.clone();
        let slow = tokio::spawn(async move { slow.model_infer(typed(&["slow"])).await });

        drop(shutdown);
        assert_eq!(
            watched.message().await.unwrap().unwrap().status(),
            ServingStatus::NotServing
        );
        // The listener is still open.
        assert_eq!(health(&channel, "").await.unwrap(), ServingStatus::NotServing);
        assert!(watched.message().await.unwrap().is_none());
        assert_eq!(stream.message().await.unwrap_err().code(), Code::Unavailable);
        server.script.slow_waits.store(false, Ordering::SeqCst);
        assert!(slow.await.unwrap().is_ok());
    });
    let ended = server.thread.take().unwrap().join().unwrap();
    assert_eq!(ended.unwrap(), Stopped::Drained);
}

#[test]
fn a_call_that_is_late_when_the_server_drains_is_refused() {
    let mut server = Server::start(slow(), |config| config.http.drain_deadline_ms = 100).ready();
    let running = server.later("slow");
    eventually(|| server.metric("nerve_stage_duration_seconds_count{stage=\"queue\"}") == 1.0);
    let shutdown = server.shutdown.take();
    on(&server, async |mut client, _| {
        let late = tokio::spawn(async move { client.model_infer(typed(&["paul"])).await });
        while server.metric("nerve_queue_windows") == 0.0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        drop(shutdown);
        assert_eq!(late.await.unwrap().unwrap_err().code(), Code::Unavailable);
    });
    drop(running);
    server.script.slow_waits.store(false, Ordering::SeqCst);
    let ended = server.thread.take().unwrap().join().unwrap();
    assert_eq!(ended.unwrap(), Stopped::Late);
}

#[test]
fn a_client_that_takes_nothing_of_an_answer_is_disconnected() {
    let server = Server::start(Script::default(), |config| config.http.idle_timeout_ms = 200).ready();
    let text = "paul met in paris ".repeat(500);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let endpoint = Channel::from_shared(format!("http://{}", server.grpc)).unwrap();
        let channel = endpoint.initial_stream_window_size(1024).connect().await.unwrap();
        let (requests, received) = tokio::sync::mpsc::channel(4);
        requests.send(typed(&[&text])).await.unwrap();
        let stream = tokio_stream::wrappers::ReceiverStream::new(received);
        let answers = Client::new(channel)
            .model_stream_infer(stream)
            .await
            .unwrap()
            .into_inner();
        let counted =
            "nerve_requests_total{route=\"/inference.GRPCInferenceService/ModelStreamInfer\",status=\"499\"}";
        while server.metric(counted) == 0.0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        drop((requests, answers));
    });
    eventually(|| server.metric("nerve_inflight_bytes") == 0.0);
}
