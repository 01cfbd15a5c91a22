//! Private keys in PKCS#8 (RFC 5958), encrypted or not.

use std::fmt;
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;

use async_trait::async_trait;
use camino::Utf8Path;
use ed25519_dalek::pkcs8::KeypairBytes;
use imgbake_build::{BuildError, BuildErrorKind};
use imgbake_runtime::Job;
use p256::ecdsa::signature::Signer as _;
use pkcs8::{
    DecodePrivateKey as _, EncodePrivateKey as _, EncryptedPrivateKeyInfoRef, LineEnding,
    SecretDocument,
};

use super::{PublicKey, Signer};

/// The largest key file that is read, in bytes.
const LONGEST: u64 = 64 * 1024;

/// The algorithm of a new key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    /// Ed25519 (RFC 8032).
    Ed25519,
    /// ECDSA on P-256 with SHA-256 (FIPS 186-5).
    P256,
}

/// A key in memory that signs.
pub struct PrivateKey {
    key: Signing,
    public: PublicKey,
}

enum Signing {
    Ed25519(Box<ed25519_dalek::SigningKey>),
    P256(Box<p256::ecdsa::SigningKey>),
}

impl PrivateKey {
    /// Makes a key from the system's random numbers.
    ///
    /// # Errors
    /// The system gives none.
    pub fn generate(algorithm: Algorithm) -> Result<Self, BuildError> {
        loop {
            let seed: [u8; 32] = rand::random();
            let key = match algorithm {
                Algorithm::Ed25519 => {
                    Signing::Ed25519(Box::new(ed25519_dalek::SigningKey::from_bytes(&seed)))
                }
                // One number in 2^32 is no scalar of the curve.
                Algorithm::P256 => match p256::ecdsa::SigningKey::from_slice(&seed) {
                    Ok(key) => Signing::P256(Box::new(key)),
                    Err(_) => continue,
                },
            };
            return Self::of(key);
        }
    }

    /// Reads a key from PEM: `PRIVATE KEY`, or `ENCRYPTED PRIVATE KEY` with its password.
    ///
    /// # Errors
    /// It is no such key, of another algorithm, or the password is missing or wrong.
    pub fn from_pem(pem: &str, password: Option<&str>) -> Result<Self, BuildError> {
        let usage = |text: &str| BuildError::new(BuildErrorKind::Usage, text);
        let (label, document) = SecretDocument::from_pem(pem.trim())
            .map_err(|error| usage("it is no PKCS#8 private key in PEM").because(error))?;
        let document = match label {
            "PRIVATE KEY" => document,
            "ENCRYPTED PRIVATE KEY" => {
                let password = password.ok_or_else(|| {
                    usage("it is encrypted, and there is no password")
                        .help("set IMGBAKE_SIGNING_PASSWORD")
                })?;
                EncryptedPrivateKeyInfoRef::try_from(document.as_bytes())
                    .map_err(|error| usage("its encryption cannot be read").because(error))?
                    .decrypt(password)
                    .map_err(|_| usage("its password is wrong"))?
            }
            other => {
                return Err(usage(&format!("it is a `{other}`, not a PKCS#8 `PRIVATE KEY`"))
                    .help("`openssl pkcs8 -topk8 -in KEY` converts it"));
            }
        };
        let der = document.as_bytes();
        let key = if let Ok(key) = ed25519_dalek::SigningKey::from_pkcs8_der(der) {
            Signing::Ed25519(Box::new(key))
        } else {
            let key = p256::ecdsa::SigningKey::from_pkcs8_der(der).map_err(|error| {
                usage("it is neither an ed25519 nor an ECDSA P-256 key").because(error)
            })?;
            Signing::P256(Box::new(key))
        };
        Self::of(key)
    }

    /// Reads a key's file, which nobody but its owner may read.
    ///
    /// # Errors
    /// It cannot be read, others may read it, or those of [`Self::from_pem`].
    pub fn from_file(path: &Utf8Path, password: Option<&str>) -> Result<Self, BuildError> {
        let usage = |text: String| BuildError::new(BuildErrorKind::Usage, text);
        let unreadable =
            |error| usage(format!("the signing key {path} cannot be read")).because(error);
        let file = imgbake_runtime::regular::open(path).map_err(|error| {
            usage(format!("the signing key {path} cannot be read")).because(error)
        })?;
        let mode = file.metadata().map_err(unreadable)?.mode() & 0o777;
        if mode & 0o077 != 0 {
            let text = format!("others may read or write the signing key {path} (mode {mode:04o})");
            return Err(usage(text).help(format!("`chmod 600 {path}`, if nobody has read it yet")));
        }
        let mut pem = String::new();
        file.take(LONGEST).read_to_string(&mut pem).map_err(unreadable)?;
        Self::from_pem(&pem, password).map_err(|error| {
            usage(format!("the signing key {path} cannot be used: {error}"))
                .help_if_any(error.help_text().map(str::to_owned))
        })
    }

    fn of(key: Signing) -> Result<Self, BuildError> {
        let public = match &key {
            Signing::Ed25519(key) => PublicKey::ed25519(key.verifying_key())?,
            Signing::P256(key) => PublicKey::p256(*key.verifying_key())?,
        };
        Ok(Self { key, public })
    }

    /// It as PEM, encrypted where a password is given.
    ///
    /// # Errors
    /// It cannot be encrypted.
    pub fn to_pem(&self, password: Option<&str>) -> Result<String, BuildError> {
        let document = match &self.key {
            // Without the public half: readers older than OneAsymmetricKey refuse it.
            Signing::Ed25519(key) => {
                KeypairBytes { secret_key: key.to_bytes(), public_key: None }.to_pkcs8_der()
            }
            Signing::P256(key) => key.to_pkcs8_der(),
        };
        let unwritable =
            |error| BuildError::failed("the private key cannot be written").because(error);
        let document = document.map_err(unwritable)?;
        let (label, document) = match password {
            None => ("PRIVATE KEY", document),
            Some(password) => {
                let info =
                    pkcs8::PrivateKeyInfoRef::try_from(document.as_bytes()).map_err(unwritable)?;
                ("ENCRYPTED PRIVATE KEY", info.encrypt(password).map_err(unwritable)?)
            }
        };
        let pem = document.to_pem(label, LineEnding::LF);
        Ok(pem.map_err(|error| unwritable(error.into()))?.to_string())
    }
}

#[async_trait]
impl Signer for PrivateKey {
    fn public(&self) -> &PublicKey {
        &self.public
    }

    async fn sign(&self, _job: &Job, message: &[u8]) -> Result<Vec<u8>, BuildError> {
        Ok(match &self.key {
            Signing::Ed25519(key) => key.sign(message).to_vec(),
            Signing::P256(key) => {
                let signature: p256::ecdsa::Signature = key.sign(message);
                signature.to_der().as_bytes().to_vec()
            }
        })
    }
}

/// Without what is secret.
impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PrivateKey").field("public", &self.public.id()).finish_non_exhaustive()
    }
}
