use nerve_tagging::EncodingError;

use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn errors_with_status_and_code() -> Vec<(ApiError, u16, &'static str)> {
    let queue = |reason| ApiError::Tag(TagError::Queue(reason));
    let text = |error| ApiError::Tag(TagError::Text(error));
    vec![
        (
            ApiError::NotFound {
                path: "/nowhere".to_owned(),
            },
            404,
            "not_found",
        ),
        (
            ApiError::MethodNotAllowed { allow: "GET" },
            405,
            "method_not_allowed",
        ),
        (ApiError::UnsupportedMediaType, 415, "unsupported_media_type"),
        (ApiError::NotJsonLines, 415, "unsupported_media_type"),
        (ApiError::BodyUnreadable, 400, "unreadable_body"),
        (ApiError::UnsupportedEncoding, 415, "unsupported_media_type"),
        (
            ApiError::BodyCorrupt { coding: Coding::Gzip },
            400,
            "unreadable_body",
        ),
        (ApiError::Memory(MemoryError::Full), 429, "overloaded"),
        (
            ApiError::Memory(MemoryError::NeverFits { needed: 2, limit: 1 }),
            413,
            "request_too_large",
        ),
        (
            ApiError::Framework {
                status: StatusCode::BAD_REQUEST,
                problem: String::new(),
            },
            400,
            "bad_request",
        ),
        (ApiError::BodyTooLarge { limit: 1 }, 413, "body_too_large"),
        (
            ApiError::Request(RequestError::Malformed {
                problem: String::new(),
            }),
            400,
            "malformed_json",
        ),
        (
            ApiError::TooManyTexts { texts: 2, limit: 1 },
            413,
            "too_many_texts",
        ),
        (ApiError::Request(RequestError::NoText), 422, "invalid_request"),
        (
            ApiError::Tag(TagError::NotReady(Readiness::Starting)),
            503,
            "starting",
        ),
        (
            ApiError::Tag(TagError::NotReady(Readiness::Draining)),
            503,
            "draining",
        ),
        (ApiError::Tag(TagError::TextThreadsFull), 429, "overloaded"),
        (
            queue(SubmitError::WindowsFull { retry_after: 3 }),
            429,
            "overloaded",
        ),
        (
            queue(SubmitError::TokensFull { retry_after: 3 }),
            429,
            "overloaded",
        ),
        (ApiError::BodyTooSlow { limit: SECOND }, 408, "body_too_slow"),
        (
            ApiError::DeadlineExceeded { limit: SECOND },
            504,
            "deadline_exceeded",
        ),
        (ApiError::TimeoutHeader, 400, "invalid_timeout"),
        (ApiError::Unauthorized, 401, "unauthorized"),
        (ApiError::NoAdminKeys, 401, "unauthorized"),
        (
            ApiError::NotReloaded {
                problem: String::new(),
            },
            409,
            "not_reloaded",
        ),
        (
            text(PrepareError::TooManyWords { limit: 1 }),
            413,
            "too_many_words",
        ),
        (queue(SubmitError::NeverFits), 413, "request_too_large"),
        (queue(SubmitError::NoWorker), 503, "no_worker"),
        (queue(SubmitError::Closed), 503, "draining"),
        (
            text(PrepareError::TextTooLong { bytes: 2, limit: 1 }),
            413,
            "text_too_large",
        ),
        (
            text(PrepareError::TooManyWindows { windows: 2, limit: 1 }),
            413,
            "text_too_long",
        ),
        (ApiError::Tag(TagError::PrepareFailed), 500, "tokenizer_failed"),
        (ApiError::Tag(TagError::InferenceFailed), 500, "inference_failed"),
        (ApiError::Metrics, 500, "internal"),
        (ApiError::Unwritable, 500, "internal"),
    ]
}

#[test]
fn each_error_has_its_status_and_code() {
    for (error, status, code) in errors_with_status_and_code() {
        let response = error.error_response();
        assert_eq!(
            (response.status().as_u16(), error.body().error.code),
            (status, code),
            "{error:?}"
        );
        assert_eq!(
            response.headers().contains_key(RETRY_AFTER),
            matches!(status, 429 | 503),
            "{error:?}"
        );
    }
}

#[test]
fn each_error_of_a_line_has_its_code() {
    for (error, code, refusal) in [
        (
            LineError::TooLong { limit: 1 },
            "line_too_large",
            Some(Refusal::LineBytes),
        ),
        (
            LineError::NeverFits { limit: 1 },
            "request_too_large",
            Some(Refusal::BodyMemory),
        ),
        (LineError::Encoding(EncodingError::Utf16), "invalid_utf8", None),
        (LineError::Request(RequestError::Id), "invalid_request", None),
        (
            LineError::Tag(TagError::InferenceFailed),
            "inference_failed",
            None,
        ),
    ] {
        let (body, reason) = ErrorBody::of_line(&error);
        assert_eq!((body.error.code, reason), (code, refusal), "{error:?}");
    }
}
