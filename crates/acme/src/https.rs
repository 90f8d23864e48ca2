//! Requests to the authority: over TLS only, each bounded in time and size.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, Uri};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::{TokioExecutor, TokioIo};
use instant_acme::{BodyWrapper, BytesResponse, Error, HttpClient};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tower_service::Service;

use crate::trouble::Trouble;

/// A request has so long, its connection and its answer's body included.
const REQUEST_BOUND: Duration = Duration::from_secs(30);
/// An answer, in bytes; a chain of certificates is the longest.
const ANSWER_BYTES_MAX: usize = 1024 * 1024;
/// Where HTTPS is served, unless the URL says otherwise.
const HTTPS_PORT: u16 = 443;

/// A client for as long as one certificate takes.
pub(crate) struct Https {
    client: Client<Connector, BodyWrapper<Bytes>>,
}

impl Https {
    /// One that believes who is named in this text of PEM, or whom this machine believes.
    pub(crate) fn new(signers: Option<&str>) -> Result<Self, Trouble> {
        let roots = match signers {
            Some(text) => named(text),
            None => system(),
        };
        let config = roots.and_then(config);
        let config = config.map_err(|why| Trouble::new("reading whom the authority is known by", why))?;
        let connector = Connector { tls: TlsConnector::from(Arc::new(config)) };
        Ok(Self { client: Client::builder(TokioExecutor::new()).build(connector) })
    }
}

fn named(text: &str) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(text.as_bytes()) {
        let certificate = certificate.map_err(|error| error.to_string())?;
        roots.add(certificate).map_err(|error| error.to_string())?;
    }
    if roots.is_empty() { Err("there is no certificate in PEM".into()) } else { Ok(roots) }
}

fn system() -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() { Err("install the package ca-certificates".into()) } else { Ok(roots) }
}

fn config(roots: RootCertStore) -> Result<ClientConfig, String> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder = builder.map_err(|error| error.to_string())?;
    let mut config = builder.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

impl HttpClient for Https {
    fn request(
        &self,
        request: Request<BodyWrapper<Bytes>>,
    ) -> Pin<Box<dyn Future<Output = Result<BytesResponse, Error>> + Send>> {
        let host = request.uri().authority().map(ToString::to_string).unwrap_or_default();
        let answer = self.client.request(request);
        Box::pin(async move {
            let whole = async { whole(answer.await.map_err(other)?).await };
            match tokio::time::timeout(REQUEST_BOUND, whole).await {
                Ok(answer) => answer,
                Err(_) => {
                    let seconds = REQUEST_BOUND.as_secs();
                    Err(other(io::Error::other(format!("{host} does not answer within {seconds} s"))))
                }
            }
        })
    }
}

async fn whole(answer: Response<Incoming>) -> Result<BytesResponse, Error> {
    let (parts, body) = answer.into_parts();
    let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await.map_err(Error::Other)?.to_bytes();
    Ok(BytesResponse { parts, body: Box::new(body) })
}

fn other(error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::Other(Box::new(error))
}

/// Makes connections of TLS, and no others.
#[derive(Clone)]
struct Connector {
    tls: TlsConnector,
}

impl Connector {
    async fn connect(self, uri: Uri) -> io::Result<Secure> {
        let host = uri.host().unwrap_or_default();
        if uri.scheme_str() != Some("https") {
            return Err(io::Error::other(format!("{uri} is no URL of https")));
        }
        let bare = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let (port, name) = (uri.port_u16().unwrap_or(HTTPS_PORT), ServerName::try_from(bare.clone()));
        let name = name.map_err(|_| io::Error::other(format!("{host} is no name of a server")))?;
        let tell = |error: io::Error| io::Error::new(error.kind(), format!("{host}:{port}: {error}"));
        let tcp = TcpStream::connect((bare.as_str(), port)).await.map_err(tell)?;
        Ok(Secure(TokioIo::new(self.tls.connect(name, tcp).await.map_err(tell)?)))
    }
}

impl Service<Uri> for Connector {
    type Response = Secure;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Secure>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        Box::pin(self.clone().connect(uri))
    }
}

/// A connection to whom the URL names.
struct Secure(TokioIo<TlsStream<TcpStream>>);

impl Connection for Secure {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

impl Read for Secure {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        room: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, room)
    }
}

impl Write for Secure {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}
