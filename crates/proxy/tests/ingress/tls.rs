//! TLS: what is chosen in it, how one gets to it, and that certificates change.

use std::fs;
use std::sync::Arc;

use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use proxy::ingress::tls::Certificates;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::support::{Stand, get, host, make_certificate, plain_app};

/// A connection of TLS to the ingress under this name.
pub async fn connect(stand: &Stand, name: &str, protocols: &[&[u8]]) -> TlsStream<TcpStream> {
    secure(stand, stand.connect().await, name, protocols).await
}

async fn secure(stand: &Stand, stream: TcpStream, name: &str, protocols: &[&[u8]]) -> TlsStream<TcpStream> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(stand.dir.path().join("ca.pem")).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let mut config = config.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    let name = ServerName::try_from(name.to_owned()).unwrap();
    TlsConnector::from(Arc::new(config)).connect(name, stream).await.unwrap()
}

#[tokio::test]
async fn a_client_chooses_its_version_of_http() {
    let stand = Stand::new().await;
    let (port, mut seen) = plain_app().await;
    for protocols in [&[b"http/1.1".as_slice()][..], &[]] {
        let stream = connect(&stand, &host(port), protocols).await;
        let (mut client, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        let answer = client.send_request(get(port, "/")).await.unwrap();
        assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), "ok");
        assert_eq!(seen.recv().await.unwrap().headers["x-forwarded-proto"], "https");
    }
    let stream = connect(&stand, &host(port), &[b"h2", b"http/1.1"]).await;
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    stand.stop().await;
}

#[tokio::test]
async fn a_tunnel_leads_to_the_same_tls_and_nowhere_else() {
    let stand = Stand::new().await;
    let (port, mut seen) = plain_app().await;
    let mut stream = stand.connect().await;
    let ask = format!("CONNECT {}:443 HTTP/1.1\r\nhost: {}:443\r\n\r\n", host(port), host(port));
    stream.write_all(ask.as_bytes()).await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    assert!(head.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&head));
    let stream = secure(&stand, stream, &host(port), &[]).await;
    let (mut client, connection) =
        http1::handshake::<_, Full<bytes::Bytes>>(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    assert_eq!(client.send_request(get(port, "/")).await.unwrap().status(), 200);
    assert_eq!(seen.recv().await.unwrap().headers["x-forwarded-proto"], "https");
    for elsewhere in ["127.0.0.1:22", "example.test:443", "www.sandbox.localhost:443"] {
        let ask = format!("CONNECT {elsewhere} HTTP/1.1\r\nhost: {elsewhere}\r\nconnection: close\r\n\r\n");
        let answer = stand.exchange(ask.as_bytes()).await;
        assert!(answer.starts_with(b"HTTP/1.1 403"), "{elsewhere}");
    }
    stand.stop().await;
}

#[test]
fn a_certificate_that_changes_is_read_again_and_one_that_is_none_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    make_certificate(dir.path());
    let (certificate, key) = (dir.path().join("cert.pem"), dir.path().join("key.pem"));
    let certificates = Certificates::open(certificate.clone(), key.clone()).unwrap();
    assert!(!certificates.reload().unwrap());
    let before = fs::read(&certificate).unwrap();
    let later = |path| {
        fs::File::options()
            .append(true)
            .open(path)
            .unwrap()
            .set_modified(std::time::SystemTime::UNIX_EPOCH)
            .unwrap()
    };
    make_certificate(dir.path());
    later(&key);
    assert!(certificates.reload().unwrap());
    // Another's certificate for this key.
    fs::write(&certificate, before).unwrap();
    later(&certificate);
    assert!(certificates.reload().unwrap_err().to_string().contains("cert.pem"));
    fs::write(&certificate, "nothing").unwrap();
    assert!(certificates.reload().is_err());
}
