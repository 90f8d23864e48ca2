//! Who may say for whom it asks: load balancers that the operator named. Pure.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use http::{HeaderMap, HeaderName};

use super::headers::Asker;

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// Addresses that begin alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    bits: u8,
}

/// Why a text is no network.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "not a network: {0:?}; expected an address, or one with the length of its prefix, such as 10.0.0.0/8"
)]
pub struct NoNetwork(String);

impl FromStr for Network {
    type Err = NoNetwork;

    fn from_str(text: &str) -> Result<Self, NoNetwork> {
        let no_network = || NoNetwork(text.to_owned());
        let (address, bits) = text.split_once('/').map_or((text, None), |(front, bits)| (front, Some(bits)));
        let address: IpAddr = address.parse().map_err(|_| no_network())?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let bits = bits.map_or(Ok(most), |bits| bits.parse().map_err(|_| no_network()))?;
        if bits <= most { Ok(Self { address, bits }) } else { Err(no_network()) }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.bits)
    }
}

impl Network {
    fn has(&self, address: IpAddr) -> bool {
        let bits = u32::from(self.bits);
        match (self.address, address) {
            (IpAddr::V4(ours), IpAddr::V4(other)) => {
                (ours.to_bits() ^ other.to_bits()).checked_shr(32 - bits).unwrap_or(0) == 0
            }
            (IpAddr::V6(ours), IpAddr::V6(other)) => {
                (ours.to_bits() ^ other.to_bits()).checked_shr(128 - bits).unwrap_or(0) == 0
            }
            _ => false,
        }
    }
}

/// Those who may say for whom they ask.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Trusted(pub Vec<Network>);

impl Trusted {
    /// Whether somebody at this address may.
    pub fn has(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| network.has(address))
    }

    /// Who asks, when `peer` sends these headers: the last one in the chain that may not say it for another.
    pub fn asker(&self, peer: &Asker, headers: &HeaderMap) -> Asker {
        let mut asker = *peer;
        if !self.has(peer.address) {
            return asker;
        }
        asker.scheme = match words(headers, &FORWARDED_PROTO).next_back() {
            Some(word) if word.eq_ignore_ascii_case("https") => "https",
            Some(word) if word.eq_ignore_ascii_case("http") => "http",
            _ => peer.scheme,
        };
        for word in words(headers, &FORWARDED_FOR).rev() {
            // What nobody can read was not written by one of ours.
            let Some(address) = address(word) else { break };
            asker.address = address;
            if !self.has(address) {
                break;
            }
        }
        asker
    }
}

/// The words of a list header, in the order they were added.
fn words<'a>(headers: &'a HeaderMap, name: &HeaderName) -> std::vec::IntoIter<&'a str> {
    let values = headers.get_all(name).iter().map(|value| value.to_str().unwrap_or_default());
    let words: Vec<&str> = values.flat_map(|value| value.split(',')).map(str::trim).collect();
    words.into_iter()
}

/// An address, perhaps in brackets, perhaps with a port.
fn address(word: &str) -> Option<IpAddr> {
    let bare = word.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(word);
    let with_port = || word.parse::<SocketAddr>().ok().map(|address| address.ip());
    bare.parse().ok().or_else(with_port).map(|address| IpAddr::to_canonical(&address))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(text: &str) -> Option<String> {
        text.parse::<Network>().ok().map(|network| network.to_string())
    }

    #[test]
    fn a_network_is_an_address_and_how_much_of_it_counts() {
        assert_eq!(network("10.0.0.0/8").as_deref(), Some("10.0.0.0/8"));
        assert_eq!(network("192.0.2.7").as_deref(), Some("192.0.2.7/32"));
        assert_eq!(network("2001:db8::/32").as_deref(), Some("2001:db8::/32"));
        for bad in ["", "10.0.0.0/33", "::/129", "10.0.0/8", "10.0.0.0/", "10.0.0.0/x", "lb.test"] {
            assert_eq!(network(bad), None, "{bad:?}");
        }
        let has =
            |network: &str, address: &str| network.parse::<Network>().unwrap().has(address.parse().unwrap());
        assert!(has("10.0.0.0/8", "10.255.0.1") && !has("10.0.0.0/8", "11.0.0.1"));
        assert!(has("0.0.0.0/0", "192.0.2.1") && !has("0.0.0.0/0", "::1"));
        assert!(has("192.0.2.7", "192.0.2.7") && !has("192.0.2.7", "192.0.2.6"));
        assert!(has("::/0", "2001:db8::1") && !has("2001:db8::/32", "2001:db9::1"));
    }

    /// Who asks through 10.0.0.1, which is a load balancer of ours as all of 10.0.0.0/8 is.
    fn check(from: &str, headers: &[(&str, &str)], address: &str, scheme: &str) {
        let headers = headers
            .iter()
            .map(|(name, value)| (name.parse::<HeaderName>().unwrap(), value.parse().unwrap()))
            .collect();
        let peer = Asker { address: from.parse().unwrap(), scheme: "http" };
        let asker = Trusted(vec!["10.0.0.0/8".parse().unwrap()]).asker(&peer, &headers);
        assert_eq!((asker.address.to_string().as_str(), asker.scheme), (address, scheme), "{headers:?}");
    }

    #[test]
    fn one_of_ours_says_for_whom_it_asks_and_nobody_else_does() {
        let proto = ("x-forwarded-proto", "https");
        check("10.0.0.1", &[("x-forwarded-for", "192.0.2.7"), proto], "192.0.2.7", "https");
        check("192.0.2.9", &[("x-forwarded-for", "192.0.2.7"), proto], "192.0.2.9", "http");
        check("10.0.0.1", &[], "10.0.0.1", "http");
        check("10.0.0.1", &[("x-forwarded-proto", "gopher")], "10.0.0.1", "http");
    }

    #[test]
    fn what_a_client_wrote_itself_is_not_believed() {
        check("10.0.0.1", &[("x-forwarded-for", "127.0.0.1, 192.0.2.7")], "192.0.2.7", "http");
        check("10.0.0.1", &[("x-forwarded-for", "127.0.0.1, 192.0.2.7, 10.0.0.2")], "192.0.2.7", "http");
        check(
            "10.0.0.1",
            &[("x-forwarded-for", "127.0.0.1"), ("x-forwarded-for", "192.0.2.7")],
            "192.0.2.7",
            "http",
        );
        check("10.0.0.1", &[("x-forwarded-for", "127.0.0.1, unknown, 10.0.0.2")], "10.0.0.2", "http");
        check("10.0.0.1", &[("x-forwarded-for", "10.0.0.3, 10.0.0.2")], "10.0.0.3", "http");
        check("10.0.0.1", &[("x-forwarded-proto", "https, http")], "10.0.0.1", "http");
    }

    #[test]
    fn addresses_are_read_as_load_balancers_write_them() {
        for (word, expect) in [
            ("192.0.2.7:4711", "192.0.2.7"),
            ("[2001:db8::1]:4711", "2001:db8::1"),
            ("[2001:db8::1]", "2001:db8::1"),
            ("2001:db8::1", "2001:db8::1"),
            ("::ffff:192.0.2.7", "192.0.2.7"),
        ] {
            check("10.0.0.1", &[("x-forwarded-for", word)], expect, "http");
        }
    }
}
