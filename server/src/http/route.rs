//! The routes, as they are served and counted.

/// A route of the API, or anything else a client asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Route {
    Ner,
    NerBatch,
    Live,
    Ready,
    Metrics,
    Info,
    OpenApi,
    Page,
    Docs,
    /// The files of the pages.
    Assets,
    Other,
}

impl Route {
    /// Every route.
    pub(crate) const ALL: [Self; 11] = [
        Self::Ner,
        Self::NerBatch,
        Self::Live,
        Self::Ready,
        Self::Metrics,
        Self::Info,
        Self::OpenApi,
        Self::Page,
        Self::Docs,
        Self::Assets,
        Self::Other,
    ];

    /// The path, which is also the name in the metrics; `other` for everything else, so that no client makes series.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Ner => "/ner",
            Self::NerBatch => "/ner/batch",
            Self::Live => "/health/live",
            Self::Ready => "/health/ready",
            Self::Metrics => "/metrics",
            Self::Info => "/info",
            Self::OpenApi => "/openapi.json",
            Self::Page => "/",
            Self::Docs => "/docs",
            Self::Assets => "/assets/{file}",
            Self::Other => "other",
        }
    }

    /// The route of a request's path.
    pub(crate) fn of_path(path: &str) -> Self {
        if path.strip_prefix("/assets/").is_some_and(is_one_segment) {
            return Self::Assets;
        }
        let known = Self::ALL.into_iter().filter(|route| *route != Self::Other);
        known
            .into_iter()
            .find(|route| route.name() == path)
            .unwrap_or(Self::Other)
    }

    /// The statuses the route answers with, 499 for a client that left included.
    pub(crate) fn statuses(self) -> &'static [u16] {
        match self {
            Self::Ner | Self::NerBatch => &[200, 400, 405, 413, 415, 422, 429, 499, 500, 503],
            Self::Ready => &[200, 405, 503],
            Self::Live | Self::Info | Self::OpenApi => &[200, 405],
            Self::Metrics => &[200, 405, 500],
            Self::Page | Self::Docs => &[200, 304, 405],
            Self::Assets => &[200, 304, 404, 405],
            Self::Other => &[404],
        }
    }
}

fn is_one_segment(rest: &str) -> bool {
    !rest.is_empty() && !rest.contains('/')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_its_route_or_other() {
        for route in Route::ALL {
            assert_eq!(Route::of_path(route.name()), route);
        }
        assert_eq!(Route::of_path("/ner/"), Route::Other);
        assert_eq!(Route::of_path("other"), Route::Other);
        assert_eq!(Route::of_path("/assets/page.css"), Route::Assets);
        assert_eq!(Route::of_path("/assets/"), Route::Other);
        assert_eq!(Route::of_path("/assets/a/b"), Route::Other);
    }
}
