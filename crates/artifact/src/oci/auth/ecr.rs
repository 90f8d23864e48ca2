//! AWS's registry: a signed request gives a password for twelve hours.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderValue;
use jiff::Timestamp;
use serde::Deserialize;
use url::Url;

use super::Login;
use super::token::{ANSWER_BYTES_MAX, expect_ok};
use crate::oci::failure::{Pulled, Trouble, invalid, refused};
use crate::oci::http::{Ask, Http, read_bounded};
use crate::oci::settings::Endpoint;
use crate::sigv4::{Signed, Signer, date, hash};

const CONTENT_TYPE: &str = "application/x-amz-json-1.1";
const TARGET: &str = "AmazonEC2ContainerRegistry_V20150921.GetAuthorizationToken";
/// How long a password lasts whose end is not said.
const LIFETIME: Duration = Duration::from_secs(60 * 60);

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Granted {
    authorization_data: Vec<Authorization>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Authorization {
    authorization_token: String,
    expires_at: Option<f64>,
}

/// A login for this registry.
pub(crate) async fn login(
    http: &Http,
    registry: &str,
    region: Option<&str>,
    signer: Signer<'_>,
) -> Result<(Login, Duration), Trouble> {
    let configured = http.settings().ecr_endpoint.as_ref().map(Endpoint::url).transpose()?;
    let home = home(registry);
    if home.is_none() && configured.is_none() {
        let message = format!("{registry} is no registry of AWS (ACCOUNT.dkr.ecr.REGION.amazonaws.com)");
        return Err(refused(format!("{message}; its credentials are not sent elsewhere")).into());
    }
    let region = checked_region(region.or(home.as_ref().map(|(region, _)| region.as_str())))?;
    let own = home.as_ref().map(|(_, domain)| format!("https://api.ecr.{region}.{domain}/"));
    let is_operators = configured.is_some();
    let url = configured.or_else(|| Url::parse(&own?).ok());
    let url = url.ok_or_else(|| refused(format!("`{region}` is no region of AWS")))?;
    let now = Timestamp::now();
    let mut answer = http.send(ask(url.clone(), region, &signer, now, is_operators)?).await?;
    let body = read_bounded("a login", &mut answer.body, ANSWER_BYTES_MAX).await?;
    let place = url.authority();
    expect_ok(place, &answer, || {
        format!("AWS does not accept the credentials for {registry}{}", reason(&body))
    })?;
    read(&body, now).ok_or_else(|| invalid(format!("{place} gave no login for {registry}")).into())
}

fn ask(url: Url, region: &str, signer: &Signer<'_>, now: Timestamp, is_operators: bool) -> Pulled<Ask> {
    let (date, body) = (date(now), b"{}");
    let signed = Signed {
        region,
        service: "ecr",
        method: "POST",
        path: url.path(),
        query: "",
        headers: &[
            ("content-type", CONTENT_TYPE),
            ("host", url.authority()),
            ("x-amz-date", &date),
            ("x-amz-target", TARGET),
        ],
        body_hash: &hash(body),
    };
    let authorization = super::secret(&signer.authorization(&signed, &date))?;
    let mut ask = Ask::post(url, CONTENT_TYPE, body.as_slice());
    ask.headers.insert("x-amz-target", HeaderValue::from_static(TARGET));
    ask.headers.extend(
        HeaderValue::from_str(&date).ok().map(|date| (http::HeaderName::from_static("x-amz-date"), date)),
    );
    ask.authorization = Some(authorization);
    ask.is_operators = is_operators;
    Ok(ask)
}

fn read(body: &[u8], now: Timestamp) -> Option<(Login, Duration)> {
    let granted: Granted = serde_json::from_slice(body).ok()?;
    let first = granted.authorization_data.into_iter().next()?;
    let text = String::from_utf8(STANDARD.decode(first.authorization_token).ok()?).ok()?;
    let (username, password) = text.split_once(':')?;
    let left = first.expires_at.map(|end| (end - now.as_second() as f64).clamp(0.0, 1e6));
    let login = Login { username: username.to_owned(), password: password.to_owned() };
    Some((login, left.map_or(LIFETIME, Duration::from_secs_f64)))
}

/// What AWS says it is, in a word.
fn reason(body: &[u8]) -> String {
    let body: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
    let word = body["__type"].as_str().unwrap_or_default();
    let is_word = !word.is_empty() && word.len() < 100 && word.chars().all(|c| c.is_ascii_graphic());
    if is_word { format!(": {word}") } else { String::new() }
}

/// The region and the domain of AWS that a registry's name is in.
fn home(registry: &str) -> Option<(String, String)> {
    let (account, rest) = registry.split_once(".dkr.ecr")?;
    let (region, domain) = rest.trim_start_matches("-fips").strip_prefix('.')?.split_once('.')?;
    let is_aws = matches!(domain, "amazonaws.com" | "amazonaws.com.cn");
    let is_account = account.len() == 12 && account.bytes().all(|byte| byte.is_ascii_digit());
    (is_account && is_aws).then(|| (region.to_owned(), domain.to_owned()))
}

/// It becomes part of a host's name.
fn checked_region(region: Option<&str>) -> Pulled<&str> {
    match region {
        Some(region) if is_region(region) => Ok(region),
        Some(region) => Err(refused(format!("`{region}` is no region of AWS, such as eu-central-1"))),
        None => Err(refused("the region is not in the registry's name: give aws_region")),
    }
}

fn is_region(region: &str) -> bool {
    let fit = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=32).contains(&region.len()) && region.bytes().all(fit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_region_is_read_off_names_of_aws_alone() {
        let region = |name: &str| home(name).map(|(region, _)| region);
        assert_eq!(
            region("123456789012.dkr.ecr.eu-central-1.amazonaws.com").as_deref(),
            Some("eu-central-1")
        );
        assert_eq!(region("123456789012.dkr.ecr.cn-north-1.amazonaws.com.cn").as_deref(), Some("cn-north-1"));
        assert_eq!(region("123456789012.dkr.ecr-fips.us-east-1.amazonaws.com").as_deref(), Some("us-east-1"));
        for other in [
            "123456789012.dkr.ecr.eu-central-1.amazonaws.com.evil.test",
            "1.dkr.ecr.eu-central-1.amazonaws.com",
            "evil.test/.dkr.ecr.x.amazonaws.com",
            "public.ecr.aws",
            "registry.test:5000",
        ] {
            assert_eq!(region(other), None, "{other}");
        }
    }

    #[test]
    fn a_region_that_would_lead_elsewhere_is_refused() {
        assert!(checked_region(Some("eu-central-1")).is_ok());
        for wrong in [None, Some(""), Some("x.evil.test/"), Some("a@b"), Some("EU")] {
            assert!(checked_region(wrong).is_err(), "{wrong:?}");
        }
    }
}
