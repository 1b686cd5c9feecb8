//! HTTPS, with certificates that were made for these tests: they are trusted by nobody else, and their keys are no secrets.

use std::path::PathBuf;

use rustls::crypto::ring::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use super::*;
use crate::config::TlsFiles;
use crate::tls::Certificate;

fn file(name: &str) -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/src/tests/tls")).join(name)
}

fn certificate(name: &str) -> CertificateDer<'static> {
    CertificateDer::from_pem_file(file(name)).unwrap()
}

fn with(certificate: PathBuf, key: PathBuf) -> Server {
    Server::start(Script::default(), |config| {
        config.http.tls = Some(TlsFiles { certificate, key });
    })
}

/// A client that trusts the certificates of the tests.
fn client(server: &Server) -> StreamOwned<ClientConnection, TcpStream> {
    let mut roots = RootCertStore::empty();
    for certificate in [
        certificate("certificate.pem"),
        certificate("next-certificate.pem"),
    ] {
        roots.add(certificate).unwrap();
    }
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
        (
            file("certificate.pem"),
            file("next-key.pem"),
            "next-key.pem cannot be used together: the key is not the certificate's",
        ),
    ] {
        let mut server = with(certificate, key);
        let ended = server.thread.take().unwrap().join().unwrap();
        let error = ended.unwrap_err().to_string();
        assert!(error.contains(named), "{error}");
    }
}

/// The certificate that a new connection gets.
fn presented(server: &Server) -> CertificateDer<'static> {
    let mut stream = client(server);
    stream
        .write_all(b"GET /health/live HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
        .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    stream.conn.peer_certificates().unwrap()[0].clone().into_owned()
}

#[test]
fn new_connections_get_a_replaced_certificate() {
    let dir = tempfile::tempdir().unwrap();
    let (used, key) = (dir.path().join("certificate.pem"), dir.path().join("key.pem"));
    std::fs::copy(file("certificate.pem"), &used).unwrap();
    std::fs::copy(file("key.pem"), &key).unwrap();
    let server = with(used.clone(), key.clone());
    eventually(|| ask(&server).starts_with("HTTP/1.1 200 "));
    assert_eq!(presented(&server), certificate("certificate.pem"));
    std::fs::copy(file("next-certificate.pem"), &used).unwrap();
    std::fs::copy(file("next-key.pem"), &key).unwrap();
    eventually(|| presented(&server) == certificate("next-certificate.pem"));
}

#[test]
fn a_certificate_without_its_key_leaves_the_one_before() {
    let dir = tempfile::tempdir().unwrap();
    let files = TlsFiles {
        certificate: dir.path().join("certificate.pem"),
        key: dir.path().join("key.pem"),
    };
    std::fs::copy(file("certificate.pem"), &files.certificate).unwrap();
    std::fs::copy(file("key.pem"), &files.key).unwrap();
    let used = Certificate::read(&files).unwrap();
    let is = |name: &str| used.current().cert[0] == certificate(name);
    assert!(is("certificate.pem"));
    // The two files are replaced one after the other.
    std::fs::copy(file("next-certificate.pem"), &files.certificate).unwrap();
    used.refresh();
    assert!(is("certificate.pem"));
    std::fs::write(&files.key, "").unwrap();
    used.refresh();
    assert!(is("certificate.pem"));
    std::fs::copy(file("next-key.pem"), &files.key).unwrap();
    used.refresh();
    assert!(is("next-certificate.pem"));
}
