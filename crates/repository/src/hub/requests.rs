//! Requests to the hub. The token goes to the hub, and to no host that it redirects to.

use std::collections::BTreeSet;
use std::time::Duration;

use serde::Deserialize;
use ureq::http::{HeaderMap, Response};
use ureq::typestate::WithoutBody;
use ureq::{Agent, Body, RequestBuilder};
use url::Url;

use crate::hub::cache::is_commit;
use crate::hub::error::HubFault;
use crate::hub::limits::Limits;
use crate::hub::repository::HubRepository;
use crate::hub::settings::HubSettings;

/// Redirects of one request.
const REDIRECTS: usize = 10;
/// Bytes of the list of a repository's files.
const LISTING_LIMIT: u64 = 32 << 20;
/// Characters of the hub's own words in an error.
const SAID_LIMIT: usize = 200;

/// Sends requests to the hub.
#[derive(Clone, Debug)]
pub(super) struct Requests {
    agent: Agent,
    endpoint: Url,
    token: Option<String>,
    limits: Limits,
}

/// The commit of a revision, and its files.
#[derive(Debug)]
pub(super) struct Listing {
    /// Its full name.
    pub(super) commit: String,
    /// The paths of its files.
    pub(super) files: BTreeSet<String>,
}

/// What the hub says about a file.
#[derive(Debug)]
pub(super) struct Metadata {
    /// Names its content.
    pub(super) etag: String,
    /// Bytes, if the hub says it.
    pub(super) size: Option<u64>,
}

/// A part of a file that is on disk.
#[derive(Debug)]
pub(super) struct Part<'a> {
    /// Bytes.
    pub(super) received: u64,
    /// The ETag of the answer that brought it, if it was strong.
    pub(super) validator: Option<&'a str>,
}

#[derive(Clone, Copy)]
enum Method {
    Head,
    Get,
}

/// An answer, and what the redirects on the way said.
struct Answer {
    response: Response<Body>,
    url: Url,
    commit: Option<String>,
    etag: Option<String>,
    size: Option<u64>,
}

impl Requests {
    /// Requests with these settings.
    pub(super) fn new(settings: &HubSettings, limits: &Limits) -> Self {
        let agent = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .timeout_resolve(Some(limits.connect))
            .timeout_connect(Some(limits.connect))
            .timeout_recv_response(Some(limits.idle))
            .timeout_per_read(Some(limits.idle))
            .timeout_per_write(Some(limits.idle))
            // The size and the ranges of compressed answers are not those of files.
            .accept_encoding("identity")
            .user_agent(concat!("nerve/", env!("CARGO_PKG_VERSION")))
            .build();
        Self {
            agent: agent.into(),
            endpoint: settings.endpoint.clone(),
            token: settings.token.clone(),
            limits: limits.clone(),
        }
    }

    /// The commit of a revision of a repository, and its files.
    pub(super) fn list(&self, repository: &HubRepository, revision: &str) -> Result<Listing, HubFault> {
        #[derive(Deserialize)]
        struct Model {
            sha: String,
            siblings: Vec<Sibling>,
        }
        #[derive(Deserialize)]
        struct Sibling {
            rfilename: String,
        }

        let url = self.url(
            &["api", repository.kind.plural()],
            &repository.id,
            &["revision", revision],
        )?;
        let mut answer = self.send(Method::Get, url, self.limits.answer, |request| request)?;
        if !answer.response.status().is_success() {
            return Err(self.fault(&answer, repository, Some(revision)));
        }
        let body = answer.response.body_mut().with_config().limit(LISTING_LIMIT);
        let model: Model = body.read_json().map_err(|error| match error {
            ureq::Error::Json(error) if error.is_io() => {
                unreachable(&answer.url, ureq::Error::Io(error.into()))
            }
            ureq::Error::Json(error) => wrong(&answer.url, error.to_string()),
            error => unreachable(&answer.url, error),
        })?;
        if !is_commit(&model.sha) {
            return Err(wrong(
                &answer.url,
                format!("its `sha` is `{}`", shorten(&model.sha)),
            ));
        }
        if is_commit(revision) && revision != model.sha {
            let problem = format!("its `sha` is {}, not the commit asked for", model.sha);
            return Err(wrong(&answer.url, problem));
        }
        Ok(Listing {
            commit: model.sha,
            files: model
                .siblings
                .into_iter()
                .map(|sibling| sibling.rfilename)
                .collect(),
        })
    }

    /// What the hub says about a file of a commit.
    pub(super) fn metadata(
        &self,
        repository: &HubRepository,
        commit: &str,
        file: &str,
    ) -> Result<Metadata, HubFault> {
        let url = self.file_url(repository, commit, file)?;
        let answer = self.send(Method::Head, url, self.limits.answer, |request| request)?;
        let status = answer.response.status();
        if !status.is_success() && !status.is_redirection() {
            return Err(self.fault(&answer, repository, None));
        }
        if let Some(found) = answer.commit.as_deref().filter(|found| *found != commit) {
            let problem = format!("it is of commit {}, not of {commit}", shorten(found));
            return Err(wrong(&answer.url, problem));
        }
        let Some(etag) = answer.etag else {
            return Err(wrong(&answer.url, "it has no ETag".to_owned()));
        };
        if !is_file_name(&etag) {
            return Err(wrong(&answer.url, format!("its ETag is `{}`", shorten(&etag))));
        }
        let size = answer.size;
        Ok(Metadata { etag, size })
    }

    /// The answer with the content of a file, or the rest of it after a part.
    pub(super) fn content(
        &self,
        repository: &HubRepository,
        commit: &str,
        file: &str,
        part: &Part<'_>,
        within: Duration,
    ) -> Result<(Url, Response<Body>), HubFault> {
        let url = self.file_url(repository, commit, file)?;
        let answer = self.send(Method::Get, url, within, |request| match part {
            Part { received: 0, .. } => request,
            Part { received, validator } => {
                let request = request.header("range", format!("bytes={received}-"));
                match validator {
                    Some(validator) => request.header("if-range", *validator),
                    None => request,
                }
            }
        })?;
        match answer.response.status().as_u16() {
            200 | 206 | 416 => Ok((answer.url, answer.response)),
            _ => Err(self.fault(&answer, repository, None)),
        }
    }

    fn file_url(&self, repository: &HubRepository, commit: &str, file: &str) -> Result<Url, HubFault> {
        let mut parts = vec!["resolve", commit];
        parts.extend(file.split('/'));
        self.url(repository.kind.prefix(), &repository.id, &parts)
    }

    /// An address below that of the hub; each part is escaped.
    fn url(&self, before: &[&str], id: &str, after: &[&str]) -> Result<Url, HubFault> {
        let mut url = self.endpoint.clone();
        match url.path_segments_mut() {
            Ok(mut path) => {
                path.pop_if_empty()
                    .extend(before)
                    .extend(id.split('/'))
                    .extend(after);
            }
            Err(()) => return Err(wrong(&self.endpoint, "it is no address".to_owned())),
        }
        Ok(url)
    }

    /// Sends a request, and follows redirects. One for the head of a file stops at another host: the hub's own answer describes
    /// the file, and signed addresses accept no such request.
    fn send(
        &self,
        method: Method,
        mut url: Url,
        within: Duration,
        prepare: impl Fn(RequestBuilder<WithoutBody>) -> RequestBuilder<WithoutBody>,
    ) -> Result<Answer, HubFault> {
        let (mut commit, mut etag, mut size) = (None, None, None);
        for _ in 0..=REDIRECTS {
            let mut request = match method {
                Method::Head => self.agent.head(url.as_str()),
                Method::Get => self.agent.get(url.as_str()),
            };
            if let Some(token) = self
                .token
                .as_ref()
                .filter(|_| url.origin() == self.endpoint.origin())
            {
                request = request.header("authorization", format!("Bearer {token}"));
            }
            let request = prepare(request).config().timeout_global(Some(within)).build();
            let response = request.call().map_err(|error| unreachable(&url, error))?;
            let headers = response.headers();
            let is_redirect = matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308);
            commit = commit.or_else(|| text(headers, "x-repo-commit"));
            etag = etag.or_else(|| text(headers, "x-linked-etag"));
            size = size.or_else(|| number(headers, "x-linked-size"));
            let next = text(headers, "location").filter(|_| is_redirect);
            let next = next.map(|next| {
                url.join(&next)
                    // The text can hold a signature.
                    .map_err(|error| wrong(&url, format!("a redirect to what is no address: {error}")))
            });
            match next.transpose()? {
                Some(next)
                    if matches!(method, Method::Get) || etag.is_none() || next.origin() == url.origin() =>
                {
                    if !matches!(next.scheme(), "http" | "https") {
                        return Err(wrong(&url, format!("redirect to `{}`", shown(&next))));
                    }
                    url = next;
                }
                next => {
                    if next.is_none() {
                        etag = etag.or_else(|| text(headers, "etag"));
                        size = size.or_else(|| number(headers, "content-length"));
                    }
                    let etag = etag.map(|etag| etag.trim_start_matches("W/").trim_matches('"').to_owned());
                    return Ok(Answer {
                        response,
                        url,
                        commit,
                        etag,
                        size,
                    });
                }
            }
        }
        Err(wrong(&url, format!("more than {REDIRECTS} redirects")))
    }

    /// What a status that is not a success means.
    fn fault(&self, answer: &Answer, repository: &HubRepository, revision: Option<&str>) -> HubFault {
        let headers = answer.response.headers();
        let has_token = self.token.is_some();
        let said = text(headers, "x-error-message").map_or_else(String::new, |said| shorten(&said));
        let wait = number(headers, "retry-after").map(Duration::from_secs);
        let code = text(headers, "x-error-code");
        let kind = repository.kind;
        let not_found = || HubFault::NotFound {
            kind,
            endpoint: shown(&self.endpoint),
            has_token,
        };
        let page = || {
            let mut parts = vec![shown(&self.endpoint).trim_end_matches('/').to_owned()];
            parts.extend(kind.prefix().iter().map(ToString::to_string));
            parts.push(repository.id.clone());
            parts.join("/")
        };
        let gated = |status| HubFault::Gated {
            kind,
            status,
            page: page(),
            has_token,
            said: said.clone(),
        };
        let is_hub = answer.url.origin() == self.endpoint.origin();
        match (answer.response.status().as_u16(), code.as_deref()) {
            (status @ 400..=428, None) if !is_hub => HubFault::Storage {
                url: shown(&answer.url),
                status,
            },
            (status @ (401 | 403), Some("GatedRepo")) => gated(status),
            (401 | 404, Some("RepoNotFound")) => not_found(),
            (401, _) => HubFault::Unauthorized {
                kind,
                has_token,
                said,
            },
            (403, None) => gated(403),
            (403, Some(_)) => HubFault::Forbidden { kind, said },
            (404, code) => match (revision, code) {
                (None, _) | (_, Some("EntryNotFound")) => HubFault::FileNotFound {
                    alternatives: Vec::new(),
                },
                (Some(revision), Some("RevisionNotFound")) => HubFault::RevisionNotFound {
                    kind,
                    revision: revision.to_owned(),
                },
                (Some(_), _) => not_found(),
            },
            (429, _) => HubFault::RateLimited { wait },
            (status @ (408 | 500..=599), _) => HubFault::Server { status, wait },
            (status, _) => HubFault::Status { status },
        }
    }
}

/// There was no answer, or its body cannot be read.
pub(super) fn unreachable(url: &Url, source: ureq::Error) -> HubFault {
    HubFault::Unreachable {
        url: shown(url),
        source: Box::new(source),
    }
}

/// The answer has no meaning.
pub(super) fn wrong(url: &Url, problem: String) -> HubFault {
    HubFault::Answer {
        url: shown(url),
        problem,
    }
}

/// The text of a header.
pub(super) fn text(headers: &HeaderMap, name: &str) -> Option<String> {
    let value = headers.get(name)?.to_str().ok()?;
    Some(value.to_owned()).filter(|value| !value.is_empty())
}

/// The number in a header.
pub(super) fn number(headers: &HeaderMap, name: &str) -> Option<u64> {
    text(headers, name)?.trim().parse().ok()
}

/// An address without what may be secret: the query is a signature.
fn shown(url: &Url) -> String {
    let mut url = url.clone();
    url.set_query(None);
    // An address that has no user cannot have one removed.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url.into()
}

/// The first characters of a text of the hub's, in one line.
fn shorten(text: &str) -> String {
    let text = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    text.take(SAID_LIMIT).collect()
}

/// Whether an ETag can name a file.
fn is_file_name(etag: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    (1..=128).contains(&etag.len()) && !etag.starts_with('.') && etag.chars().all(allowed)
}
