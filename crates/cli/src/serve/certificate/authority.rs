//! An authority of this installation alone, and what it signs: X.509 (RFC 5280) with P-256.
//!
//! Its key is made once, stays root's, and is not needed by what serves strangers.

use std::net::IpAddr;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use ring::digest::{SHA256, digest};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair};

use super::der;
use crate::entropy;

/// How long the authority lasts.
const AUTHORITY_LIFE: Duration = Duration::from_secs(3650 * 24 * 60 * 60);
/// How long what it signs lasts: as long as clients accept of any authority.
pub const LEAF_LIFE: Duration = Duration::from_secs(397 * 24 * 60 * 60);
/// Clocks of clients may be behind by so much.
const SKEW: Duration = Duration::from_secs(24 * 60 * 60);

/// Bytes of what identifies a key, and of a serial number.
const KEY_ID_BYTES: usize = 20;
const SERIAL_BYTES: usize = 16;
/// Characters of a line in PEM.
const PEM_LINE: usize = 64;

const ECDSA_WITH_SHA256: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02];
const EC_PUBLIC_KEY: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];
const PRIME256V1: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
const COMMON_NAME: &[u8] = &[0x55, 0x04, 0x03];
const SUBJECT_KEY_ID: &[u8] = &[0x55, 0x1d, 0x0e];
const KEY_USAGE: &[u8] = &[0x55, 0x1d, 0x0f];
const SUBJECT_ALT_NAME: &[u8] = &[0x55, 0x1d, 0x11];
const BASIC_CONSTRAINTS: &[u8] = &[0x55, 0x1d, 0x13];
const AUTHORITY_KEY_ID: &[u8] = &[0x55, 0x1d, 0x23];
const EXTENDED_KEY_USAGE: &[u8] = &[0x55, 0x1d, 0x25];
const SERVER_AUTH: &[u8] = &[0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03, 0x01];

/// A key of P-256.
pub struct Key {
    pkcs8: Vec<u8>,
    pair: EcdsaKeyPair,
}

impl Key {
    /// A new one.
    ///
    /// # Errors
    /// When there is no randomness.
    pub fn generate() -> Result<Self> {
        let made = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &SystemRandom::new());
        Self::read(made.map_err(|_| anyhow!("no key could be made"))?.as_ref())
    }

    /// One that was kept, in PKCS#8.
    ///
    /// # Errors
    /// When it is none.
    pub fn read(pkcs8: &[u8]) -> Result<Self> {
        let read = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, pkcs8, &SystemRandom::new());
        let pair = read.map_err(|error| anyhow!("the key is none of P-256: {error}"))?;
        Ok(Self { pkcs8: pkcs8.to_vec(), pair })
    }

    /// To be kept.
    pub fn pem(&self) -> String {
        pem("PRIVATE KEY", &self.pkcs8)
    }

    fn public(&self) -> &[u8] {
        self.pair.public_key().as_ref()
    }

    /// What identifies it (RFC 7093, 2).
    fn id(&self) -> Vec<u8> {
        digest(&SHA256, self.public()).as_ref()[..KEY_ID_BYTES].to_vec()
    }

    fn sign(&self, bytes: &[u8]) -> Result<Vec<u8>> {
        let signed = self.pair.sign(&SystemRandom::new(), bytes);
        Ok(signed.map_err(|_| anyhow!("the kernel has no randomness"))?.as_ref().to_vec())
    }
}

/// What is in a text of PEM.
///
/// # Errors
/// When it is none.
pub fn read_pem(text: &str) -> Result<Vec<u8>> {
    let body: String = text.lines().filter(|line| !line.starts_with("-----")).collect();
    STANDARD.decode(body.trim()).context("it is not PEM")
}

fn pem(kind: &str, der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let mut out = format!("-----BEGIN {kind}-----\n");
    for line in text.as_bytes().chunks(PEM_LINE) {
        // Base64 is ASCII.
        out.push_str(&String::from_utf8_lossy(line));
        out.push('\n');
    }
    out + &format!("-----END {kind}-----\n")
}

/// Who signs.
pub struct Authority {
    name: String,
    key: Key,
}

impl Authority {
    /// With this name, which is in what it has signed before, and this key.
    pub fn new(name: String, key: Key) -> Self {
        Self { name, key }
    }

    /// Its own certificate, in PEM: whom clients are to believe.
    ///
    /// # Errors
    /// When there is no randomness.
    pub fn certificate(&self, now: Timestamp) -> Result<String> {
        let extensions = [
            extension(BASIC_CONSTRAINTS, true, &der::sequence(&[der::yes(), der::integer(&[0])])),
            // It signs certificates, and lists of those it takes back.
            extension(KEY_USAGE, true, &der::flags(1, &[0b0000_0110])),
            extension(SUBJECT_KEY_ID, false, &der::octets(&self.key.id())),
            self.signed_by(),
        ];
        self.issue(&self.name, &self.key, now, AUTHORITY_LIFE, &extensions)
    }

    /// A certificate for a server of these names and addresses, in PEM.
    ///
    /// # Errors
    /// As [`Authority::certificate`].
    pub fn sign(&self, names: &[String], addresses: &[IpAddr], key: &Key, now: Timestamp) -> Result<String> {
        let names = names.iter().map(|name| der::implicit(2, name.as_bytes()));
        let addresses = addresses.iter().map(|address| der::implicit(7, &der::address(*address)));
        let extensions = [
            extension(BASIC_CONSTRAINTS, true, &der::sequence(&[])),
            // It proves who it is by signing.
            extension(KEY_USAGE, true, &der::flags(7, &[0b1000_0000])),
            extension(EXTENDED_KEY_USAGE, false, &der::sequence(&[der::object(SERVER_AUTH)])),
            extension(SUBJECT_KEY_ID, false, &der::octets(&key.id())),
            self.signed_by(),
            extension(SUBJECT_ALT_NAME, false, &der::sequence(&names.chain(addresses).collect::<Vec<_>>())),
        ];
        self.issue("Atoll ingress", key, now, LEAF_LIFE, &extensions)
    }

    fn signed_by(&self) -> Vec<u8> {
        extension(AUTHORITY_KEY_ID, false, &der::sequence(&[der::implicit(0, &self.key.id())]))
    }

    fn issue(
        &self,
        subject: &str,
        key: &Key,
        now: Timestamp,
        life: Duration,
        extensions: &[Vec<u8>],
    ) -> Result<String> {
        let mut serial: [u8; SERIAL_BYTES] = entropy::bytes()?;
        // Neither negative nor shorter than it looks.
        serial[0] = serial[0] & 0x3f | 0x40;
        let validity = der::sequence(&[der::time(now - SKEW), der::time(now + life)]);
        let algorithm = der::sequence(&[der::object(EC_PUBLIC_KEY), der::object(PRIME256V1)]);
        let unsigned = der::sequence(&[
            der::tagged(0, &der::integer(&[2])),
            der::integer(&serial),
            signature_algorithm(),
            name(&self.name),
            validity,
            name(subject),
            der::sequence(&[algorithm, der::bits(key.public())]),
            der::tagged(3, &der::sequence(extensions)),
        ]);
        let signature = der::bits(&self.key.sign(&unsigned)?);
        Ok(pem("CERTIFICATE", &der::sequence(&[unsigned, signature_algorithm(), signature])))
    }
}

fn signature_algorithm() -> Vec<u8> {
    der::sequence(&[der::object(ECDSA_WITH_SHA256)])
}

fn name(common: &str) -> Vec<u8> {
    der::sequence(&[der::set(&[der::sequence(&[der::object(COMMON_NAME), der::text(common)])])])
}

fn extension(kind: &[u8], is_critical: bool, content: &[u8]) -> Vec<u8> {
    let critical = if is_critical { der::yes() } else { Vec::new() };
    der::sequence(&[der::object(kind), critical, der::octets(content)])
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    /// What `openssl` says, which must be content.
    fn openssl(directory: &std::path::Path, arguments: &[&str]) -> String {
        let output = Command::new("openssl").args(arguments).current_dir(directory).output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
        said
    }

    #[test]
    fn what_it_signs_is_believed_by_the_strict() {
        let dir = tempfile::tempdir().unwrap();
        let authority = Authority::new("Atoll authority 1".into(), Key::generate().unwrap());
        let (key, now) = (Key::generate().unwrap(), Timestamp::now());
        let names = ["sandbox.localhost".to_owned(), "*.sandbox.localhost".to_owned()];
        let addresses = ["127.0.0.1".parse().unwrap(), "::1".parse().unwrap()];
        let leaf = authority.sign(&names, &addresses, &key, now).unwrap();
        std::fs::write(dir.path().join("ca.pem"), authority.certificate(now).unwrap()).unwrap();
        std::fs::write(dir.path().join("leaf.pem"), leaf).unwrap();
        std::fs::write(dir.path().join("leaf.key"), key.pem()).unwrap();
        for name in [["-verify_hostname", "sbx-a-1.sandbox.localhost"], ["-verify_ip", "::1"]] {
            let verify = ["verify", "-x509_strict", "-purpose", "sslserver", "-CAfile", "ca.pem"];
            openssl(dir.path(), &[&verify[..], &name, &["leaf.pem"]].concat());
        }
        let text = openssl(dir.path(), &["x509", "-in", "leaf.pem", "-noout", "-text"]);
        for said in
            ["CN = Atoll authority 1", "CA:FALSE", "Digital Signature", "TLS Web Server Authentication"]
        {
            assert!(text.contains(said), "{said} is not in {text}");
        }
        openssl(dir.path(), &["pkey", "-in", "leaf.key", "-noout", "-check"]);
    }

    #[test]
    fn a_key_that_was_kept_is_the_same() {
        let key = Key::generate().unwrap();
        let again = Key::read(&read_pem(&key.pem()).unwrap()).unwrap();
        assert_eq!(again.public(), key.public());
        assert!(Key::read(b"none").is_err() && read_pem("-----BEGIN X-----\n!\n").is_err());
    }
}
