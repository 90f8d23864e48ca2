//! Requests to an S3-compatible service: signed, tried again within bounds, and understood.

use std::sync::{PoisonError, RwLock};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use jiff::Timestamp;
use url::Url;

use super::settings::{BucketSettings, Credentials};
use super::xml;
use crate::oci::failure::{Pulled, Trouble, refused};
use crate::oci::http::{Answer, Ask, Http, Retries, pause_asked, read_bounded};
use crate::sigv4::{Signed, Signer, date, hash};
use crate::snapshot::error::{Error, Result};

/// Bytes of an answer that is no object: a page of a list, or an error.
pub(super) const ANSWER_BYTES_MAX: usize = 4 << 20;
/// Characters of what a service says that are repeated.
const WORDS_CHARS_MAX: usize = 200;

/// What is asked.
#[derive(Debug, Clone)]
pub(super) struct Request {
    pub method: Method,
    /// Below the bucket.
    pub key: String,
    /// Sorted by name.
    pub query: Vec<(&'static str, String)>,
    pub headers: Vec<(&'static str, String)>,
    pub body: Bytes,
    pub answer_bytes_max: usize,
}

impl Request {
    pub(super) fn new(method: Method, key: String) -> Self {
        Self {
            method,
            key,
            query: vec![],
            headers: vec![],
            body: Bytes::new(),
            answer_bytes_max: ANSWER_BYTES_MAX,
        }
    }
}

/// An answer that is not an error: a success, or one of those that mean something.
#[derive(Debug)]
pub(super) struct Answered {
    pub status: StatusCode,
    pub body: Bytes,
}

/// Speaks to one bucket.
pub(super) struct Client {
    http: Http,
    settings: BucketSettings,
    url: Url,
    place: String,
    credentials: RwLock<Credentials>,
}

/// What one try came to.
enum Tried {
    Answered(Answered),
    /// The credentials are not good, but others may be there now.
    Denied(String),
}

impl Client {
    pub(super) fn new(settings: &BucketSettings) -> Result<Self> {
        let (url, prefix) = settings.base()?;
        let http = Http::new(settings.http(&url)?.into()).map_err(|problem| Error::Settings { problem })?;
        let place = format!("s3://{}/{prefix}", settings.bucket);
        let place = format!("{} at {}", place.trim_end_matches('/'), url.authority());
        let credentials = RwLock::new(Credentials::read(&settings.credentials_file)?);
        Ok(Self { http, settings: settings.clone(), url, place, credentials })
    }

    pub(super) fn place(&self) -> &str {
        &self.place
    }

    /// The answer, once there is one.
    pub(super) async fn ask(&self, request: &Request) -> Result<Answered> {
        let mut retries = Retries::new(self.settings.patience.clone(), 0);
        let mut has_looked = false;
        loop {
            let trouble = match self.attempt(request).await {
                Ok(Tried::Answered(answered)) => return Ok(answered),
                Ok(Tried::Denied(_)) if !has_looked && self.has_new_credentials()? => {
                    has_looked = true;
                    continue;
                }
                Ok(Tried::Denied(why)) => return Err(self.refused(why)),
                Err(trouble) => trouble,
            };
            let is_final = matches!(trouble, Trouble::Final(_));
            if let Err(failure) = retries.pause(trouble, 0).await {
                let why = failure.message;
                return Err(if is_final { self.refused(why) } else { self.unreachable(why) });
            }
        }
    }

    async fn attempt(&self, request: &Request) -> std::result::Result<Tried, Trouble> {
        let mut answer = self.http.send(self.signed(request)?).await?;
        let what = format!("{} {}", request.method, request.key);
        let body = read_bounded(&what, &mut answer.body, request.answer_bytes_max).await?;
        let status = answer.status;
        // Of one that is missing, `Bucket::get` finds out what that means.
        let means_something = matches!(status.as_u16(), 404 | 412 | 416);
        let words = words(&body);
        if status.is_success() || (means_something && !words.starts_with("NoSuchBucket")) {
            return Ok(Tried::Answered(Answered { status, body }));
        }
        match (status.as_u16(), words.as_str()) {
            (403, words) if words.starts_with("RequestTimeTooSkewed") => {
                Err(refused(format!("{what}: {words}; set this machine's clock")).into())
            }
            (401 | 403, words) => Ok(Tried::Denied(format!("{what}: {status} {words}"))),
            (408 | 409 | 425 | 429 | 500..=599, words) => Err(passing(&what, &answer, words)),
            (_, words) => Err(refused(format!("{what}: {status} {words}")).into()),
        }
    }

    fn signed(&self, request: &Request) -> Pulled<Ask> {
        let mut url = self.url.clone();
        url.set_path(&format!("{}{}", self.url.path(), request.key));
        let query: Vec<_> =
            request.query.iter().map(|(name, value)| format!("{name}={}", escape(value))).collect();
        let query = query.join("&");
        url.set_query(Some(query.as_str()).filter(|query| !query.is_empty()));
        let credentials = self.credentials.read().unwrap_or_else(PoisonError::into_inner).clone();
        let (date, body_hash) = (date(Timestamp::now()), hash(&request.body));
        let mut headers = request.headers.clone();
        headers.push(("x-amz-content-sha256", body_hash.clone()));
        headers.push(("x-amz-date", date.clone()));
        headers.extend(credentials.session.clone().map(|token| ("x-amz-security-token", token)));
        let sent = sent(&headers)?;
        headers.push(("host", url.authority().to_owned()));
        headers.sort();
        let signed = Signed {
            region: &self.settings.region,
            service: "s3",
            method: request.method.as_str(),
            path: url.path(),
            query: &query,
            headers: &headers.iter().map(|(name, value)| (*name, value.as_str())).collect::<Vec<_>>(),
            body_hash: &body_hash,
        };
        let signer = Signer { key_id: &credentials.key_id, secret: &credentials.secret };
        let authorization = header(&signer.authorization(&signed, &date))?;
        Ok(Ask {
            method: request.method.clone(),
            headers: sent,
            authorization: Some(authorization),
            body: request.body.clone(),
            is_operators: true,
            ..Ask::get(url)
        })
    }

    /// Whether the file of credentials has others than those that are used.
    fn has_new_credentials(&self) -> Result<bool> {
        let read = Credentials::read(&self.settings.credentials_file)?;
        let mut known = self.credentials.write().unwrap_or_else(PoisonError::into_inner);
        let is_new = *known != read;
        *known = read;
        Ok(is_new)
    }

    fn refused(&self, why: String) -> Error {
        if why.contains("NoSuchBucket") {
            return Error::Lost { place: self.place.clone(), why };
        }
        Error::Refused { place: self.place.clone(), why }
    }

    pub(super) fn unreachable(&self, why: String) -> Error {
        Error::Unreachable { place: self.place.clone(), why }
    }
}

fn passing(what: &str, answer: &Answer, words: &str) -> Trouble {
    let message = format!("{what}: {} {words}", answer.status);
    Trouble::Passing { message, pause: pause_asked(&answer.headers) }
}

/// What an error says it is: its code, and its message.
fn words(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    let part = |name| xml::first(&text, name).map(xml::plain);
    let said: Vec<_> = [part("Code"), part("Message")].into_iter().flatten().collect();
    said.join(": ").chars().filter(|character| !character.is_control()).take(WORDS_CHARS_MAX).collect()
}

fn sent(headers: &[(&'static str, String)]) -> Pulled<HeaderMap> {
    let pairs = headers.iter().map(|(name, value)| Ok((HeaderName::from_static(name), header(value)?)));
    pairs.collect()
}

fn header(text: &str) -> Pulled<HeaderValue> {
    let mut value = HeaderValue::from_str(text)
        .map_err(|_| refused("the credentials have characters that cannot be sent"))?;
    value.set_sensitive(true);
    Ok(value)
}

/// A value as a query has it, and as it is signed.
fn escape(value: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    value.bytes().fold(String::new(), |escaped, byte| {
        if plain(byte) {
            escaped + char::from(byte).encode_utf8(&mut [0; 4])
        } else {
            format!("{escaped}%{byte:02X}")
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_escaped_as_they_are_signed() {
        assert_eq!(escape("a/b c+d=é~"), "a%2Fb%20c%2Bd%3D%C3%A9~");
    }

    #[test]
    fn an_error_is_its_code_and_message_in_bounds() {
        let body = "<Error><Code>SlowDown</Code><Message>a\nb &amp; c</Message></Error>";
        assert_eq!(words(body.as_bytes()), "SlowDown: ab & c");
        assert_eq!(words(&vec![0xff; 10_000]), "");
        assert_eq!(words(format!("<Code>{}</Code>", "x".repeat(5000)).as_bytes()).len(), WORDS_CHARS_MAX);
    }
}
