//! Fresh ed25519 keys for one machine.

use std::fmt;
use std::sync::Arc;

use russh::keys::ssh_key::LineEnding;
use russh::keys::ssh_key::private::{Ed25519Keypair, KeypairData};
use russh::keys::{HashAlg, PrivateKey};
use serde::{Deserialize, Serialize};

use crate::{CommError, CommErrorKind};

/// An ed25519 key pair. Clones are the same key; printed for debugging, it shows its fingerprint alone.
/// Written down by serde, it is the private key in OpenSSH's text form.
#[derive(Clone, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct KeyPair {
    key: Arc<PrivateKey>,
    private: Arc<str>,
    public: Arc<str>,
    seed: [u8; 32],
}

impl fmt::Debug for KeyPair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("KeyPair").field(&self.fingerprint()).finish()
    }
}

impl TryFrom<String> for KeyPair {
    type Error = CommError;

    fn try_from(text: String) -> Result<Self, CommError> {
        Self::from_openssh(&text)
    }
}

impl From<KeyPair> for String {
    fn from(pair: KeyPair) -> Self {
        pair.private_openssh()
    }
}

impl KeyPair {
    /// A new key, from the operating system's random numbers.
    ///
    /// # Panics
    /// Never: an ed25519 key without comment and passphrase can always be written as text.
    pub fn generate() -> Self {
        let pair = Ed25519Keypair::from_seed(&rand::random());
        Self::new(pair).expect("an ed25519 key without comment can be written")
    }

    /// Reads a private key in OpenSSH's text form.
    ///
    /// # Errors
    /// Text that is no such key, a key under a passphrase, a key of another kind than ed25519.
    pub fn from_openssh(text: &str) -> Result<Self, CommError> {
        let unreadable =
            |source| CommError::with(CommErrorKind::Io, "cannot read the ssh private key", source);
        let key = PrivateKey::from_openssh(text).map_err(unreadable)?;
        match key.key_data() {
            KeypairData::Ed25519(pair) => Self::new(pair.clone()).map_err(unreadable),
            _ => Err(CommError::new(
                CommErrorKind::Io,
                "the ssh private key is not a plain ed25519 key: make one with ssh-keygen -t ed25519 -N ''",
            )),
        }
    }

    fn new(pair: Ed25519Keypair) -> Result<Self, russh::keys::ssh_key::Error> {
        let seed = pair.private.to_bytes();
        let key = PrivateKey::new(KeypairData::Ed25519(pair), "")?;
        let private = key.to_openssh(LineEnding::LF)?;
        let public = key.public_key().to_openssh()?;
        Ok(Self {
            private: private.trim_end().into(),
            public: public.trim().into(),
            key: Arc::new(key),
            seed,
        })
    }

    /// The private key as PEM, as OpenSSH writes it (PROTOCOL.key), with a line end at its end.
    pub fn private_openssh(&self) -> String {
        format!("{}\n", self.private)
    }

    /// The public key as one line without comment and line end: `ssh-ed25519 AAAA…`.
    pub fn public_openssh(&self) -> String {
        self.public.to_string()
    }

    /// The SHA-256 fingerprint of the public key: `SHA256:…`.
    pub fn fingerprint(&self) -> String {
        self.key.fingerprint(HashAlg::Sha256).to_string()
    }

    /// The byte forms of the private key to look for in an image: the lines of the PEM that hold a part
    /// of it, and the 32 bytes themselves (RFC 8032's private key). The public key is in none of them
    /// alone.
    pub fn private_seed_forms(&self) -> Vec<Vec<u8>> {
        let lines: Vec<&str> =
            self.private.lines().filter(|line| !line.starts_with("-----")).collect();
        let mut forms = vec![self.seed.to_vec()];
        // A line's digits hold the bytes from 3/4 of its place; the seed follows the second copy of the
        // public key, whose place differs with nothing: the key has no comment and no cipher.
        let mut digits = 0;
        for line in lines {
            let (first, last) = (digits * 3 / 4, (digits + line.len()) * 3 / 4);
            digits += line.len();
            if first < SEED_AT + 32 && SEED_AT < last {
                forms.push(line.as_bytes().to_vec());
            }
        }
        forms
    }

    pub(crate) fn private_key(&self) -> Arc<PrivateKey> {
        Arc::clone(&self.key)
    }
}

/// Where the private bytes begin in a plain ed25519 key (PROTOCOL.key): magic 15, cipher 8, kdf 8, kdf
/// options 4, count 4, public key 4 + 51, section length 4, check numbers 8, name 4 + 11, public key
/// 4 + 32, length 4.
const SEED_AT: usize = 15 + 8 + 8 + 4 + 4 + 55 + 4 + 8 + 15 + 36 + 4;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_and_reads_itself() {
        let key = KeyPair::generate();
        let again = KeyPair::from_openssh(&key.private_openssh()).unwrap();
        assert_eq!(again.private_openssh(), key.private_openssh());
        assert_eq!(again.public_openssh(), key.public_openssh());
        assert!(key.private_openssh().ends_with("-----END OPENSSH PRIVATE KEY-----\n"));
        assert_eq!(key.public_openssh().split(' ').count(), 2);
        assert_ne!(KeyPair::generate().fingerprint(), key.fingerprint());
        let shown = format!("{key:?}");
        assert!(shown.contains("SHA256:") && !shown.contains("PRIVATE"), "{shown}");
    }

    #[test]
    fn refuses_other_text() {
        for text in [
            "",
            "ssh-ed25519 AAAA",
            "-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----\n",
        ] {
            assert_eq!(KeyPair::from_openssh(text).unwrap_err().kind(), CommErrorKind::Io);
        }
    }

    #[test]
    fn private_forms_are_this_keys_and_private() {
        let (one, other) = (KeyPair::generate(), KeyPair::generate());
        let forms = one.private_seed_forms();
        assert!(forms.len() >= 2 && forms.iter().all(|form| form.len() >= 20), "{forms:?}");
        assert_eq!(forms[0].len(), 32);
        let held =
            |text: &str, form: &[u8]| text.as_bytes().windows(form.len()).any(|part| part == form);
        for form in &forms[1..] {
            assert!(held(&one.private_openssh(), form));
            assert!(!held(&other.private_openssh(), form) && !held(&one.public_openssh(), form));
        }
        // Two keys with one public part would share every other line.
        let bytes = one.key.to_bytes().unwrap();
        assert_eq!(bytes[SEED_AT..SEED_AT + 32], one.seed);
    }
}
