//! The application while models are fetched and exported: alive and not ready.

use std::sync::Arc;

use actix_web::body::MessageBody;
use actix_web::dev::{ServiceFactory, ServiceRequest, ServiceResponse};
use actix_web::middleware::{Next, from_fn};
use actix_web::{App, Error, HttpResponse, web};
use nerve_engine::{Readiness, TagError};

use crate::http::error::ApiError;
use crate::http::operations;
use crate::http::request_id::{REQUEST_ID, RequestIds};
use crate::http::route::Route;

/// The application that answers `/health/live`, and 503 on all other routes.
pub(crate) fn starting_app(
    ids: Arc<RequestIds>,
) -> App<
    impl ServiceFactory<
        ServiceRequest,
        Config = (),
        Response = ServiceResponse<impl MessageBody>,
        Error = Error,
        InitError = (),
    >,
> {
    App::new()
        .service(
            web::resource(Route::Live.name())
                .route(web::get().to(operations::live))
                .route(web::head().to(operations::live))
                .default_service(web::to(not_ready)),
        )
        .default_service(web::to(not_ready))
        .wrap(from_fn(move |request, next| {
            with_id(Arc::clone(&ids), request, next)
        }))
}

async fn not_ready() -> Result<HttpResponse, ApiError> {
    Err(ApiError::Tag(TagError::NotReady(Readiness::Starting)))
}

/// Calls the inner service and adds the request's id to the response.
async fn with_id<B: MessageBody + 'static>(
    ids: Arc<RequestIds>,
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<impl MessageBody>, Error> {
    let id = ids.of(request.headers())?;
    let mut response = next.call(request).await?;
    response.headers_mut().insert(REQUEST_ID, id);
    Ok(response)
}
