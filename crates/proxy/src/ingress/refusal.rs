//! Why a request goes nowhere, as a page for people and as JSON for programs.

use std::borrow::Cow;

use bytes::Bytes;
use http::header::{ACCEPT, CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use wire::public::error::ErrorBody;

/// When to come back after a refusal that passes, in seconds.
const RETRY_AFTER_SECONDS: u64 = 5;

/// A refusal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The status it travels with.
    pub status: StatusCode,
    /// What kind, for programs.
    pub code: Cow<'static, str>,
    /// What is wrong and what to do, for people.
    pub message: String,
    /// When to come back, in seconds, if it passes.
    pub retry_after_seconds: Option<u64>,
}

impl Refusal {
    /// One that stays as it is.
    pub fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code: code.into(), message: message.into(), retry_after_seconds: None }
    }

    /// One that passes.
    pub fn passing(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self { retry_after_seconds: Some(RETRY_AFTER_SECONDS), ..Self::new(status, code, message) }
    }

    /// A request that says two things at once, or none.
    pub fn malformed(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "malformed_request", message)
    }

    /// The answer to whoever wants a page, or not.
    pub fn answer(&self, wants_page: bool) -> Response<Bytes> {
        let (kind, body) = if wants_page {
            ("text/html; charset=utf-8", self.page().into())
        } else {
            ("application/json", self.json())
        };
        let mut answer = Response::new(body);
        *answer.status_mut() = self.status;
        let headers = answer.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(seconds) = self.retry_after_seconds {
            headers.insert(RETRY_AFTER, seconds.into());
        }
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        answer
    }

    fn json(&self) -> Bytes {
        let body =
            ErrorBody { message: self.message.clone(), code: self.code.to_string(), errors: Vec::new() };
        serde_json::to_vec(&body).unwrap_or_default().into()
    }

    fn page(&self) -> String {
        let status = escaped(&self.status.to_string());
        let (code, message) = (escaped(&self.code), escaped(&self.message));
        format!(
            "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n<title>{status}</title>\n\
             <style>body{{font:1.1em/1.5 system-ui,sans-serif;max-width:38em;margin:4em auto;padding:0 1em}}\
             code{{color:#666}}</style>\n<h1>{status}</h1>\n<p>{message}</p>\n<p><code>{code}</code></p>\n</html>\n"
        )
    }
}

/// Browsers say that they want a page before anything else; programs say nothing, or `*/*`.
pub fn wants_page(asked: &HeaderMap) -> bool {
    let accepted = asked.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    accepted.flat_map(|value| value.split(',')).any(|kind| {
        let kind = kind.split(';').next().unwrap_or_default();
        kind.trim().eq_ignore_ascii_case("text/html")
    })
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(accept: Option<&'static str>) -> HeaderMap {
        accept.into_iter().map(|value| (ACCEPT, HeaderValue::from_static(value))).collect()
    }

    fn check(accept: Option<&'static str>, kind: &str) {
        let answer =
            Refusal::new(StatusCode::NOT_FOUND, "not_found", "no").answer(wants_page(&asked(accept)));
        assert_eq!(answer.headers()[CONTENT_TYPE], kind, "{accept:?}");
    }

    #[test]
    fn browsers_get_a_page_and_programs_json() {
        check(Some("text/html,application/xhtml+xml,*/*;q=0.8"), "text/html; charset=utf-8");
        check(Some("application/json, Text/HTML;q=0.1"), "text/html; charset=utf-8");
        check(Some("*/*"), "application/json");
        check(Some("application/json"), "application/json");
        check(None, "application/json");
    }

    #[test]
    fn a_page_runs_nothing_that_was_sent() {
        let refusal = Refusal::malformed("<script>alert(\"a & b\")</script>");
        let page = refusal.answer(true).into_body();
        let page = std::str::from_utf8(&page).unwrap();
        assert!(page.contains("&lt;script&gt;alert(&quot;a &amp; b&quot;)"), "{page}");
    }

    #[test]
    fn one_that_passes_says_when_to_come_back() {
        let refusal = Refusal::passing(StatusCode::SERVICE_UNAVAILABLE, "busy", "busy");
        assert_eq!(refusal.answer(false).headers()[RETRY_AFTER], "5");
    }
}
