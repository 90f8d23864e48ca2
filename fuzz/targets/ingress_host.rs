//! What a host means is one sandbox and one port, whose name means the same again; or it is nobody's.

#![no_main]

use proxy::ingress::host::{Domain, Host};

libfuzzer_sys::fuzz_target!(|host: &str| {
    let Ok(domain) = "sandbox.localhost".parse::<Domain>() else { return };
    if let Host::Sandbox(place) = domain.host(host) {
        let written = format!("{place}.{domain}");
        assert_eq!(written, host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase());
        assert_eq!(domain.host(&written), Host::Sandbox(place));
    }
});
