//! HTTPS, with a certificate that was made for these tests: it is trusted by nobody else, and its key is no secret.

use std::path::PathBuf;

use rustls::crypto::ring::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use super::*;
use crate::config::TlsFiles;

fn file(name: &str) -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/src/tests/tls")).join(name)
}

fn with(certificate: PathBuf, key: PathBuf) -> Server {
    Server::start(Script::default(), |config| {
        config.http.tls = Some(TlsFiles { certificate, key });
    })
}

/// A client that trusts the certificate of the tests.
fn client(server: &Server) -> StreamOwned<ClientConnection, TcpStream> {
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_file(file("certificate.pem")).unwrap())
        .unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from("localhost").unwrap();
    let session = ClientConnection::new(Arc::new(config), name).unwrap();
    let stream = TcpStream::connect(server.address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    StreamOwned::new(session, stream)
}

/// The status of an answer over HTTPS.
fn ask(server: &Server) -> String {
    let mut stream = client(server);
    let body = r#"{"text": "paul"}"#;
    write!(
        stream,
        "POST /ner HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn a_text_is_answered_over_https_and_not_over_http() {
    let server = with(file("certificate.pem"), file("key.pem"));
    eventually(|| ask(&server).starts_with("HTTP/1.1 200 "));
    assert!(ask(&server).contains("\"person\""));
    let mut plain = server.send("GET", "/health/live", "", "");
    let mut answer = Vec::new();
    let _reset = plain.read_to_end(&mut answer);
    assert!(!answer.starts_with(b"HTTP/"), "{answer:?}");
}

#[test]
fn files_that_make_no_https_are_named() {
    let missing = file("nobody.pem");
    for (certificate, key, named) in [
        (missing.clone(), file("key.pem"), "nobody.pem"),
        (file("certificate.pem"), missing, "nobody.pem"),
        (file("key.pem"), file("key.pem"), "no certificate"),
        (
            file("certificate.pem"),
            file("certificate.pem"),
            "certificate.pem",
        ),
    ] {
        let mut server = with(certificate, key);
        let ended = server.thread.take().unwrap().join().unwrap();
        let error = ended.unwrap_err().to_string();
        assert!(error.contains(named), "{error}");
    }
}
