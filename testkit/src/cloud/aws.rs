//! AWS's `GetAuthorizationToken`. The signature is computed anew from the request as it came (AWS General Reference,
//! "Create a signed AWS API request").

use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::json;
use sha2::{Digest as _, Sha256};

use super::{Granted, expect, now};
use crate::web::{Asked, json};

pub(super) const KEY_ID: &str = "AKIATESTTESTTESTTEST";
pub(super) const SECRET: &str = "test/secret+of/a+key";
pub(super) const PASSWORD: &str = "a-password-for-twelve-hours";
/// A request is good for so long before and after its date, in seconds.
const SKEW_SECONDS_MAX: i64 = 15 * 60;

pub(super) fn authorize(asked: &Asked) -> Granted {
    let target = asked.header("x-amz-target").unwrap_or_default();
    let is_get = target == "AmazonEC2ContainerRegistry_V20150921.GetAuthorizationToken";
    expect(400, is_get, format!("`{target}` is not an operation"))?;
    let is_json = asked.header("content-type") == Some("application/x-amz-json-1.1");
    expect(400, is_json && serde_json::from_slice::<serde_json::Value>(&asked.body).is_ok(), "no JSON")?;
    let headers = &["host", "x-amz-date", "x-amz-target"];
    let signature =
        Signature { key_id: KEY_ID, secret: SECRET, service: "ecr", region: "eu-central-1", headers };
    check_signature(asked, &signature)?;
    let token = STANDARD.encode(format!("AWS:{PASSWORD}"));
    let end = now() as f64 + 43_200.5;
    Ok(json(
        200,
        &json!({ "authorizationData": [{
            "authorizationToken": token, "expiresAt": end, "proxyEndpoint": "https://registry.test",
        }] }),
    ))
}

/// What a request has to be signed with, and for.
pub(crate) struct Signature<'a> {
    pub key_id: &'a str,
    pub secret: &'a str,
    pub service: &'a str,
    pub region: &'a str,
    /// Headers that the signature has to cover.
    pub headers: &'a [&'a str],
}

/// An error if a request is not signed so.
pub(crate) fn check_signature(asked: &Asked, expected: &Signature<'_>) -> Result<(), (u16, String)> {
    let shown = asked.header("authorization").unwrap_or_default();
    let parameters = shown.strip_prefix("AWS4-HMAC-SHA256 ").unwrap_or_default();
    let parameter = |name: &str| {
        let found = parameters.split(',').filter_map(|part| part.trim().split_once('='));
        found.into_iter().find(|(known, _)| *known == name).map_or("", |(_, value)| value)
    };
    let scope: Vec<_> = parameter("Credential").split('/').collect();
    let [key_id, day, region, service, "aws4_request"] = scope[..] else {
        return Err((403, format!("`{shown}` has no credential scope")));
    };
    expect(403, key_id == expected.key_id, "an unknown key")?;
    let is_for = service == expected.service && region == expected.region;
    expect(403, is_for, format!("signed for {service} in {region}"))?;
    let date = asked.header("x-amz-date").unwrap_or_default();
    expect(403, date.starts_with(day) && is_fresh(date), format!("signed at `{date}`"))?;
    let signed = parameter("SignedHeaders");
    let covers = |name: &&str| signed.split(';').any(|known| known == *name);
    expect(403, expected.headers.iter().all(covers), format!("signed headers are `{signed}`"))?;
    let canonical = canonical(asked, signed);
    let text =
        format!("AWS4-HMAC-SHA256\n{date}\n{}\n{}", scope[1..].join("/"), sha256(canonical.as_bytes()));
    let key = hmac(format!("AWS4{}", expected.secret).as_bytes(), day);
    let key = hmac(&hmac(&hmac(&key, region), service), "aws4_request");
    expect(403, hex::encode(hmac(&key, &text)) == parameter("Signature"), "the signature does not match")
}

fn canonical(asked: &Asked, signed: &str) -> String {
    let headers: String = signed
        .split(';')
        .map(|name| format!("{name}:{}\n", asked.header(name).unwrap_or_default().trim()))
        .collect();
    let (method, path, query) = (&asked.method, asked.uri.path(), asked.uri.query().unwrap_or_default());
    format!("{method}\n{path}\n{query}\n{headers}\n{signed}\n{}", sha256(&asked.body))
}

/// `20150830T123600Z` is not long ago, nor to come.
fn is_fresh(date: &str) -> bool {
    let digits: String = date.chars().filter(char::is_ascii_digit).collect();
    let part = |range: std::ops::Range<usize>| {
        digits.get(range).and_then(|part| part.parse::<i64>().ok()).unwrap_or(-1)
    };
    let days = days_from_civil(part(0..4), part(4..6), part(6..8));
    let then = days * 86_400 + part(8..10) * 3600 + part(10..12) * 60 + part(12..14);
    date.len() == 16 && (then - now() as i64).abs() < SKEW_SECONDS_MAX
}

/// Days since 1970 (Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms").
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

/// A moment as S3 says it, in whole seconds.
pub(crate) fn timestamp(at: SystemTime) -> String {
    let seconds = at.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs() as i64);
    let (days, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    let (year, month, day) = civil_from_days(days);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.000Z")
}

/// The other way round.
fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

fn hmac(key: &[u8], text: &str) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("a key of any length will do");
    mac.update(text.as_bytes());
    mac.finalize().into_bytes().to_vec()
}

pub(crate) fn sha256(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}
