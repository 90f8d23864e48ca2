//! The ingress of a lab: the real one, over the real sockets, in the lab's own process.

use std::net::SocketAddr;
use std::sync::Arc;

use proxy::dial::LocalNode;
use proxy::ingress::limits::Limits;
use proxy::ingress::routes::Control;
use proxy::ingress::tls::Certificates;
use proxy::ingress::trusted::Trusted;
use proxy::ingress::{Config, Ingress};
use tokio::net::TcpListener;
use tokio::task::AbortHandle;

use crate::http::Client;
use crate::lab::Lab;
use crate::registry::Authority;

/// What the names of a lab's sandboxes end with.
pub const DOMAIN: &str = "sandbox.localhost";

/// What URLs of a lab's sandboxes end with. A lab can have several doors, and each is known by its clients.
pub const AUTHORITY: &str = "sandbox.localhost:7443";

/// An ingress that serves until it is dropped.
pub struct Door {
    address: SocketAddr,
    serving: AbortHandle,
}

impl Door {
    /// One of this lab.
    ///
    /// # Panics
    /// When it does not start: the story cannot go on.
    pub(crate) async fn open(lab: &Lab, limits: Limits) -> Self {
        let authority = Authority::new();
        let certificates = Certificates::open(authority.server_certificate(), authority.server_key());
        let ingress = Ingress::new(Config {
            domain: DOMAIN.parse().expect("it is a domain"),
            routes: Arc::new(Control::new(lab.ingress_socket())),
            changes: Some(lab.changes()),
            clock: lab.clock.clone(),
            dial: Arc::new(LocalNode::new(lab.ports_socket())),
            certificates: certificates.expect("a certificate"),
            plain: true,
            trusted: Trusted::default(),
            limits,
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("a port");
        let serving = async move {
            let _read_again_while_it_serves = authority;
            ingress.serve(listener, std::future::pending()).await.expect("its threads start");
        };
        Self { address, serving: tokio::spawn(serving).abort_handle() }
    }

    /// A client of it.
    pub fn client(&self, key: &str) -> Client {
        Client::new(format!("http://{}", self.address), key.to_owned())
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        self.serving.abort();
    }
}
