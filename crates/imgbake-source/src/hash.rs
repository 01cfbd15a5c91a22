//! A digest that is made while bytes go by.

use imgbake_types::{Algorithm, Digest};
use sha2::{Digest as _, Sha256, Sha512};

/// One of the hash functions of [`Algorithm`], at work.
#[derive(Debug, Clone)]
pub(crate) enum Hasher {
    Sha256(Sha256),
    Sha512(Sha512),
}

impl Hasher {
    pub(crate) fn new(algorithm: Algorithm) -> Self {
        match algorithm {
            Algorithm::Sha256 => Self::Sha256(Sha256::new()),
            Algorithm::Sha512 => Self::Sha512(Sha512::new()),
        }
    }

    pub(crate) fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Sha256(hash) => hash.update(bytes),
            Self::Sha512(hash) => hash.update(bytes),
        }
    }

    pub(crate) fn finish(self) -> Digest {
        match self {
            Self::Sha256(hash) => Digest::from_sha256(&hash.finalize()),
            Self::Sha512(hash) => Digest::from_sha512(&hash.finalize()),
        }
    }
}
