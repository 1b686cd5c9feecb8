//! The HTML pages `/` and `/docs` and the files they load, all compiled into the binary.
//!
//! The page at `/` and its scripts are Nerve's own: no library shows entities in a text. `/docs` is Swagger UI with a
//! few lines that start it.

use std::borrow::Cow;
use std::hash::{DefaultHasher, Hasher};
use std::sync::{Arc, LazyLock};

use actix_web::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, ContentEncoding, ETag, EntityTag, IfNoneMatch, REFERRER_POLICY,
    X_CONTENT_TYPE_OPTIONS,
};
use actix_web::web::Bytes;
use actix_web::{HttpMessage, HttpRequest, HttpResponse, web};

use crate::http::error::ApiError;

/// Allows only this server's own files and answers, and forbids turning strings into markup or code.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'; \
                      require-trusted-types-for 'script'; trusted-types 'none'";

/// The same without trusted types and with images in style sheets: Swagger UI sets `innerHTML` from strings that it has
/// sanitized, and its style sheet holds its icons.
const DOCS_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
                           connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const SVG: &str = "image/svg+xml";

/// A file as it is sent.
struct File {
    name: &'static str,
    media_type: &'static str,
    policy: &'static str,
    encoding: ContentEncoding,
    content: Bytes,
    tag: EntityTag,
}

impl File {
    fn new(name: &'static str, media_type: &'static str, encoding: ContentEncoding, content: Bytes) -> Self {
        // The hasher's keys are fixed, so every process of one build gives a file the same tag.
        let mut hasher = DefaultHasher::new();
        hasher.write(&content);
        Self {
            name,
            media_type,
            policy: POLICY,
            encoding,
            content,
            tag: EntityTag::new_strong(format!("{:016x}", hasher.finish())),
        }
    }

    /// A file of Swagger UI. It is stored compressed, and sent so to every client: all browsers take gzip.
    fn swagger_ui(name: &'static str, media_type: &'static str) -> Option<Self> {
        let config = Arc::new(utoipa_swagger_ui::Config::from(""));
        let file = utoipa_swagger_ui::serve(name, config).ok()??;
        let encoding = match file.gzpipped {
            true => ContentEncoding::Gzip,
            false => ContentEncoding::Identity,
        };
        let content = match file.bytes {
            Cow::Borrowed(bytes) => Bytes::from_static(bytes),
            Cow::Owned(bytes) => Bytes::from(bytes),
        };
        Some(Self::new(name, media_type, encoding, content))
    }
}

/// A file of `server/assets`.
macro_rules! file {
    ($name:literal, $media_type:expr) => {
        File::new(
            $name,
            $media_type,
            ContentEncoding::Identity,
            Bytes::from_static(include_bytes!(concat!("../../assets/", $name))),
        )
    };
}

static PAGE: LazyLock<File> = LazyLock::new(|| file!("page.html", HTML));
static DOCS: LazyLock<File> = LazyLock::new(|| File {
    policy: DOCS_POLICY,
    ..file!("docs.html", HTML)
});

/// The files that the pages load from `/assets/{file}`.
static ASSETS: LazyLock<Vec<File>> = LazyLock::new(|| {
    let own = [
        file!("base.css", CSS),
        file!("page.css", CSS),
        file!("page.js", SCRIPT),
        file!("request.js", SCRIPT),
        file!("reading.js", SCRIPT),
        file!("hues.js", SCRIPT),
        file!("offsets.js", SCRIPT),
        file!("json.js", SCRIPT),
        file!("dom.js", SCRIPT),
        file!("docs.css", CSS),
        file!("docs.js", SCRIPT),
        file!("icon.svg", SVG),
    ];
    let swagger_ui = [("swagger-ui.css", CSS), ("swagger-ui-bundle.js", SCRIPT)];
    let swagger_ui = swagger_ui
        .into_iter()
        .filter_map(|(name, media_type)| File::swagger_ui(name, media_type));
    own.into_iter().chain(swagger_ui).collect()
});

/// A page that highlights the entities of a text.
#[utoipa::path(
    get,
    path = "/",
    tag = "pages",
    responses(
        (status = 200, description = "The page", body = String, content_type = "text/html"),
        (status = 304, description = "The page that `if-none-match` names is current"),
    )
)]
pub(crate) async fn page(request: HttpRequest) -> HttpResponse {
    send(&request, &PAGE)
}

/// Swagger UI, which shows this API and sends requests to it.
#[utoipa::path(
    get,
    path = "/docs",
    tag = "pages",
    responses(
        (status = 200, description = "The page", body = String, content_type = "text/html"),
        (status = 304, description = "The page that `if-none-match` names is current"),
    )
)]
pub(crate) async fn docs(request: HttpRequest) -> HttpResponse {
    send(&request, &DOCS)
}

/// A style sheet, script or image of the pages. These names may change with any version, so the contract leaves them out.
pub(crate) async fn asset(request: HttpRequest, name: web::Path<String>) -> Result<HttpResponse, ApiError> {
    let mut assets = ASSETS.iter();
    let file = assets
        .find(|file| file.name == name.as_str())
        .ok_or_else(|| ApiError::not_found(&request))?;
    Ok(send(&request, file))
}

/// The file, or 304 where the client's copy is the same.
fn send(request: &HttpRequest, file: &File) -> HttpResponse {
    let unchanged = match request.get_header::<IfNoneMatch>() {
        Some(IfNoneMatch::Any) => true,
        Some(IfNoneMatch::Items(tags)) => tags.iter().any(|tag| tag.weak_eq(&file.tag)),
        None => false,
    };
    let mut response = match unchanged {
        true => HttpResponse::NotModified(),
        false => HttpResponse::Ok(),
    };
    response
        .insert_header(ETag(file.tag.clone()))
        // Browsers keep the file and revalidate it each time: after an upgrade no page meets another version's scripts.
        .insert_header((CACHE_CONTROL, "no-cache"))
        .insert_header((CONTENT_SECURITY_POLICY, file.policy))
        .insert_header((REFERRER_POLICY, "no-referrer"))
        .insert_header((X_CONTENT_TYPE_OPTIONS, "nosniff"));
    if unchanged {
        return response.finish();
    }
    if file.encoding != ContentEncoding::Identity {
        response.insert_header(file.encoding);
    }
    response.content_type(file.media_type).body(file.content.clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    use actix_web::http::header::CONTENT_ENCODING;
    use actix_web::test::TestRequest;

    fn files() -> impl Iterator<Item = &'static File> {
        [&*PAGE, &*DOCS].into_iter().chain(&*ASSETS)
    }

    /// The files of `server/assets`, with their text. Swagger UI's are compressed, and not ours to check.
    fn own_files() -> impl Iterator<Item = (&'static File, &'static str)> {
        files().filter_map(|file| Some((file, std::str::from_utf8(&file.content).ok()?)))
    }

    /// What stands between `before` and the next double quote, wherever `before` occurs.
    fn quoted<'a>(content: &'a str, before: &'a str) -> impl Iterator<Item = &'a str> {
        let parts = content.split(before).skip(1);
        parts.map(|rest| rest.split('"').next().unwrap())
    }

    #[test]
    fn every_file_that_is_referred_to_exists_and_every_file_is_referred_to() {
        let mut referred = HashSet::new();
        for (file, content) in own_files() {
            let reference = match file.media_type {
                HTML => "=\"assets/",
                SCRIPT => "from \"./",
                _ => continue,
            };
            referred.extend(quoted(content, reference));
        }
        let known: HashSet<&str> = ASSETS.iter().map(|file| file.name).collect();
        assert_eq!(referred, known);
    }

    #[test]
    fn nothing_refers_to_another_host() {
        // Names of things, not addresses that are fetched.
        let names = ["http://www.w3.org/2000/svg"];
        for (file, content) in own_files() {
            let mut content = content.to_owned();
            for name in names {
                content = content.replace(name, "");
            }
            for scheme in ["://", "data:", "=\"//"] {
                assert!(!content.contains(scheme), "{} has {scheme}", file.name);
            }
            for fetching in ["url(", "@import"] {
                assert!(
                    file.media_type != CSS || !content.contains(fetching),
                    "{} has {fetching}",
                    file.name
                );
            }
        }
    }

    #[test]
    fn nothing_in_the_pages_needs_a_looser_policy() {
        for (file, content) in own_files().filter(|(file, _)| file.media_type == HTML) {
            for inline in [
                "<style",
                " style=",
                "javascript:",
                " onclick=",
                " onload=",
                " oninput=",
            ] {
                assert!(!content.contains(inline), "{} has {inline}", file.name);
            }
            let mut scripts = content.split("<script").skip(1);
            assert!(
                scripts.all(|tag| tag.contains("src=") && tag.contains("></script>")),
                "{} has a script of its own",
                file.name
            );
        }
    }

    #[test]
    fn swagger_ui_is_sent_compressed() {
        let request = TestRequest::default().to_http_request();
        let compressed = files().filter(|file| send(&request, file).headers().contains_key(CONTENT_ENCODING));
        let names: Vec<&str> = compressed.map(|file| file.name).collect();
        assert_eq!(names, ["swagger-ui.css", "swagger-ui-bundle.js"]);
    }

    #[test]
    fn files_of_other_content_have_other_tags() {
        let tags: HashSet<String> = files().map(|file| file.tag.to_string()).collect();
        assert_eq!(tags.len(), files().count());
    }
}
