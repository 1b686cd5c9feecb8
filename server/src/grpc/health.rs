//! The health protocol of gRPC, `grpc.health.v1`: the readiness of the live version.

use std::pin::Pin;
use std::time::Duration;

use futures_util::stream::unfold;
use nerve_engine::Readiness;
use tokio::sync::watch;
use tokio::time::sleep;
use tokio_stream::Stream;
use tonic::server::NamedService;
use tonic::{Request, Response, Status};
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_server::Health;
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};

use crate::grpc::proto::grpc_inference_service_server::GrpcInferenceServiceServer;
use crate::grpc::service::InferenceService;
use crate::grpc::stage::Stage;
use crate::http::state::AppState;

/// The interval at which a watched status is checked.
const WATCH: Duration = Duration::from_millis(200);

/// The health of the server, whose name is empty, and of the inference service.
#[derive(Clone)]
pub(crate) struct HealthService {
    pub(crate) state: AppState,
    pub(crate) stage: watch::Receiver<Stage>,
}

impl HealthService {
    fn status(&self, service: &str) -> ServingStatus {
        let known = [
            "",
            <GrpcInferenceServiceServer<InferenceService> as NamedService>::NAME,
        ];
        if !known.contains(&service) {
            return ServingStatus::ServiceUnknown;
        }
        match self.state.live().readiness() {
            Readiness::Ready => ServingStatus::Serving,
            Readiness::Starting | Readiness::NoWorker | Readiness::TextThreadsStuck | Readiness::Draining => {
                ServingStatus::NotServing
            }
        }
    }
}

fn answer(status: ServingStatus) -> HealthCheckResponse {
    let mut answer = HealthCheckResponse::default();
    answer.set_status(status);
    answer
}

#[tonic::async_trait]
impl Health for HealthService {
    type WatchStream = Pin<Box<dyn Stream<Item = Result<HealthCheckResponse, Status>> + Send>>;

    async fn check(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        let service = request.into_inner().service;
        match self.status(&service) {
            ServingStatus::ServiceUnknown => Err(Status::not_found(format!("no service `{service}`"))),
            status => Ok(Response::new(answer(status))),
        }
    }

    /// The status now, and each further status. The stream ends with the server.
    async fn watch(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let service = request.into_inner().service;
        let state = (self.clone(), service, None);
        let statuses = unfold(state, |(health, service, mut before)| async move {
            loop {
                let status = health.status(&service);
                if before.replace(status) != Some(status) {
                    return Some((Ok(answer(status)), (health, service, before)));
                }
                if *health.stage.borrow() != Stage::Serving {
                    return None;
                }
                sleep(WATCH).await;
            }
        });
        Ok(Response::new(Box::pin(statuses)))
    }
}
