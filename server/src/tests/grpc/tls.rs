//! gRPC over TLS, with the certificate of HTTPS.

use rustls::crypto::ring::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use super::*;
use crate::config::TlsFiles;

const TLS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/tests/tls");
/// What a client of HTTP/2 sends first, and empty settings.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

#[test]
fn http2_is_spoken_over_tls() {
    let server = Server::start(Script::default(), |config| {
        config.http.tls = Some(TlsFiles {
            certificate: format!("{TLS}/certificate.pem").into(),
            key: format!("{TLS}/key.pem").into(),
        });
    });
    let mut roots = RootCertStore::empty();
    let certificate = CertificateDer::from_pem_file(format!("{TLS}/certificate.pem"));
    roots.add(certificate.unwrap()).unwrap();
    let mut config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let session =
        ClientConnection::new(Arc::new(config), ServerName::try_from("localhost").unwrap()).unwrap();
    let stream = TcpStream::connect(server.grpc).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let mut stream = StreamOwned::new(session, stream);
    stream.write_all(PREFACE).unwrap();
    let mut head = [0; 9];
    stream.read_exact(&mut head).unwrap();
    // The fourth byte is the type of a frame: settings.
    assert_eq!((stream.conn.alpn_protocol(), head[3]), (Some(&b"h2"[..]), 4));

    let mut plain = TcpStream::connect(server.grpc).unwrap();
    plain.write_all(PREFACE).unwrap();
    let mut answer = Vec::new();
    let _reset = plain.read_to_end(&mut answer);
    // A TLS alert, or nothing.
    assert_ne!(answer.get(3), Some(&4), "{answer:?}");
}
