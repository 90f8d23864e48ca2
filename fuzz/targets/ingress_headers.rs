//! Whatever head a client sends, an app sees who asks from us alone, and nothing that is between two machines only.

#![no_main]

use http::{HeaderMap, HeaderName, HeaderValue, Version};
use proxy::ingress::credentials::Credentials;
use proxy::ingress::headers::{Asker, request};

libfuzzer_sys::fuzz_target!(|lines: Vec<(&[u8], &[u8])>| {
    let mut headers = HeaderMap::new();
    for (name, value) in lines {
        if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name), HeaderValue::from_bytes(value)) {
            headers.append(name, value);
        }
    }
    let Ok(credentials) = Credentials::read(&headers) else { return };
    credentials.strip(&mut headers, credentials.place().is_some(), credentials.key.is_some());
    let asker = Asker { address: [192, 0, 2, 7].into(), scheme: "https" };
    if request(&mut headers, Version::HTTP_11, &asker, &HeaderValue::from_static("app.test")).is_ok() {
        let all = |name: &str| headers.get_all(name).iter().map(HeaderValue::as_bytes).collect::<Vec<_>>();
        assert_eq!(all("host"), [b"app.test"]);
        assert_eq!(all("x-forwarded-for"), [b"192.0.2.7"]);
        for name in ["connection", "transfer-encoding", "upgrade", "leap0-authorization", "x-real-ip"] {
            assert!(!headers.contains_key(name), "{name}");
        }
    }
});
