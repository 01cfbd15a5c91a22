//! The client's side of a connection: it knows one host key and takes no other.

use russh::client::{DisconnectReason, Handler};
use russh::keys::ssh_key::public::KeyData;
use russh::keys::{HashAlg, PublicKey, PublicKeyOrCertificate};

/// Accepts one host key.
#[derive(Debug, Clone)]
pub(super) struct Pinned {
    key: PublicKey,
}

/// Why a connection could not be made.
#[derive(Debug, thiserror::Error)]
pub(super) enum PinnedError {
    /// The machine showed another host key.
    #[error("the machine at the other end has host key {shown}, and not {expected}")]
    HostKey {
        /// What it showed.
        shown: String,
        /// What it should have shown.
        expected: String,
    },
    /// Anything else.
    #[error(transparent)]
    Ssh(#[from] russh::Error),
}

impl Pinned {
    pub(super) const fn new(key: PublicKey) -> Self {
        Self { key }
    }

    pub(super) fn key(&self) -> &PublicKey {
        &self.key
    }

    fn key_data(&self) -> &KeyData {
        self.key.key_data()
    }
}

impl Handler for Pinned {
    type Error = PinnedError;

    async fn check_server_key(
        &mut self,
        shown: &PublicKeyOrCertificate,
    ) -> Result<bool, PinnedError> {
        // A certificate is no pinned key, whoever signed it.
        if shown.certificate().is_none() && shown.public_key().key_data() == self.key_data() {
            return Ok(true);
        }
        Err(PinnedError::HostKey {
            shown: shown.public_key().fingerprint(HashAlg::Sha256).to_string(),
            expected: self.key.fingerprint(HashAlg::Sha256).to_string(),
        })
    }

    async fn disconnected(
        &mut self,
        reason: DisconnectReason<PinnedError>,
    ) -> Result<(), PinnedError> {
        match reason {
            DisconnectReason::ReceivedDisconnect(info) => {
                tracing::debug!(reason = ?info.reason_code, message = info.message, "ssh: the machine disconnected");
                Ok(())
            }
            DisconnectReason::Error(error) => {
                tracing::debug!(%error, "ssh: the connection ended");
                Err(error)
            }
        }
    }
}
