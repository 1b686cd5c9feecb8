//! HTTPS, with rustls.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use nerve_tagging::without_byte_order_mark;
use rustls::crypto::ring::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{InconsistentKeys, ServerConfig};
use thiserror::Error;

use crate::config::TlsFiles;
use crate::reloaded::{Content, Reloaded};

/// Why HTTPS cannot be served.
#[derive(Debug, Error)]
pub enum TlsError {
    /// A file has no valid PEM content.
    #[error("{}: {source}", path.display())]
    Pem {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: pem::Error,
    },
    /// A file has no certificate.
    #[error("{}: no certificate", path.display())]
    NoCertificate {
        /// The file.
        path: PathBuf,
    },
    /// The TLS library supports no version of the protocol.
    #[error("no TLS version is available: {0}")]
    Versions(rustls::Error),
    /// The certificate and the key do not match, or are of an unsupported kind.
    #[error("the certificate {} and the key {} cannot be used together: {}", certificate.display(), key.display(), reason(source))]
    Pair {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's file.
        key: PathBuf,
        /// The cause.
        source: rustls::Error,
    },
}

/// Why a pair cannot be used, in words.
fn reason(error: &rustls::Error) -> String {
    match error {
        rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
            "the key is not the certificate's".to_owned()
        }
        other => other.to_string(),
    }
}

/// The certificate of the server, which is read again when its files change. A connection keeps the certificate that it
/// began with.
pub(crate) struct Certificate(Reloaded<CertifiedKey, TlsError>);

impl Certificate {
    /// Reads the certificate and its key.
    pub(crate) fn read(files: &TlsFiles) -> Result<Self, TlsError> {
        let paths = vec![files.certificate.clone(), files.key.clone()];
        let files = files.clone();
        Reloaded::load("the TLS certificate", paths, move |contents| {
            certified(&files, contents)
        })
        .map(Self)
    }

    /// The certificate of new connections.
    pub(crate) fn current(&self) -> Arc<CertifiedKey> {
        self.0.get()
    }

    /// Reads changed files again. A certificate and a key that cannot be used together leave the previous ones. Blocks.
    pub(crate) fn refresh(&self) {
        self.0.refresh();
    }
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Certificate")
    }
}

impl ResolvesServerCert for Certificate {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current())
    }
}

/// The TLS configuration of every listener: TLS 1.2 and 1.3. The listener adds the protocols that it speaks.
pub(crate) fn tls_config(certificate: Arc<Certificate>) -> Result<ServerConfig, TlsError> {
    Ok(ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(TlsError::Versions)?
        .with_no_client_auth()
        .with_cert_resolver(certificate))
}

/// The pair of a certificate's chain and its key, whose files have these contents.
fn certified(files: &TlsFiles, contents: Vec<Content>) -> Result<CertifiedKey, TlsError> {
    let pem = |path: &Path| {
        let path = path.to_owned();
        move |source| TlsError::Pem { path, source }
    };
    let mut contents = contents.into_iter();
    let mut next = |path: &Path| {
        let content = contents.next().unwrap_or_else(|| Ok(Vec::new()));
        content.map_err(pem::Error::Io).map_err(pem(path))
    };
    let (certificate, key) = (next(&files.certificate)?, next(&files.key)?);
    let certificates = CertificateDer::pem_slice_iter(without_byte_order_mark(&certificate))
        .collect::<Result<Vec<_>, _>>()
        .map_err(pem(&files.certificate))?;
    if certificates.is_empty() {
        return Err(TlsError::NoCertificate {
            path: files.certificate.clone(),
        });
    }
    let key = PrivateKeyDer::from_pem_slice(without_byte_order_mark(&key)).map_err(pem(&files.key))?;
    CertifiedKey::from_der(certificates, key, &default_provider()).map_err(|source| TlsError::Pair {
        certificate: files.certificate.clone(),
        key: files.key.clone(),
        source,
    })
}
