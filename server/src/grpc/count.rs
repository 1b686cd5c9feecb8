//! The counters and the log line of a call.

use std::sync::Arc;
use std::time::Duration;

use nerve_engine::Refusal;
use tracing::{debug, warn};

use crate::grpc::call::Call;
use crate::http::metrics::CLIENT_LEFT;
use crate::http::route::Route;
use crate::http::state::AppState;

/// Counts a call when dropped; as cancelled by its client, unless its status has been set.
pub(crate) struct CallCount {
    state: AppState,
    route: Route,
    call: Arc<Call>,
    /// The time to the head of the answer, once there is one.
    took: Option<Duration>,
    status: u16,
    refused: bool,
}

impl CallCount {
    /// Counts a call that begins.
    pub(crate) fn new(state: &AppState, route: Route, call: Arc<Call>) -> Self {
        state.metrics.request_began();
        Self {
            state: state.clone(),
            route,
            call,
            took: None,
            status: CLIENT_LEFT,
            refused: false,
        }
    }

    /// The head of the answer is known.
    pub(crate) fn answered(&mut self) {
        self.took = Some(self.call.began.elapsed());
    }

    /// The call has ended with this status.
    pub(crate) fn ended(&mut self, status: u16) {
        self.status = status;
    }

    /// The call was refused because of load or limits, if there is a reason.
    pub(crate) fn refused(&mut self, reason: Option<Refusal>) {
        self.state.metrics.refused(reason);
        self.refused = reason.is_some();
    }
}

impl Drop for CallCount {
    fn drop(&mut self) {
        let took = self.took.unwrap_or_else(|| self.call.began.elapsed());
        let (route, status) = (self.route, self.status);
        self.state
            .metrics
            .request_ended(route, status, self.refused, took);
        if let Some(version) = self.call.version.get() {
            match status {
                200..=299 => version.counters().request_answered(),
                500 | 504 => version.counters().request_failed(),
                // The version did not process the request.
                _ => {}
            }
        }
        let (id, route, seconds) = (self.call.id.as_str(), route.name(), took.as_secs_f64());
        match status {
            500 => warn!(id, route, status, seconds, "call failed"),
            _ => debug!(id, route, status, seconds, "call answered"),
        }
    }
}
