//! Content digests as OCI writes them (image-spec, descriptor.md, "Digests").

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha2::Digest as _;

use crate::ParseError;

/// A digest's hash function.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Algorithm {
    /// SHA-256: what imgbake writes.
    Sha256,
    /// SHA-512: read, for the checksums that distributions publish.
    Sha512,
}

impl Algorithm {
    /// The name before the colon.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sha256 => "sha256",
            Self::Sha512 => "sha512",
        }
    }

    /// How many hexadecimal digits a digest has.
    pub const fn hex_len(self) -> usize {
        match self {
            Self::Sha256 => 64,
            Self::Sha512 => 128,
        }
    }
}

/// A digest: `sha256:…` or `sha512:…`, in lower-case hexadecimal.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Digest {
    algorithm: Algorithm,
    hex: String,
}

impl Digest {
    /// The SHA-256 of some bytes.
    pub fn sha256(bytes: impl AsRef<[u8]>) -> Self {
        Self::from_sha256(&sha2::Sha256::digest(bytes.as_ref()))
    }

    /// A digest from the 32 bytes of a finished SHA-256.
    pub fn from_sha256(raw: &[u8]) -> Self {
        Self { algorithm: Algorithm::Sha256, hex: hex::encode(raw) }
    }

    /// A digest from the 64 bytes of a finished SHA-512.
    pub fn from_sha512(raw: &[u8]) -> Self {
        Self { algorithm: Algorithm::Sha512, hex: hex::encode(raw) }
    }

    /// A digest from bare hexadecimal digits, whose number shows the algorithm.
    pub fn from_hex(digits: &str) -> Result<Self, ParseError> {
        let error = || ParseError::new(digits, "64 or 128 hexadecimal digits");
        let algorithm = [Algorithm::Sha256, Algorithm::Sha512]
            .into_iter()
            .find(|a| a.hex_len() == digits.len())
            .ok_or_else(error)?;
        if !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(error());
        }
        Ok(Self { algorithm, hex: digits.to_ascii_lowercase() })
    }

    /// The hash function.
    pub const fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The hexadecimal digits.
    pub fn hex(&self) -> &str {
        &self.hex
    }

    /// The first twelve digits, for people.
    pub fn short(&self) -> &str {
        &self.hex[..12]
    }

    /// The digest's leading bytes: a seed for identifiers that must derive from it.
    pub fn bytes(&self) -> Vec<u8> {
        hex::decode(&self.hex).unwrap_or_default()
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.algorithm.name(), self.hex)
    }
}

impl FromStr for Digest {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let error = || ParseError::new(text, "a digest such as sha256:9f86d0…");
        let (name, digits) = text.split_once(':').ok_or_else(error)?;
        let digest = Self::from_hex(digits).map_err(|_| error())?;
        if digest.algorithm.name() == name { Ok(digest) } else { Err(error()) }
    }
}

impl TryFrom<String> for Digest {
    type Error = ParseError;
    fn try_from(text: String) -> Result<Self, ParseError> {
        text.parse()
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> Self {
        digest.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_back_what_it_prints() {
        let digest = Digest::sha256("abc");
        assert_eq!(
            digest.to_string(),
            "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
        assert_eq!(digest.to_string().parse::<Digest>().unwrap(), digest);
    }

    #[test]
    fn refuses_what_is_not_a_digest() {
        let long = format!("sha256:{}", "a".repeat(128));
        for text in ["", "sha256:", "sha256:zz", "md5:0123", long.as_str(), "sha256:é"] {
            assert!(text.parse::<Digest>().is_err(), "{text}");
        }
    }
}
