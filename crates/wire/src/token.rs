//! What opens a presigned URL.
//!
//! A token is `url-` and [`SUFFIX_CHARS`] characters of the alphabet of ids: a DNS label, so that it stands where ids of
//! sandboxes do and the same certificate is for both, and 260 bits, so that nobody guesses one.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::id::ALPHABET;

/// What every token starts with; no id does.
pub const PREFIX: &str = "url-";
/// Characters after it.
pub const SUFFIX_CHARS: usize = 52;
/// A label of a name, in bytes, at most (RFC 1035).
const LABEL_BYTES_MAX: usize = 63;

const _: () = assert!(PREFIX.len() + SUFFIX_CHARS <= LABEL_BYTES_MAX);

/// A token. Whoever has it gets in, so nothing shows it but [`Token::as_str`].
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Token(String);

/// Why a text is no token. What was given is not told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a token: expected `{PREFIX}` and {SUFFIX_CHARS} lower-case letters or digits")]
pub struct NoToken;

impl Token {
    /// The token these random bytes stand for.
    pub fn from_entropy(entropy: [u8; SUFFIX_CHARS]) -> Self {
        let suffix = entropy.map(|byte| char::from(ALPHABET[usize::from(byte & 31)]));
        Self(format!("{PREFIX}{}", String::from_iter(suffix)))
    }

    /// The token as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Token {
    type Err = NoToken;

    fn from_str(text: &str) -> Result<Self, NoToken> {
        let suffix = text.strip_prefix(PREFIX).ok_or(NoToken)?;
        let well_formed = suffix.len() == SUFFIX_CHARS && suffix.bytes().all(|b| ALPHABET.contains(&b));
        if well_formed { Ok(Self(text.to_owned())) } else { Err(NoToken) }
    }
}

impl TryFrom<String> for Token {
    type Error = NoToken;

    fn try_from(text: String) -> Result<Self, NoToken> {
        text.parse()
    }
}

impl From<Token> for String {
    fn from(token: Token) -> String {
        token.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Token({PREFIX}…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::SandboxId;
    use proptest::prelude::*;

    #[test]
    fn what_is_nearly_a_token_is_none() {
        let token = Token::from_entropy([7; SUFFIX_CHARS]);
        let text = token.as_str();
        for bad in
            ["", PREFIX, &text[1..], &text[..text.len() - 1], &text.to_uppercase(), &format!("{text}a")]
        {
            assert!(bad.parse::<Token>().is_err(), "{bad:?}");
        }
        assert!(text.replace('h', "0").parse::<Token>().is_err());
    }

    proptest! {
        #[test]
        fn every_token_survives_text_is_no_id_and_is_not_shown(entropy: [u8; SUFFIX_CHARS]) {
            let token = Token::from_entropy(entropy);
            prop_assert_eq!(token.as_str().parse::<Token>(), Ok(token.clone()));
            prop_assert!(token.as_str().parse::<SandboxId>().is_err());
            let shown = format!("{:?}", token);
            prop_assert!(!shown.contains(&token.as_str()[PREFIX.len()..]));
        }
    }
}
