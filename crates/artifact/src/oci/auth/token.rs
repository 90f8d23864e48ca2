//! Tokens for one repository (distribution's token authentication).

use std::time::Duration;

use http::{HeaderValue, StatusCode};
use serde::Deserialize;
use url::Url;

use super::{Login, Visitor, secret};
use crate::oci::failure::{Trouble, invalid, refused, unauthorized};
use crate::oci::http::{Answer, Ask, Http, pause_asked, read_bounded};

/// An answer of a service of tokens, in bytes, at most.
pub(super) const ANSWER_BYTES_MAX: usize = 1 << 20;
/// How long a token lasts whose service does not say.
const LIFETIME: Duration = Duration::from_secs(60);

#[derive(Deserialize)]
struct Granted {
    token: Option<String>,
    access_token: Option<String>,
    expires_in: Option<u64>,
}

/// A token to pull from the visitor's repository, and how long it lasts.
pub(crate) async fn fetch(
    http: &Http,
    visitor: &Visitor,
    realm: &str,
    service: Option<&str>,
    login: Option<&Login>,
) -> Result<(HeaderValue, Duration), Trouble> {
    let registry = &visitor.registry;
    let mut url = Url::parse(realm)
        .map_err(|_| refused(format!("{registry} sends us for a token to `{realm}`, which is no URL")))?;
    let place = url.authority().to_owned();
    url.query_pairs_mut()
        .extend_pairs(service.map(|service| ("service", service)))
        .append_pair("scope", &format!("repository:{}:pull", visitor.repository));
    let mut ask = Ask::get(url);
    ask.authorization = login.map(Login::header).transpose()?;
    // A cache on the operator's network may give out its tokens itself.
    ask.is_operators = visitor.is_operators && place == visitor.registry;
    let mut answer = http.send(ask).await?;
    let body = read_bounded("a token", &mut answer.body, ANSWER_BYTES_MAX).await?;
    expect_ok(&place, &answer, || match login {
        Some(_) => format!("{place}, which gives out tokens of {registry}, does not accept the credentials"),
        None => format!("{place}, which gives out tokens of {registry}, wants credentials; give some"),
    })?;
    let granted: Granted = serde_json::from_slice(&body)
        .map_err(|error| invalid(format!("{place} gave no token of {registry}: {error}")))?;
    let token = granted.token.or(granted.access_token).filter(|token| !token.is_empty());
    let token = token.ok_or_else(|| invalid(format!("{place} gave no token of {registry}")))?;
    let lifetime = granted.expires_in.map_or(LIFETIME, Duration::from_secs);
    Ok((secret(&format!("Bearer {token}"))?, lifetime))
}

/// Whether a service granted what it was asked for; `denied` says what it means if not.
pub(super) fn expect_ok(
    place: &str,
    answer: &Answer,
    denied: impl FnOnce() -> String,
) -> Result<(), Trouble> {
    let status = answer.status;
    match status.as_u16() {
        200..=299 => Ok(()),
        408 | 429 | 500..=599 => Err(Trouble::Passing {
            message: format!("{place} answered {status}"),
            pause: pause_asked(&answer.headers),
        }),
        _ if is_denial(status) => {
            Err(unauthorized(format!("{} ({place} answered {status})", denied())).into())
        }
        _ => Err(refused(format!("{place} answered {status} when asked for a token")).into()),
    }
}

fn is_denial(status: StatusCode) -> bool {
    matches!(status.as_u16(), 400 | 401 | 403)
}
