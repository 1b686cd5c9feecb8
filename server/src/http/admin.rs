//! `POST /admin/reload` and `POST /admin/rollback`.

use actix_web::{HttpRequest, HttpResponse, web};
use nerve_engine::{Reload, ReloadTrigger};
use serde::Serialize;
use tracing::error;
use utoipa::ToSchema;

use crate::http::error::{ApiError, ErrorBody};
use crate::http::query::parameters;
use crate::http::route::Route;
use crate::http::state::AppState;

/// What each followed model serves now.
#[derive(Serialize, ToSchema)]
pub(crate) struct Reloads {
    models: Vec<Reload>,
}

/// Serve the versions that are current now, if they are others.
///
/// Returns once they are served; requests that run keep the version they began with. A version that was rolled back from is
/// served again.
#[utoipa::path(
    post,
    path = "/admin/reload",
    tag = "operations",
    security(("key" = [])),
    responses(
        (status = 200, description = "What is served now", body = Reloads),
        (status = 401, description = "No admin key, or none is configured", body = ErrorBody),
        (status = 409, description = "A version is no good; where it should be, the one before is still served", body = ErrorBody),
        (status = 422, description = "There are query parameters", body = ErrorBody),
    )
)]
pub(crate) async fn reload(state: web::Data<AppState>) -> Result<HttpResponse, ApiError> {
    // In a task of its own, so that a client that disconnects does not interrupt it.
    let engine = state.engine.clone();
    let reloads = actix_web::rt::spawn(async move {
        let (mut reloads, mut problems) = (Vec::new(), Vec::new());
        // Each track by itself: a rejected version of one does not hold back the others.
        for track in engine.tracks() {
            match engine.reload(track, ReloadTrigger::Requested).await {
                Ok(reload) => reloads.push(reload),
                Err(error) => problems.push(format!("{}: {}", track.name(), error.shown())),
            }
        }
        match problems.is_empty() {
            true => Ok(reloads),
            false => Err(problems.join("; ")),
        }
    });
    answer(reloads.await)
}

/// Serve the stable model's version before this one again.
///
/// The version that is left is not served again until `current` has named another, or `/admin/reload` asks for it. With
/// `from`, nothing is done unless that version is served, so that an order given twice is carried out once.
#[utoipa::path(
    post,
    path = "/admin/rollback",
    tag = "operations",
    params(("from" = Option<String>, Query, description = "The version to leave")),
    security(("key" = [])),
    responses(
        (status = 200, description = "What is served now", body = Reloads),
        (status = 401, description = "No admin key, or none is configured", body = ErrorBody),
        (status = 409, description = "There is no version before, it is no good, or `from` is not served", body = ErrorBody),
        (status = 422, description = "A query parameter is unknown or given twice", body = ErrorBody),
    )
)]
pub(crate) async fn rollback(
    state: web::Data<AppState>,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    let from = parameters(request.query_string(), Route::Rollback)?.remove("from");
    let engine = state.engine.clone();
    let rolled = actix_web::rt::spawn(async move {
        let rolled = engine.roll_back(from.as_deref()).await;
        rolled.map(|reload| vec![reload]).map_err(|error| error.shown())
    });
    answer(rolled.await)
}

fn answer(
    reloads: Result<Result<Vec<Reload>, String>, tokio::task::JoinError>,
) -> Result<HttpResponse, ApiError> {
    match reloads {
        Ok(Ok(models)) => Ok(HttpResponse::Ok().json(Reloads { models })),
        Ok(Err(problem)) => Err(ApiError::NotReloaded { problem }),
        Err(panicked) => {
            error!(%panicked, "loading a version panicked");
            Err(ApiError::Unwritable)
        }
    }
}
