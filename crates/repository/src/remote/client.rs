//! The client of a store's cloud, configured by the environment as the cloud's own tools are.

use std::env::vars_os;
use std::sync::Arc;
use std::time::Duration;

use object_store::aws::AmazonS3Builder;
use object_store::azure::MicrosoftAzureBuilder;
use object_store::gcp::GoogleCloudStorageBuilder;
use object_store::path::Path;
use object_store::{BackoffConfig, ObjectStore, ObjectStoreScheme, RetryConfig};
use url::Url;

use crate::remote::error::RemoteError;

/// Options that hold unless the environment has others. A transfer may take long as long as bytes arrive.
const DEFAULTS: [(&str, &str); 3] = [
    ("timeout", "1 hour"),
    ("read_timeout", "20 seconds"),
    // Connections are driven only while an operation runs, so an old one may be closed.
    ("pool_idle_timeout", "2 seconds"),
];

/// Names that the clouds' tools know and the client does not.
const ALIASES: [(&str, &str); 2] = [
    ("azure_storage_account", "azure_storage_account_name"),
    ("azure_storage_key", "azure_storage_account_key"),
];

/// Variables that name an endpoint. One of `http://` is accepted as the clouds' tools accept it.
const ENDPOINTS: [&str; 6] = [
    "aws_endpoint",
    "aws_endpoint_url",
    "aws_endpoint_url_s3",
    "azure_endpoint",
    "azure_storage_endpoint",
    "google_base_url",
];

/// How a request that fails is repeated. What fails for longer is reported, and tried again by the caller.
fn retry() -> RetryConfig {
    RetryConfig {
        backoff: BackoffConfig {
            init_backoff: Duration::from_millis(100),
            max_backoff: Duration::from_secs(2),
            base: 2.0,
        },
        max_retries: 3,
        retry_timeout: Duration::from_secs(30),
    }
}

/// The client for a URL, and the path of the store in its bucket. Nothing is sent yet.
pub(crate) fn connect(url: &Url) -> Result<(Arc<dyn ObjectStore>, Path), RemoteError> {
    // Fails if the program has installed one, which then holds.
    let _installed = rustls::crypto::ring::default_provider().install_default();
    let invalid = |source: object_store::Error| RemoteError::of_client(url, source.into());
    let (scheme, path) =
        ObjectStoreScheme::parse(url).map_err(|source| RemoteError::of_client(url, source.into()))?;
    macro_rules! build {
        ($builder:ty, $prefix:literal) => {{
            let builder = <$builder>::new().with_url(url.as_str()).with_retry(retry());
            // What the client does not know, such as `AWS_PROFILE`, is not for it.
            let configured = options($prefix).fold(builder, |builder, (key, value)| match key.parse() {
                Ok(key) => builder.with_config(key, value),
                Err(_) => builder,
            });
            Arc::new(configured.build().map_err(invalid)?)
        }};
    }
    let store: Arc<dyn ObjectStore> = match scheme {
        ObjectStoreScheme::AmazonS3 => build!(AmazonS3Builder, "aws_"),
        ObjectStoreScheme::GoogleCloudStorage => build!(GoogleCloudStorageBuilder, "google_"),
        ObjectStoreScheme::MicrosoftAzure => build!(MicrosoftAzureBuilder, "azure_"),
        _ => {
            let source = "the scheme is not s3, gs, az or file".into();
            return Err(RemoteError::of_client(url, source));
        }
    };
    Ok((store, path))
}

/// The defaults, then the variables of the environment with this prefix, in lower case.
fn options(prefix: &str) -> impl Iterator<Item = (String, String)> {
    let variables: Vec<(String, String)> = vars_os()
        .filter_map(|(key, value)| {
            let key = key.into_string().ok()?.to_ascii_lowercase();
            let value = value.into_string().ok()?;
            (key.starts_with(prefix) && !value.is_empty()).then_some((key, value))
        })
        .collect();
    of_variables(variables)
}

fn of_variables(variables: Vec<(String, String)>) -> impl Iterator<Item = (String, String)> {
    let is_http =
        |(key, value): &(String, String)| ENDPOINTS.contains(&key.as_str()) && value.starts_with("http://");
    let allow_http = variables.iter().any(is_http);
    let mut options: Vec<(String, String)> = DEFAULTS
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .into();
    if allow_http {
        options.push(("allow_http".to_owned(), "true".to_owned()));
    }
    for (alias, key) in ALIASES {
        let found = variables.iter().find(|(variable, _)| variable == alias);
        options.extend(found.map(|(_, value)| (key.to_owned(), value.clone())));
    }
    options.into_iter().chain(variables)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(variables: &[(&str, &str)]) -> Vec<(String, String)> {
        let owned = |&(key, value): &(&str, &str)| (key.to_owned(), value.to_owned());
        of_variables(variables.iter().map(owned).collect()).collect()
    }

    #[test]
    fn an_endpoint_without_tls_is_accepted_as_it_is_given() {
        let allowed = ("allow_http".to_owned(), "true".to_owned());
        assert!(of(&[("aws_endpoint_url", "http://minio:9000")]).contains(&allowed));
        assert!(!of(&[("aws_endpoint_url", "https://minio:9000")]).contains(&allowed));
        assert!(!of(&[]).contains(&allowed));
    }

    #[test]
    fn the_environment_comes_after_the_defaults_and_aliases() {
        let options = of(&[("aws_timeout", "5s"), ("azure_storage_account", "models")]);
        let at = |key: &str| options.iter().position(|(found, _)| found == key).unwrap();
        assert!(at("timeout") < at("aws_timeout"));
        assert!(at("azure_storage_account_name") < at("azure_storage_account"));
    }

    #[test]
    fn each_cloud_has_its_client() {
        for (url, path) in [
            ("s3://bucket/a/b", "a/b"),
            ("s3://bucket", ""),
            ("gs://bucket/a", "a"),
        ] {
            let (_, found) = connect(&url.parse().unwrap()).unwrap();
            assert_eq!(found.as_ref(), path, "{url}");
        }
        let error = connect(&"az://container/a".parse().unwrap())
            .unwrap_err()
            .to_string();
        assert!(
            error.starts_with("az://container/a: ") && error.contains("ccount"),
            "{error}"
        );
    }
}
