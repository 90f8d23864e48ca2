//! WebSockets: asked for in HTTP/1.1 by an upgrade, in HTTP/2 by an extended CONNECT (RFC 8441); apps are asked in HTTP/1.1.
//!
//! No other protocol is upgraded to: what follows would be requests that nobody checks (`h2c`, mostly).

mod relay;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::header::{CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, UPGRADE};
use http::{HeaderValue, Method, Request, Response, StatusCode, Version};
use hyper::body::Incoming;
use hyper::ext::Protocol;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;

use super::body::{AnswerBody, Sent};
use super::door::{Caller, Visit, bad_answer, empty};
use super::headers;
use super::refusal::Refusal;
use super::tally::Open;

const WEBSOCKET: &str = "websocket";
/// Random bytes of the key by which a client knows that an answer is to its own question.
const KEY_BYTES: usize = 16;

/// A WebSocket that is asked for.
pub struct Upgrade {
    client: OnUpgrade,
    version: Version,
}

impl Upgrade {
    /// What this request asks for, if it is a WebSocket.
    ///
    /// # Errors
    /// When it is a CONNECT to something else.
    pub fn asked(request: &mut Request<Incoming>) -> Result<Option<Self>, Refusal> {
        let is_asked = match *request.method() {
            Method::CONNECT => {
                let protocol = request.extensions().get::<Protocol>();
                if protocol.is_none_or(|protocol| protocol.as_str() != WEBSOCKET) {
                    let message = "CONNECT leads to the TLS of sandboxes or to WebSockets, and nowhere else";
                    return Err(Refusal::new(StatusCode::NOT_IMPLEMENTED, "no_such_tunnel", message));
                }
                true
            }
            Method::GET if request.version() == Version::HTTP_11 => is_upgrade(request),
            _ => false,
        };
        let version = request.version();
        Ok(is_asked.then(|| Self { client: hyper::upgrade::on(request), version }))
    }

    /// Makes `onward` ask the app for it.
    ///
    /// # Errors
    /// When there is no randomness.
    pub fn ask(&self, onward: &mut Request<Sent>) -> Result<(), Refusal> {
        *onward.method_mut() = Method::GET;
        let headers = onward.headers_mut();
        headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(UPGRADE, HeaderValue::from_static(WEBSOCKET));
        if self.version == Version::HTTP_2 {
            headers.insert(SEC_WEBSOCKET_KEY, key()?);
            headers.entry(SEC_WEBSOCKET_VERSION).or_insert(HeaderValue::from_static("13"));
        }
        Ok(())
    }

    /// The app has agreed: bytes go both ways from now on, until either end leaves, the sandbox goes, what let the
    /// client in is taken back, or the server stops.
    ///
    /// # Errors
    /// When it has agreed to something else.
    pub fn begin(
        self,
        mut agreed: Response<Incoming>,
        visit: Visit,
        open: Open,
        caller: &Caller,
    ) -> Result<Response<AnswerBody>, Refusal> {
        if !headers::has_token(agreed.headers(), &UPGRADE, WEBSOCKET) {
            return Err(bad_answer("it changed to another protocol than it was asked to"));
        }
        let app = hyper::upgrade::on(&mut agreed);
        let mut answer = empty(StatusCode::SWITCHING_PROTOCOLS);
        let mut head = agreed.into_parts().0;
        headers::answer(&mut head.headers).map_err(|refusal| bad_answer(&refusal.message))?;
        *answer.headers_mut() = head.headers;
        if self.version == Version::HTTP_2 {
            *answer.status_mut() = StatusCode::OK;
            answer.headers_mut().remove(SEC_WEBSOCKET_ACCEPT);
        } else {
            answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("upgrade"));
            answer.headers_mut().insert(UPGRADE, HeaderValue::from_static(WEBSOCKET));
        }
        tokio::spawn(bridge(self.client, app, (visit, open), caller.clone()));
        Ok(answer)
    }
}

fn is_upgrade(request: &Request<Incoming>) -> bool {
    let mut wanted = request.headers().get_all(UPGRADE).iter();
    let only = (wanted.next(), wanted.next());
    let is_websocket =
        matches!(only, (Some(one), None) if one.as_bytes().eq_ignore_ascii_case(WEBSOCKET.as_bytes()));
    is_websocket && headers::has_token(request.headers(), &CONNECTION, "upgrade")
}

fn key() -> Result<HeaderValue, Refusal> {
    let mut bytes = [0; KEY_BYTES];
    let drawn = getrandom::fill(&mut bytes).map_err(|error| error.to_string());
    let value = drawn
        .and_then(|()| HeaderValue::from_str(&STANDARD.encode(bytes)).map_err(|error| error.to_string()));
    value.map_err(|error| Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, "no_randomness", error))
}

async fn bridge(client: OnUpgrade, app: OnUpgrade, (visit, open): (Visit, Open), mut caller: Caller) {
    let carrying = async {
        let (client, app) = tokio::try_join!(client, app)?;
        let (mut client, mut app) = (TokioIo::new(client), TokioIo::new(app));
        // A broken connection is how most of them end.
        let _ = relay::relay(&mut client, &mut app).await;
        hyper::Result::Ok(())
    };
    tokio::select! {
        carried = carrying => {
            if let Err(error) = carried {
                tracing::debug!(%error, "a WebSocket did not begin");
            }
        }
        () = visit.stay.over() => {}
        _ = caller.stopping.wait_for(|stopping| *stopping) => {}
    }
    drop((visit, open, caller.place));
}
