//! The methods of the Open Inference Protocol.

use std::pin::Pin;

use nerve_engine::{NamedModel, Readiness, Tagger};
use tokio::sync::watch;
use tokio_stream::Stream;
use tonic::{Request, Response, Status, Streaming};

use crate::grpc::call::Call;
use crate::grpc::infer::{infer, permit_of};
use crate::grpc::proto::grpc_inference_service_server::GrpcInferenceService;
use crate::grpc::proto::model_metadata_response::TensorMetadata;
use crate::grpc::proto::{
    ModelInferRequest, ModelInferResponse, ModelMetadataRequest, ModelMetadataResponse, ModelReadyRequest,
    ModelReadyResponse, ModelStreamInferResponse, ServerLiveRequest, ServerLiveResponse,
    ServerMetadataRequest, ServerMetadataResponse, ServerReadyRequest, ServerReadyResponse,
};
use crate::grpc::stage::Stage;
use crate::grpc::status::status;
use crate::grpc::stream::answers;
use crate::http::route::Route;
use crate::http::state::AppState;
use crate::http::v2::metadata::{PLATFORM, SERVER};
use crate::http::v2::named::model_named;
use crate::http::v2::tensor::{BYTES, INPUT, OutputName};

/// The service of an engine.
pub(crate) struct InferenceService {
    pub(crate) state: AppState,
    pub(crate) stage: watch::Receiver<Stage>,
}

impl InferenceService {
    /// The live version of a model that is named.
    fn named(&self, model: &str, version: &str) -> Result<std::sync::Arc<Tagger>, Status> {
        let version = Some(version).filter(|version| !version.is_empty());
        let tagger = self.state.engine.choose(&[], Some(NamedModel { model, version }));
        model_named(&tagger, model, version).map_err(status)?;
        Ok(tagger)
    }
}

fn texts(name: &str) -> TensorMetadata {
    TensorMetadata {
        name: name.to_owned(),
        datatype: BYTES.to_owned(),
        shape: vec![-1],
    }
}

#[tonic::async_trait]
impl GrpcInferenceService for InferenceService {
    type ModelStreamInferStream =
        Pin<Box<dyn Stream<Item = Result<ModelStreamInferResponse, Status>> + Send>>;

    async fn server_live(
        &self,
        _: Request<ServerLiveRequest>,
    ) -> Result<Response<ServerLiveResponse>, Status> {
        Ok(Response::new(ServerLiveResponse { live: true }))
    }

    async fn server_ready(
        &self,
        _: Request<ServerReadyRequest>,
    ) -> Result<Response<ServerReadyResponse>, Status> {
        let ready = self.state.live().readiness() == Readiness::Ready;
        Ok(Response::new(ServerReadyResponse { ready }))
    }

    async fn model_ready(
        &self,
        request: Request<ModelReadyRequest>,
    ) -> Result<Response<ModelReadyResponse>, Status> {
        let ModelReadyRequest { name, version } = request.into_inner();
        let ready = self.named(&name, &version)?.readiness() == Readiness::Ready;
        Ok(Response::new(ModelReadyResponse { ready }))
    }

    async fn server_metadata(
        &self,
        _: Request<ServerMetadataRequest>,
    ) -> Result<Response<ServerMetadataResponse>, Status> {
        Ok(Response::new(ServerMetadataResponse {
            name: SERVER.to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            extensions: Vec::new(),
        }))
    }

    async fn model_metadata(
        &self,
        request: Request<ModelMetadataRequest>,
    ) -> Result<Response<ModelMetadataResponse>, Status> {
        let ModelMetadataRequest { name, version } = request.into_inner();
        let tagger = self.named(&name, &version)?;
        let model = tagger.model();
        Ok(Response::new(ModelMetadataResponse {
            name: model.name.clone(),
            versions: vec![model.version.clone()],
            platform: PLATFORM.to_owned(),
            inputs: vec![texts(INPUT)],
            outputs: OutputName::ALL.map(|output| texts(output.name())).to_vec(),
        }))
    }

    async fn model_infer(
        &self,
        request: Request<ModelInferRequest>,
    ) -> Result<Response<ModelInferResponse>, Status> {
        let call = Call::of(&request)?;
        let message = request.into_inner();
        let permit = permit_of(&call, &message).map_err(status)?;
        let (answer, permit) = infer(&self.state, Route::GrpcModelInfer, &call, message, permit)
            .await
            .map_err(status)?;
        call.send(permit);
        Ok(Response::new(answer))
    }

    async fn model_stream_infer(
        &self,
        request: Request<Streaming<ModelInferRequest>>,
    ) -> Result<Response<Self::ModelStreamInferStream>, Status> {
        let call = Call::of(&request)?;
        let answers = answers(self.state.clone(), call, request.into_inner(), self.stage.clone());
        Ok(Response::new(Box::pin(answers)))
    }
}
