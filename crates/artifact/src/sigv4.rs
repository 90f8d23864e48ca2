//! Requests to AWS, signed (Signature Version 4).

use jiff::Timestamp;
use jiff::tz::TimeZone;
use ring::hmac;
use sha2::{Digest as _, Sha256};

/// A key of AWS.
pub(crate) struct Signer<'a> {
    pub key_id: &'a str,
    pub secret: &'a str,
}

/// What is signed.
pub(crate) struct Signed<'a> {
    pub region: &'a str,
    pub service: &'a str,
    pub method: &'a str,
    /// As it is sent, escaped.
    pub path: &'a str,
    /// As it is sent, escaped and sorted.
    pub query: &'a str,
    /// By name, in lower case and sorted.
    pub headers: &'a [(&'a str, &'a str)],
    /// See [`hash`].
    pub body_hash: &'a str,
}

/// The hash of a body, as it is signed.
pub(crate) fn hash(body: &[u8]) -> String {
    hex::encode(Sha256::digest(body))
}

/// The moment of a request, as its `X-Amz-Date` says it.
pub(crate) fn date(now: Timestamp) -> String {
    now.to_zoned(TimeZone::UTC).strftime("%Y%m%dT%H%M%SZ").to_string()
}

impl Signer<'_> {
    /// The `Authorization` of a request with this `X-Amz-Date`.
    pub(crate) fn authorization(&self, request: &Signed<'_>, date: &str) -> String {
        let day = &date[..8];
        let names: Vec<_> = request.headers.iter().map(|(name, _)| *name).collect();
        let names = names.join(";");
        let headers: String =
            request.headers.iter().map(|(name, value)| format!("{name}:{}\n", value.trim())).collect();
        let Signed { method, path, query, body_hash, .. } = request;
        let canonical = format!("{method}\n{path}\n{query}\n{headers}\n{names}\n{body_hash}");
        let scope = format!("{day}/{}/{}/aws4_request", request.region, request.service);
        let digest = hash(canonical.as_bytes());
        let text = format!("AWS4-HMAC-SHA256\n{date}\n{scope}\n{digest}");
        let key = [day, request.region, request.service, "aws4_request"]
            .iter()
            .fold(format!("AWS4{}", self.secret).into_bytes(), |key, part| hmac(&key, part));
        let signature = hex::encode(hmac(&key, &text));
        let key_id = self.key_id;
        format!("AWS4-HMAC-SHA256 Credential={key_id}/{scope}, SignedHeaders={names}, Signature={signature}")
    }
}

fn hmac(key: &[u8], text: &str) -> Vec<u8> {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text.as_bytes()).as_ref().to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `post-vanilla` of AWS's own test suite of Signature Version 4.
    #[test]
    fn a_signature_is_the_one_aws_publishes() {
        let signer = Signer { key_id: "AKIDEXAMPLE", secret: "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY" };
        let date = date("2015-08-30T12:36:00Z".parse().unwrap());
        assert_eq!(date, "20150830T123600Z");
        let request = Signed {
            region: "us-east-1",
            service: "service",
            method: "POST",
            path: "/",
            query: "",
            headers: &[("host", "example.amazonaws.com"), ("x-amz-date", &date)],
            body_hash: &hash(b""),
        };
        assert_eq!(
            signer.authorization(&request, &date),
            "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, \
             SignedHeaders=host;x-amz-date, \
             Signature=5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b"
        );
    }
}
