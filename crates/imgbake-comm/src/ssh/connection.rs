//! A connection that is logged in, and the sessions that it carries.

use std::net::SocketAddr;

use imgbake_runtime::retry::Backoff;
use russh::client::{Handle, Msg};
use russh::{Channel, Disconnect};
use tokio::sync::{AcquireError, Semaphore, SemaphorePermit};

use super::pinned::Pinned;

/// Commands that run at once over one connection; further ones wait. OpenSSH's `MaxSessions` is 10.
const SESSIONS: usize = 10;

/// A connection that is logged in. It ends when this is dropped.
pub(super) struct Connection {
    handle: Handle<Pinned>,
    address: SocketAddr,
    sessions: Semaphore,
}

impl Connection {
    pub(super) fn new(handle: Handle<Pinned>, address: SocketAddr) -> Self {
        Self { handle, address, sessions: Semaphore::new(SESSIONS) }
    }

    /// The machine's address.
    pub(super) const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Waits until a further session may be opened; it counts until the permit is dropped.
    pub(super) async fn session_slot(&self) -> Result<SemaphorePermit<'_>, AcquireError> {
        self.sessions.acquire().await
    }

    /// A new session. A server that has too many is asked again: one of them will end.
    pub(super) async fn open_session(&self) -> Result<Channel<Msg>, russh::Error> {
        let mut backoff = Backoff::default();
        loop {
            match self.handle.channel_open_session().await {
                Err(russh::Error::ChannelOpenFailure(reason)) if !self.is_closed() => {
                    tracing::debug!(?reason, "ssh: the machine takes no further session now");
                    backoff.wait().await;
                }
                opened => return opened,
            }
        }
    }

    pub(super) fn is_closed(&self) -> bool {
        self.handle.is_closed()
    }

    pub(super) async fn close(&self) {
        let _ = self.handle.disconnect(Disconnect::ByApplication, "done", "").await;
    }
}
