//! The routes, and their properties.

use nerve_engine::NamedModel;

/// A route of the API, or [`Route::Other`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Route {
    Ner,
    NerBatch,
    NerStream,
    Live,
    Ready,
    Metrics,
    Info,
    OpenApi,
    /// The page; with `POST`, the Hugging Face format.
    Page,
    Docs,
    /// The files of the pages.
    Assets,
    V2Server,
    V2Live,
    V2Ready,
    V2Model,
    V2ModelReady,
    V2Infer,
    V2Version,
    V2VersionReady,
    V2VersionInfer,
    Reload,
    Rollback,
    GrpcServerLive,
    GrpcServerReady,
    GrpcModelReady,
    GrpcServerMetadata,
    GrpcModelMetadata,
    GrpcModelInfer,
    GrpcModelStreamInfer,
    GrpcHealthCheck,
    GrpcHealthWatch,
    GrpcReflection,
    Other,
}

impl Route {
    /// Every route.
    pub(crate) const ALL: [Self; 33] = [
        Self::Ner,
        Self::NerBatch,
        Self::NerStream,
        Self::Live,
        Self::Ready,
        Self::Metrics,
        Self::Info,
        Self::OpenApi,
        Self::Page,
        Self::Docs,
        Self::Assets,
        Self::V2Server,
        Self::V2Live,
        Self::V2Ready,
        Self::V2Model,
        Self::V2ModelReady,
        Self::V2Infer,
        Self::V2Version,
        Self::V2VersionReady,
        Self::V2VersionInfer,
        Self::Reload,
        Self::Rollback,
        Self::GrpcServerLive,
        Self::GrpcServerReady,
        Self::GrpcModelReady,
        Self::GrpcServerMetadata,
        Self::GrpcModelMetadata,
        Self::GrpcModelInfer,
        Self::GrpcModelStreamInfer,
        Self::GrpcHealthCheck,
        Self::GrpcHealthWatch,
        Self::GrpcReflection,
        Self::Other,
    ];

    /// The path with parameters in braces, which is the route's name in the metrics; the path of a gRPC method. `other` for
    /// every unknown path, so that clients cannot create series.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Ner => "/ner",
            Self::NerBatch => "/ner/batch",
            Self::NerStream => "/ner/stream",
            Self::Live => "/health/live",
            Self::Ready => "/health/ready",
            Self::Metrics => "/metrics",
            Self::Info => "/info",
            Self::OpenApi => "/openapi.json",
            Self::Page => "/",
            Self::Docs => "/docs",
            Self::Assets => "/assets/{file}",
            Self::V2Server => "/v2",
            Self::V2Live => "/v2/health/live",
            Self::V2Ready => "/v2/health/ready",
            Self::V2Model => "/v2/models/{model}",
            Self::V2ModelReady => "/v2/models/{model}/ready",
            Self::V2Infer => "/v2/models/{model}/infer",
            Self::V2Version => "/v2/models/{model}/versions/{version}",
            Self::V2VersionReady => "/v2/models/{model}/versions/{version}/ready",
            Self::V2VersionInfer => "/v2/models/{model}/versions/{version}/infer",
            Self::Reload => "/admin/reload",
            Self::Rollback => "/admin/rollback",
            Self::GrpcServerLive => "/inference.GRPCInferenceService/ServerLive",
            Self::GrpcServerReady => "/inference.GRPCInferenceService/ServerReady",
            Self::GrpcModelReady => "/inference.GRPCInferenceService/ModelReady",
            Self::GrpcServerMetadata => "/inference.GRPCInferenceService/ServerMetadata",
            Self::GrpcModelMetadata => "/inference.GRPCInferenceService/ModelMetadata",
            Self::GrpcModelInfer => "/inference.GRPCInferenceService/ModelInfer",
            Self::GrpcModelStreamInfer => "/inference.GRPCInferenceService/ModelStreamInfer",
            Self::GrpcHealthCheck => "/grpc.health.v1.Health/Check",
            Self::GrpcHealthWatch => "/grpc.health.v1.Health/Watch",
            Self::GrpcReflection => "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
            Self::Other => "other",
        }
    }

    /// The route of a path over HTTP.
    pub(crate) fn of_path(path: &str) -> Self {
        let known = Self::ALL.into_iter();
        known
            .filter(|route| *route != Self::Other && !route.is_grpc())
            .find(|route| matches(route.name(), path))
            .unwrap_or(Self::Other)
    }

    /// The route of a method's path over gRPC.
    pub(crate) fn of_method(path: &str) -> Self {
        let mut known = Self::ALL.into_iter().filter(|route| route.is_grpc());
        known.find(|route| route.name() == path).unwrap_or(Self::Other)
    }

    /// Whether the route is a method of gRPC.
    pub(crate) fn is_grpc(self) -> bool {
        let services = ["/inference.", "/grpc."];
        services.iter().any(|service| self.name().starts_with(service))
    }

    /// The model, and the version if any, in a path of this route.
    pub(crate) fn named(self, path: &str) -> Option<NamedModel<'_>> {
        let segment = |form: &str| {
            let segments = self.name().split('/').zip(path.split('/'));
            segments
                .filter_map(|(known, given)| (known == form).then_some(given))
                .next()
        };
        Some(NamedModel {
            model: segment("{model}")?,
            version: segment("{version}"),
        })
    }

    /// Whether the route tags texts, with `POST`.
    pub(crate) fn is_tagging(self) -> bool {
        use Route::{
            GrpcModelInfer, GrpcModelStreamInfer, Ner, NerBatch, NerStream, Page, V2Infer, V2VersionInfer,
        };
        matches!(
            self,
            Ner | NerBatch
                | NerStream
                | Page
                | V2Infer
                | V2VersionInfer
                | GrpcModelInfer
                | GrpcModelStreamInfer
        )
    }

    /// Whether the client may send and receive for any time.
    pub(crate) fn is_stream(self) -> bool {
        use Route::{GrpcHealthWatch, GrpcModelStreamInfer, GrpcReflection, NerStream};
        matches!(
            self,
            NerStream | GrpcModelStreamInfer | GrpcHealthWatch | GrpcReflection
        )
    }

    /// Whether the route needs an admin key.
    pub(crate) fn is_admin(self) -> bool {
        matches!(self, Self::Reload | Self::Rollback)
    }

    /// Whether the route has a deadline. A stream may take any time.
    pub(crate) fn has_deadline(self) -> bool {
        self.is_tagging() && !self.is_stream()
    }

    /// The query parameters that the route has with `POST`; `None` if it reads its query itself, or takes no `POST`.
    pub(crate) fn query_parameters(self) -> Option<&'static [&'static str]> {
        match self {
            Self::Rollback => Some(&["from"]),
            Self::NerStream => None,
            route if route.is_tagging() || route.is_admin() => Some(&[]),
            _ => None,
        }
    }

    /// Whether errors have the format of the Open Inference Protocol.
    pub(crate) fn is_v2(self) -> bool {
        self.name().starts_with("/v2")
    }

    /// The statuses that the route answers, including 499 for a client that disconnected.
    pub(crate) fn statuses(self) -> &'static [u16] {
        match self {
            Self::Ner | Self::NerBatch => &[200, 400, 401, 405, 408, 413, 415, 422, 429, 499, 500, 503, 504],
            Self::NerStream => &[200, 401, 405, 415, 422, 499, 503],
            Self::Ready => &[200, 405, 503],
            Self::Live | Self::Info | Self::OpenApi => &[200, 405],
            Self::Metrics => &[200, 405, 500],
            Self::Page => &[
                200, 304, 400, 401, 405, 408, 413, 415, 422, 429, 499, 500, 503, 504,
            ],
            Self::Docs => &[200, 304, 405],
            Self::Assets => &[200, 304, 404, 405],
            Self::V2Server | Self::V2Live => &[200, 405],
            Self::V2Ready => &[200, 405, 503],
            Self::V2Model | Self::V2Version => &[200, 404, 405],
            Self::V2ModelReady | Self::V2VersionReady => &[200, 404, 405, 503],
            Self::V2Infer | Self::V2VersionInfer => {
                &[200, 400, 401, 404, 405, 408, 413, 415, 429, 499, 500, 503, 504]
            }
            Self::Reload | Self::Rollback => &[200, 401, 405, 409, 422],
            Self::GrpcServerLive | Self::GrpcServerReady | Self::GrpcServerMetadata => &[200],
            Self::GrpcModelReady | Self::GrpcModelMetadata | Self::GrpcHealthCheck => &[200, 404],
            Self::GrpcHealthWatch => &[200, 499, 503],
            Self::GrpcReflection => &[200, 499],
            Self::GrpcModelInfer => &[200, 400, 401, 404, 408, 413, 429, 499, 500, 503, 504],
            Self::GrpcModelStreamInfer => &[200, 400, 401, 408, 413, 429, 499, 503, 504],
            Self::Other => &[404],
        }
    }
}

/// Whether the path has the route's form: equal segments, or any segment where the route has braces.
fn matches(route: &str, path: &str) -> bool {
    let mut segments = path.split('/');
    route.split('/').all(|form| {
        let any = form.starts_with('{');
        segments
            .next()
            .is_some_and(|segment| segment == form || (any && !segment.is_empty()))
    }) && segments.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_its_route_or_other() {
        for route in Route::ALL {
            let (over_http, over_grpc) = match route.is_grpc() {
                false => (route, Route::Other),
                true => (Route::Other, route),
            };
            assert_eq!(Route::of_path(route.name()), over_http);
            assert_eq!(Route::of_method(route.name()), over_grpc);
        }
        assert_eq!(Route::of_path("/ner/"), Route::Other);
        assert_eq!(Route::of_path("other"), Route::Other);
        assert_eq!(Route::of_path("/assets/page.css"), Route::Assets);
        assert_eq!(Route::of_path("/assets/"), Route::Other);
        assert_eq!(Route::of_path("/assets/a/b"), Route::Other);
        assert_eq!(Route::of_path("/v2/models/a%20b/infer"), Route::V2Infer);
        assert_eq!(Route::of_path("/v2/models//infer"), Route::Other);
        assert_eq!(Route::of_path("/v2/models/a/versions"), Route::Other);
    }

    #[test]
    fn a_path_names_a_model_and_its_version() {
        let named = |path| Route::of_path(path).named(path);
        let (model, version) = ("a", Some("1"));
        assert_eq!(
            named("/v2/models/a/versions/1/infer"),
            Some(NamedModel { model, version })
        );
        let version = None;
        assert_eq!(named("/v2/models/a/ready"), Some(NamedModel { model, version }));
        assert_eq!(named("/ner"), None);
    }
}
