//! The content codings of requests and answers.

use std::fmt;

use actix_web::http::header::{ACCEPT_ENCODING, CONTENT_ENCODING, HeaderMap, HeaderName};

/// A content coding, RFC 9110.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Coding {
    Gzip,
    /// The zlib format.
    Deflate,
}

/// A coding that is not known here, or several codings at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct UnknownCoding;

/// The codings that a client accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct AcceptedCodings {
    /// The preferred coding; absent if the client prefers none.
    pub(crate) coding: Option<Coding>,
    /// Whether the client refuses an answer without coding.
    pub(crate) refuses_identity: bool,
}

impl Coding {
    /// Every coding, the preferred one first.
    const ALL: [Self; 2] = [Self::Gzip, Self::Deflate];
    /// The names of all codings, as a header lists them.
    pub(crate) const NAMES: &'static str = "gzip, deflate";

    /// The coding's name in headers.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Deflate => "deflate",
        }
    }

    fn is_named(self, name: &str) -> bool {
        let old = self == Self::Gzip && name.eq_ignore_ascii_case("x-gzip");
        old || name.eq_ignore_ascii_case(self.name())
    }

    /// The coding of a request's body; `None` without one.
    pub(crate) fn of_body(headers: &HeaderMap) -> Result<Option<Self>, UnknownCoding> {
        let Some(value) = headers.get(CONTENT_ENCODING) else {
            return Ok(None);
        };
        let name = value.to_str().unwrap_or_default().trim();
        match Self::ALL.into_iter().find(|coding| coding.is_named(name)) {
            Some(coding) => Ok(Some(coding)),
            None if name.is_empty() || name.eq_ignore_ascii_case("identity") => Ok(None),
            None => Err(UnknownCoding),
        }
    }
}

impl fmt::Display for Coding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl AcceptedCodings {
    /// What `accept-encoding` says. Without it, no coding is preferred.
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let listed: Vec<(&str, f32)> = headers
            .get_all(ACCEPT_ENCODING)
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .filter_map(weighted)
            .collect();
        let weight = |named: &dyn Fn(&str) -> bool| {
            let own = listed.iter().find(|(name, _)| named(name));
            own.map(|&(_, weight)| weight)
        };
        let any = weight(&|name| name == "*");
        let identity = weight(&|name| name.eq_ignore_ascii_case("identity"));
        let of = |coding: Coding| weight(&|name| coding.is_named(name)).or(any).unwrap_or(0.0);
        let mut best = (None, 0.0);
        for coding in Coding::ALL {
            if of(coding) > best.1 {
                best = (Some(coding), of(coding));
            }
        }
        if identity.is_some_and(|weight| weight > best.1) {
            best.0 = None;
        }
        Self {
            coding: best.0,
            refuses_identity: identity.or(any) == Some(0.0),
        }
    }
}

/// A name and its weight, 1 where it has none.
fn weighted(item: &str) -> Option<(&str, f32)> {
    let mut parts = item.split(';').map(str::trim);
    let name = parts.next().filter(|name| !name.is_empty())?;
    let weight = parts.find_map(|part| part.strip_prefix("q=").or(part.strip_prefix("Q=")));
    Some((name, weight.map_or(1.0, |weight| weight.parse().unwrap_or(0.0))))
}

/// The header that lists the codings of bodies where a request had another.
pub(crate) fn accepted_header() -> (HeaderName, &'static str) {
    (ACCEPT_ENCODING, Coding::NAMES)
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::http::header::HeaderValue;

    fn headers(name: HeaderName, value: &'static str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(name, HeaderValue::from_static(value));
        headers
    }

    #[test]
    fn a_body_has_one_known_coding_or_none() {
        let of = |value| Coding::of_body(&headers(CONTENT_ENCODING, value));
        assert_eq!(of("GZip").unwrap(), Some(Coding::Gzip));
        assert_eq!(of("deflate").unwrap(), Some(Coding::Deflate));
        assert_eq!(of("identity").unwrap(), None);
        assert_eq!(Coding::of_body(&HeaderMap::new()).unwrap(), None);
        for unknown in ["br", "gzip, deflate", "zstd"] {
            assert!(of(unknown).is_err(), "{unknown}");
        }
    }

    #[test]
    fn the_heaviest_known_coding_is_taken() {
        use Coding::{Deflate, Gzip};
        for (value, coding, refuses_identity) in [
            ("gzip", Some(Gzip), false),
            ("deflate, gzip", Some(Gzip), false),
            ("deflate, gzip;q=0.5", Some(Deflate), false),
            ("br, zstd", None, false),
            ("*", Some(Gzip), false),
            ("gzip;q=0, *", Some(Deflate), false),
            ("gzip;q=0", None, false),
            ("gzip;q=0.5, identity", None, false),
            ("gzip;q=0.5, identity;q=0.2", Some(Gzip), false),
            ("gzip , identity ; q=0", Some(Gzip), true),
            ("deflate;q=0.1, *;q=0", Some(Deflate), true),
            ("gzip;q=high", None, false),
            ("", None, false),
        ] {
            let accepted = AcceptedCodings {
                coding,
                refuses_identity,
            };
            assert_eq!(
                AcceptedCodings::of(&headers(ACCEPT_ENCODING, value)),
                accepted,
                "{value}"
            );
        }
        assert_eq!(AcceptedCodings::of(&HeaderMap::new()).coding, None);
    }
}
