//! Keys that sign and check statements: ed25519, and ECDSA on P-256.

mod command;
mod private;
mod public;

use async_trait::async_trait;
use imgbake_build::BuildError;
use imgbake_runtime::Job;

pub use command::CommandKey;
pub use private::{Algorithm, PrivateKey};
pub use public::{KeyId, PublicKey};

/// Something that signs: a key in memory, or a program that has access to one.
#[async_trait]
pub trait Signer: Send + Sync + std::fmt::Debug {
    /// The public half.
    fn public(&self) -> &PublicKey;

    /// The signature of a message: raw for ed25519, in DER for P-256.
    ///
    /// # Errors
    /// The key cannot be used.
    async fn sign(&self, job: &Job, message: &[u8]) -> Result<Vec<u8>, BuildError>;
}

#[cfg(test)]
mod tests;
