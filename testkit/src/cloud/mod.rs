//! The services that three clouds give registry tokens by, as far as they can be told from outside: they check what
//! they are sent as the real ones do, and give nothing to who gets it wrong.

mod aws;
mod azure;
mod gcp;

use std::sync::{Arc, Mutex, PoisonError};

use artifact::oci::Settings;
use http::Response;

use crate::registry::Registry;
use crate::web::{Asked, Body, Web, answer};

pub(crate) use self::aws::{Signature, check_signature, sha256, timestamp};
pub use self::azure::Principal;

/// All three, on one address. Gone when dropped.
#[derive(Debug)]
pub struct Cloud {
    shared: Arc<Shared>,
    web: Web,
}

#[derive(Debug)]
struct Shared {
    gcp: gcp::Gcp,
    refusals: Mutex<Vec<String>>,
}

impl Cloud {
    /// Starts it.
    pub async fn start() -> Self {
        let shared = Arc::new(Shared { gcp: gcp::Gcp::new(), refusals: Mutex::default() });
        let server = shared.clone();
        let web = Web::start(None, move |asked| {
            let server = server.clone();
            async move { server.answer(&asked) }
        })
        .await;
        shared.gcp.set_url(format!("http://{}/gcp/token", web.address()));
        Self { shared, web }
    }

    /// A node that gets its tokens here, and images as these settings say.
    ///
    /// # Panics
    /// When its address is none.
    pub fn settings(&self, settings: Settings) -> Settings {
        let endpoint = |path: &str| format!("http://{}{path}", self.web.address()).parse().expect("a URL");
        Settings {
            ecr_endpoint: Some(endpoint("/aws")),
            gcp_token_endpoint: endpoint("/gcp/token"),
            azure_login_endpoint: endpoint("/"),
            ..settings
        }
    }

    /// Makes its tokens good for this registry.
    pub fn serve(&self, registry: &Registry) {
        registry.accept("AWS", aws::PASSWORD);
        registry.accept("oauth2accesstoken", gcp::ACCESS_TOKEN);
        registry.accept("00000000-0000-0000-0000-000000000000", azure::REFRESH_TOKEN);
        let address = registry.address();
        registry.exchange(move |asked| azure::exchange(asked, &address));
    }

    /// A key of AWS: its id and the key.
    pub fn aws_key(&self) -> (&'static str, &'static str) {
        (aws::KEY_ID, aws::SECRET)
    }

    /// The key file of a service account of Google's.
    pub fn gcp_key_file(&self) -> String {
        self.shared.gcp.key_file()
    }

    /// A service principal of Azure's.
    pub fn azure_principal(&self) -> Principal {
        Principal::default()
    }

    /// What it found wrong so far, with whatever it was asked.
    pub fn refusals(&self) -> Vec<String> {
        self.shared.refusals.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Shared {
    fn answer(&self, asked: &Asked) -> Response<Body> {
        let granted = match asked.uri.path() {
            "/aws" => aws::authorize(asked),
            "/gcp/token" => self.gcp.grant(asked),
            path if path.ends_with("/oauth2/v2.0/token") => azure::grant(asked),
            path => Err((404, format!("there is no {path}"))),
        };
        granted.unwrap_or_else(|(status, reason)| {
            self.refusals.lock().unwrap_or_else(PoisonError::into_inner).push(reason);
            answer(status, r#"{"__type":"Refused","error":"refused"}"#)
        })
    }
}

/// What a service answers, or its status and reason for not doing so.
type Granted = Result<Response<Body>, (u16, String)>;

/// An error if something is not as it should be.
fn expect(status: u16, holds: bool, what: impl Into<String>) -> Result<(), (u16, String)> {
    if holds { Ok(()) } else { Err((status, what.into())) }
}

/// The seconds of the clock.
fn now() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    now.expect("it is after 1970").as_secs()
}
