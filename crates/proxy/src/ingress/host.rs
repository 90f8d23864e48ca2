//! Which sandbox, and which port of it, a name means. Pure.
//!
//! ```text
//!  sbx-abc…-3000 . sandbox.localhost : 7443      url-abc… . sandbox.localhost : 7443
//!  └─── place ───┘ └──── domain ────┘            └ token ┘
//! ```

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use wire::id::SandboxId;
use wire::token::Token;

/// A domain name, in bytes, at most (RFC 1035); with the place and its dot in front.
const NAME_BYTES_MAX: usize = 253;
/// A label of a name, in bytes, at most.
const LABEL_BYTES_MAX: usize = 63;

/// A port of a sandbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Which sandbox.
    pub sandbox: SandboxId,
    /// Which port; nobody said, if it is the one its image names.
    pub port: Option<u16>,
}

/// Why a text is no place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a sandbox's name: expected its id, and perhaps `-` and a port from 1 to 65535")]
pub struct NoPlace;

impl FromStr for Place {
    type Err = NoPlace;

    fn from_str(label: &str) -> Result<Self, NoPlace> {
        // Names of hosts know no case; an id has one form.
        let label = lower_case(label);
        let dashes: Vec<usize> = label.match_indices('-').map(|(at, _)| at).take(3).collect();
        let (id, port) = match dashes[..] {
            [_] => (&label[..], None),
            [_, second] => (&label[..second], Some(port(&label[second + 1..]).ok_or(NoPlace)?)),
            _ => return Err(NoPlace),
        };
        Ok(Self { sandbox: id.parse().map_err(|_| NoPlace)?, port })
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.port {
            Some(port) => write!(f, "{}-{port}", self.sandbox),
            None => write!(f, "{}", self.sandbox),
        }
    }
}

/// A text in lower case, as nearly all are already.
fn lower_case(text: &str) -> Cow<'_, str> {
    let has_upper = text.bytes().any(|byte| byte.is_ascii_uppercase());
    if has_upper { text.to_ascii_lowercase().into() } else { text.into() }
}

/// A port in its one decimal form: no sign, no zero in front.
pub fn port(digits: &str) -> Option<u16> {
    let is_plain = digits.bytes().all(|byte| byte.is_ascii_digit()) && !digits.starts_with('0');
    if is_plain { digits.parse().ok() } else { None }
}

/// What the names of all sandboxes end with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Domain(String);

/// Why a text is no domain.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "not a domain: {0:?}; expected names of letters, digits and `-` with a `.` between, such as sandbox.localhost"
)]
pub struct NoDomain(String);

impl FromStr for Domain {
    type Err = NoDomain;

    fn from_str(text: &str) -> Result<Self, NoDomain> {
        let domain = text.trim_matches('.').to_ascii_lowercase();
        // The longest place, and its dot.
        let room = NAME_BYTES_MAX - LABEL_BYTES_MAX - 1;
        let is_name = domain.len() <= room && domain.split('.').all(is_label);
        // An address would be taken for the hosts of nobody.
        let is_number = domain.split('.').next_back().is_some_and(|last| last.parse::<u32>().is_ok());
        if is_name && !is_number { Ok(Self(domain)) } else { Err(NoDomain(text.to_owned())) }
    }
}

impl fmt::Display for Domain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn is_label(label: &str) -> bool {
    let is_letter = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=LABEL_BYTES_MAX).contains(&label.len())
        && label.bytes().all(is_letter)
        && !label.starts_with('-')
        && !label.ends_with('-')
}

/// What a host is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Host {
    /// A sandbox's.
    Sandbox(Place),
    /// A presigned URL's.
    Presigned(Token),
    /// In the domain, and no sandbox's.
    Nobody,
    /// Not in the domain: ours by another name, or an address.
    Elsewhere,
}

impl Domain {
    /// What the host of a request is, its port (which is the door's) left out.
    pub fn host(&self, host: &str) -> Host {
        let host = lower_case(host.strip_suffix('.').unwrap_or(host));
        match host.strip_suffix(&self.0) {
            Some("") => Host::Elsewhere,
            Some(front) => match front.strip_suffix('.') {
                Some(label) => named(label),
                None => Host::Elsewhere,
            },
            None => Host::Elsewhere,
        }
    }
}

/// Whom a label in the domain names.
fn named(label: &str) -> Host {
    let token = || label.parse().map_or(Host::Nobody, Host::Presigned);
    label.parse().map_or_else(|_| token(), Host::Sandbox)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ID: &str = "sbx-hhhhhhhhhhhhhhhhhhhh";

    fn domain() -> Domain {
        "sandbox.localhost".parse().unwrap()
    }

    fn check(host: &str, expect: Option<Option<u16>>) {
        let place = expect.map(|port| Place { sandbox: ID.parse().unwrap(), port });
        let found = match domain().host(host) {
            Host::Sandbox(place) => Some(place),
            Host::Presigned(_) | Host::Nobody | Host::Elsewhere => None,
        };
        assert_eq!(found, place, "{host:?}");
    }

    #[test]
    fn a_name_is_a_sandbox_and_perhaps_a_port() {
        check("sbx-hhhhhhhhhhhhhhhhhhhh.sandbox.localhost", Some(None));
        check("sbx-hhhhhhhhhhhhhhhhhhhh.sandbox.localhost.", Some(None));
        check("sbx-hhhhhhhhhhhhhhhhhhhh-3000.sandbox.localhost", Some(Some(3000)));
        check("SBX-HHHHHHHHHHHHHHHHHHHH-65535.Sandbox.LocalHost", Some(Some(65535)));
    }

    #[test]
    fn names_that_are_nearly_one_are_none() {
        for label in [
            "",
            "sbx",
            "sbx-",
            "sbx-hhhh",
            "tpl-hhhhhhhhhhhhhhhhhhhh",
            "sbx-hhhhhhhhhhhhhhhhhhhh-",
            "sbx-hhhhhhhhhhhhhhhhhhhh-0",
            "sbx-hhhhhhhhhhhhhhhhhhhh-080",
            "sbx-hhhhhhhhhhhhhhhhhhhh-65536",
            "sbx-hhhhhhhhhhhhhhhhhhhh-+80",
            "sbx-hhhhhhhhhhhhhhhhhhhh--80",
            "sbx-hhhhhhhhhhhhhhhhhhhh-80-80",
            "sbx-hhhhhhhhhhhhhhhhhhhh-1e3",
            "sbx-hhhhhhhhhhhhhhhhhhhh-\u{0663}",
            "sbx-hhhhhhhhhhhhhhhhhhhh ",
            "sbx-hhhhhhhhhhhhhhhhhhhh%2d80",
            "a.sbx-hhhhhhhhhhhhhhhhhhhh",
            "sbx-hhhhhhhhhhhhhhhhhhhh.",
        ] {
            check(&format!("{label}.sandbox.localhost"), None);
        }
    }

    #[test]
    fn a_token_is_a_name_too_and_only_the_whole_of_it() {
        let token = Token::from_entropy([7; wire::token::SUFFIX_CHARS]);
        let label = token.as_str();
        for host in
            [format!("{label}.sandbox.localhost"), format!("{}.Sandbox.localhost.", label.to_uppercase())]
        {
            assert_eq!(domain().host(&host), Host::Presigned(token.clone()), "{host}");
        }
        for label in [&label[..label.len() - 1], &format!("{label}-80"), &format!("a.{label}"), "url-"] {
            assert_eq!(domain().host(&format!("{label}.sandbox.localhost")), Host::Nobody, "{label}");
        }
    }

    #[test]
    fn only_the_whole_domain_counts() {
        assert_eq!(domain().host("localhost"), Host::Elsewhere);
        assert_eq!(domain().host("127.0.0.1"), Host::Elsewhere);
        assert_eq!(domain().host("[::1]"), Host::Elsewhere);
        assert_eq!(domain().host("sandbox.localhost"), Host::Elsewhere);
        assert_eq!(domain().host(&format!("{ID}.evilsandbox.localhost")), Host::Elsewhere);
        assert_eq!(domain().host(&format!("{ID}sandbox.localhost")), Host::Elsewhere);
        assert_eq!(domain().host(&format!("{ID}.sandbox.localhost.evil")), Host::Elsewhere);
        assert_eq!(domain().host("www.sandbox.localhost"), Host::Nobody);
    }

    #[test]
    fn a_domain_is_names_with_dots_between() {
        assert_eq!("Sandbox.Example.".parse::<Domain>().unwrap().to_string(), "sandbox.example");
        for bad in
            ["", ".", "a..b", "-a.b", "a_b", "a b", "*.a", "127.0.0.1", "a.b:1", "ä.b", &"a.".repeat(120)]
        {
            assert!(bad.parse::<Domain>().is_err(), "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn every_place_survives_its_name(entropy: [u8; 20], port in proptest::option::of(1_u16..)) {
            let place = Place { sandbox: SandboxId::from_entropy(entropy), port };
            let host = format!("{place}.{}", domain());
            prop_assert!(place.to_string().len() <= LABEL_BYTES_MAX);
            prop_assert_eq!(domain().host(&host), Host::Sandbox(place));
        }

        #[test]
        fn whatever_is_a_place_has_one_form(host in "\\PC{0,80}") {
            if let Host::Sandbox(place) = domain().host(&host) {
                let written = format!("{place}.{}", domain());
                prop_assert_eq!(written, host.trim_end_matches('.').to_ascii_lowercase());
            }
        }

        #[test]
        fn a_label_that_is_close_to_a_place_is_one_or_none(label in "sbx-[a-z2-9]{18,21}(-[0-9+-]{0,6})?") {
            if let Ok(place) = label.parse::<Place>() {
                prop_assert_eq!(place.to_string(), label);
            }
        }
    }
}
