//! Public keys: what a signature is checked with.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use imgbake_build::{BuildError, BuildErrorKind};
use imgbake_types::Digest;
use p256::ecdsa::signature::Verifier as _;
use pkcs8::spki::{DecodePublicKey as _, EncodePublicKey as _};
use serde::{Deserialize, Serialize};

/// The identifier of a key: the SHA-256 of its `SubjectPublicKeyInfo` in DER, in hexadecimal.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct KeyId(String);

impl KeyId {
    /// Its first twelve digits, for tables and messages.
    pub fn short(&self) -> &str {
        self.0.get(..12).unwrap_or(&self.0)
    }

    /// All of its digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A key that checks signatures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicKey {
    /// Its `SubjectPublicKeyInfo` in DER.
    der: Vec<u8>,
    key: Verifying,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Verifying {
    Ed25519(Box<ed25519_dalek::VerifyingKey>),
    P256(Box<p256::ecdsa::VerifyingKey>),
}

impl PublicKey {
    /// Reads a key from its `SubjectPublicKeyInfo` in DER.
    ///
    /// # Errors
    /// It is neither an ed25519 nor a P-256 key.
    pub fn from_der(der: &[u8]) -> Result<Self, BuildError> {
        let key = if let Ok(key) = ed25519_dalek::VerifyingKey::from_public_key_der(der) {
            Verifying::Ed25519(Box::new(key))
        } else {
            let key = p256::ecdsa::VerifyingKey::from_public_key_der(der).map_err(|error| {
                let text = "it is neither an ed25519 nor an ECDSA P-256 public key";
                BuildError::new(BuildErrorKind::Usage, text).because(error)
            })?;
            Verifying::P256(Box::new(key))
        };
        Ok(Self { der: der.to_vec(), key })
    }

    /// The key of an ed25519 pair.
    pub(super) fn ed25519(key: ed25519_dalek::VerifyingKey) -> Result<Self, BuildError> {
        Self::from_der(key.to_public_key_der().map_err(unwritable)?.as_bytes())
    }

    /// The key of a P-256 pair.
    pub(super) fn p256(key: p256::ecdsa::VerifyingKey) -> Result<Self, BuildError> {
        Self::from_der(key.to_public_key_der().map_err(unwritable)?.as_bytes())
    }

    /// Its identifier.
    pub fn id(&self) -> KeyId {
        KeyId(Digest::sha256(&self.der).hex().to_owned())
    }

    /// Its algorithm, as SLSA and OpenSSH write it.
    pub const fn algorithm(&self) -> &'static str {
        match self.key {
            Verifying::Ed25519(_) => "ed25519",
            Verifying::P256(_) => "ecdsa-p256",
        }
    }

    /// It as PEM (`PUBLIC KEY`).
    pub fn to_pem(&self) -> String {
        let mut text = String::from("-----BEGIN PUBLIC KEY-----\n");
        let encoded = STANDARD.encode(&self.der);
        let mut rest = encoded.as_str();
        while !rest.is_empty() {
            let (line, more) = rest.split_at(rest.len().min(64));
            text.push_str(line);
            text.push('\n');
            rest = more;
        }
        text + "-----END PUBLIC KEY-----\n"
    }

    /// Whether a signature is of this message by this key: raw for ed25519, in DER for P-256 (over SHA-256).
    pub fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        match &self.key {
            Verifying::Ed25519(key) => ed25519_dalek::Signature::from_slice(signature)
                .is_ok_and(|signature| key.verify_strict(message, &signature).is_ok()),
            Verifying::P256(key) => p256::ecdsa::Signature::from_der(signature)
                .is_ok_and(|signature| key.verify(message, &signature).is_ok()),
        }
    }
}

/// From PEM.
impl FromStr for PublicKey {
    type Err = BuildError;

    fn from_str(pem: &str) -> Result<Self, BuildError> {
        let (label, document) = pkcs8::Document::from_pem(pem.trim()).map_err(|error| {
            BuildError::new(BuildErrorKind::Usage, "it is no public key in PEM").because(error)
        })?;
        if label != "PUBLIC KEY" {
            let text = format!("it is a `{label}`, not a `PUBLIC KEY`");
            return Err(BuildError::new(BuildErrorKind::Usage, text));
        }
        Self::from_der(document.as_bytes())
    }
}

fn unwritable(error: pkcs8::spki::Error) -> BuildError {
    BuildError::failed("the public key cannot be written").because(error)
}
