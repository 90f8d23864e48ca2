//! A client that believes one authority, and looks at what a server proves itself with.

use std::io;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// A connection of TLS.
pub struct Visit {
    host: String,
    stream: TlsStream<TcpStream>,
}

impl Visit {
    /// One to an address, under a name, by a client that believes who is named in this text of PEM.
    ///
    /// # Errors
    /// When there is no connection, or what the server proves itself with is not believed.
    ///
    /// # Panics
    /// When the text or the name are none.
    pub async fn start(address: &str, host: &str, root: &str) -> io::Result<Self> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(root.as_bytes()).expect("PEM")).expect("a certificate");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let config = config.expect("it knows some").with_root_certificates(roots).with_no_client_auth();
        let name = ServerName::try_from(host.to_owned()).expect("a name");
        let stream = TcpStream::connect(address).await?;
        let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await?;
        Ok(Self { host: host.to_owned(), stream })
    }

    /// The server's own certificate.
    ///
    /// # Panics
    /// Never: without one there is no connection.
    pub fn certificate(&self) -> Vec<u8> {
        let certificates = self.stream.get_ref().1.peer_certificates().expect("it was believed");
        certificates[0].to_vec()
    }

    /// Asks for a page, and leaves the connection open. The line of the answer's status.
    ///
    /// # Errors
    /// When the connection ends instead.
    pub async fn ask(&mut self) -> io::Result<String> {
        let ask = format!("HEAD / HTTP/1.1\r\nhost: {}\r\n\r\n", self.host);
        self.stream.write_all(ask.as_bytes()).await?;
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(self.stream.read_u8().await?);
        }
        let head = String::from_utf8_lossy(&head);
        Ok(head.lines().next().unwrap_or_default().to_owned())
    }
}
