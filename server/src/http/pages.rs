//! The pages for people, `/` and `/docs`, with the files they are made of, compiled in.

use std::hash::{DefaultHasher, Hasher};

use actix_web::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, ETag, EntityTag, IfNoneMatch, REFERRER_POLICY,
    X_CONTENT_TYPE_OPTIONS,
};
use actix_web::{HttpMessage, HttpRequest, HttpResponse, web};

use crate::http::error::ApiError;

/// Nothing but this server's own files and answers, and no string that is turned into markup or code.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'; \
                      require-trusted-types-for 'script'; trusted-types 'none'";

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const SVG: &str = "image/svg+xml";

/// A file, as it is sent.
struct File {
    name: &'static str,
    media_type: &'static str,
    content: &'static str,
}

/// A file of `server/assets`.
macro_rules! file {
    ($name:literal, $media_type:expr) => {
        File {
            name: $name,
            media_type: $media_type,
            content: include_str!(concat!("../../assets/", $name)),
        }
    };
}

const PAGE: File = file!("page.html", HTML);
const DOCS: File = file!("docs.html", HTML);
/// What the pages load, from `/assets/{file}`.
const ASSETS: [File; 13] = [
    file!("base.css", CSS),
    file!("page.css", CSS),
    file!("docs.css", CSS),
    file!("page.js", SCRIPT),
    file!("docs.js", SCRIPT),
    file!("request.js", SCRIPT),
    file!("reading.js", SCRIPT),
    file!("schema.js", SCRIPT),
    file!("hues.js", SCRIPT),
    file!("offsets.js", SCRIPT),
    file!("json.js", SCRIPT),
    file!("dom.js", SCRIPT),
    file!("icon.svg", SVG),
];

/// A page that highlights the entities of a text.
#[utoipa::path(
    get,
    path = "/",
    tag = "pages",
    responses(
        (status = 200, description = "The page", body = String, content_type = "text/html"),
        (status = 304, description = "The page is the one named by `if-none-match`"),
    )
)]
pub(crate) async fn page(request: HttpRequest) -> HttpResponse {
    sent(&request, &PAGE)
}

/// A page that shows this contract and sends requests to it.
#[utoipa::path(
    get,
    path = "/docs",
    tag = "pages",
    responses(
        (status = 200, description = "The page", body = String, content_type = "text/html"),
        (status = 304, description = "The page is the one named by `if-none-match`"),
    )
)]
pub(crate) async fn docs(request: HttpRequest) -> HttpResponse {
    sent(&request, &DOCS)
}

/// A style, script or picture of the pages. These names are the pages' own affair, so the contract leaves them out.
pub(crate) async fn asset(request: HttpRequest, name: web::Path<String>) -> Result<HttpResponse, ApiError> {
    let mut assets = ASSETS.iter();
    let file = assets
        .find(|file| file.name == name.as_str())
        .ok_or(ApiError::NotFound)?;
    Ok(sent(&request, file))
}

/// The file, or word that the client's copy is still right.
fn sent(request: &HttpRequest, file: &File) -> HttpResponse {
    let tag = entity_tag(file.content);
    let fresh = match request.get_header::<IfNoneMatch>() {
        Some(IfNoneMatch::Any) => true,
        Some(IfNoneMatch::Items(tags)) => tags.iter().any(|held| held.weak_eq(&tag)),
        None => false,
    };
    let mut response = if fresh {
        HttpResponse::NotModified()
    } else {
        HttpResponse::Ok()
    };
    response
        .insert_header(ETag(tag))
        // Kept, and asked about each time: after an upgrade no page meets the scripts of another version.
        .insert_header((CACHE_CONTROL, "no-cache"))
        .insert_header((CONTENT_SECURITY_POLICY, POLICY))
        .insert_header((REFERRER_POLICY, "no-referrer"))
        .insert_header((X_CONTENT_TYPE_OPTIONS, "nosniff"));
    if fresh {
        response.finish()
    } else {
        response.content_type(file.media_type).body(file.content)
    }
}

/// The same tag in every process of one build: the hasher's keys are fixed.
fn entity_tag(content: &str) -> EntityTag {
    let mut hasher = DefaultHasher::new();
    hasher.write(content.as_bytes());
    EntityTag::new_strong(format!("{:016x}", hasher.finish()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    fn files() -> impl Iterator<Item = &'static File> {
        [&PAGE, &DOCS].into_iter().chain(&ASSETS)
    }

    /// What stands between `before` and the next double quote, wherever `before` occurs.
    fn quoted<'a>(content: &'a str, before: &'a str) -> impl Iterator<Item = &'a str> {
        let parts = content.split(before).skip(1);
        parts.map(|rest| rest.split('"').next().unwrap())
    }

    #[test]
    fn every_file_that_is_referred_to_exists_and_every_file_is_referred_to() {
        let mut referred = HashSet::new();
        for file in files() {
            let (html, scripts) = (file.media_type == HTML, file.media_type == SCRIPT);
            if html {
                referred.extend(quoted(file.content, "=\"assets/").map(str::to_owned));
            }
            if scripts {
                referred.extend(quoted(file.content, "from \"./").map(str::to_owned));
            }
        }
        let known: HashSet<String> = ASSETS.iter().map(|file| file.name.to_owned()).collect();
        assert_eq!(referred, known);
    }

    #[test]
    fn nothing_refers_to_another_host() {
        // Names of things, not addresses that are fetched.
        let names = ["http://www.w3.org/2000/svg"];
        for file in files() {
            let mut content = file.content.to_owned();
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
        for file in files().filter(|file| file.media_type == HTML) {
            for inline in [
                "<style",
                " style=",
                "javascript:",
                " onclick=",
                " onload=",
                " oninput=",
            ] {
                assert!(!file.content.contains(inline), "{} has {inline}", file.name);
            }
            assert!(
                file.content
                    .split("<script")
                    .skip(1)
                    .all(|tag| tag.contains("src=") && tag.contains("></script>")),
                "{} has a script of its own",
                file.name
            );
        }
    }

    #[test]
    fn files_of_other_content_have_other_tags() {
        let tags: HashSet<String> = files().map(|file| entity_tag(file.content).to_string()).collect();
        assert_eq!(tags.len(), files().count());
    }
}
