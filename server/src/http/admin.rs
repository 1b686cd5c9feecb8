//! What operators order: another version, or the one before.

use actix_web::{HttpResponse, web};
use serde::Serialize;
use tracing::error;
use utoipa::ToSchema;

use crate::http::AppState;
use crate::http::error::{ApiError, ErrorBody};
use crate::models::{Reload, ReloadError, Why};

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
        (status = 409, description = "The version is no good; the one before is still served", body = ErrorBody),
    )
)]
pub(crate) async fn reload(state: web::Data<AppState>) -> Result<HttpResponse, ApiError> {
    // On its own, so that a client that leaves does not undo half of it.
    let models = state.models.clone();
    let reloads = actix_web::rt::spawn(async move {
        let mut reloads = Vec::new();
        for track in models.tracks() {
            reloads.push(track.reload(Why::Asked, &models).await?);
        }
        Ok::<_, ReloadError>(reloads)
    });
    answer(reloads.await)
}

/// Serve the stable model's version before this one again.
///
/// The version that is left is not served again until `current` names another, or `/admin/reload` asks for it.
#[utoipa::path(
    post,
    path = "/admin/rollback",
    tag = "operations",
    security(("key" = [])),
    responses(
        (status = 200, description = "What is served now", body = Reloads),
        (status = 401, description = "No admin key, or none is configured", body = ErrorBody),
        (status = 409, description = "There is no version before, or it is no good", body = ErrorBody),
    )
)]
pub(crate) async fn rollback(state: web::Data<AppState>) -> Result<HttpResponse, ApiError> {
    let models = state.models.clone();
    let rolled = actix_web::rt::spawn(async move { Ok(vec![models.stable.roll_back(&models).await?]) });
    answer(rolled.await)
}

fn answer(
    reloads: Result<Result<Vec<Reload>, ReloadError>, tokio::task::JoinError>,
) -> Result<HttpResponse, ApiError> {
    match reloads {
        Ok(Ok(models)) => Ok(HttpResponse::Ok().json(Reloads { models })),
        Ok(Err(problem)) => Err(ApiError::NotReloaded {
            problem: problem.shown(),
        }),
        Err(panicked) => {
            error!(%panicked, "loading a version panicked");
            Err(ApiError::Unwritable)
        }
    }
}
