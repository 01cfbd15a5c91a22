//! The communicator over ssh (RFC 4251 to 4254).

mod command;
mod connect;
mod connection;
mod own_output;
mod pinned;

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use async_trait::async_trait;
use imgbake_runtime::Cancel;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::exec::OutputSink;
use crate::{CommError, CommErrorKind, Communicator, Exec, Exit, KeyPair};
use connection::Connection;

/// One ssh connection to a machine. It ends when this is dropped.
pub struct Ssh {
    connection: Connection,
    user: String,
}

impl std::fmt::Debug for Ssh {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ssh")
            .field("user", &self.user)
            .field("address", &self.connection.address())
            .finish_non_exhaustive()
    }
}

impl Ssh {
    /// Waits until ssh answers at an address with the pinned host key and lets a user's key in.
    ///
    /// `host_key_public` is the one host key that is accepted, as in `ssh-ed25519 AAAA…`. A guest that
    /// is still starting is asked again and again until `limit`, from 50 ms to 1 s apart.
    ///
    /// # Errors
    /// [`CommErrorKind::HostKey`] at once if another host key answers; [`CommErrorKind::Auth`] once the user's
    /// key was refused five times: whoever has the host key has read the user's as well. After `limit`,
    /// [`CommErrorKind::Unreachable`] with what was waited for last; [`CommErrorKind::Cancelled`].
    pub async fn connect(
        cancel: &Cancel,
        address: SocketAddr,
        user: &str,
        user_key: &KeyPair,
        host_key_public: &str,
        limit: Duration,
    ) -> Result<Self, CommError> {
        let target = connect::Target::new(address, user, user_key, host_key_public)?;
        let handle = cancel.run(target.connect(limit)).await.map_err(|_| {
            CommError::new(CommErrorKind::Cancelled, "interrupted while waiting for ssh")
        })??;
        Ok(Self { connection: Connection::new(handle, address), user: user.to_owned() })
    }

    /// Logs in over a stream on which an ssh server of the machine already listens, such as a serial port.
    ///
    /// # Errors
    /// Those of [`Ssh::connect`]; there is one attempt.
    pub async fn over(
        cancel: &Cancel,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        user: &str,
        user_key: &KeyPair,
        host_key_public: &str,
        limit: Duration,
    ) -> Result<Self, CommError> {
        let address = (Ipv4Addr::UNSPECIFIED, 0).into();
        let target = connect::Target::new(address, user, user_key, host_key_public)?;
        let handle = cancel.run(target.over(stream, limit)).await.map_err(|_| {
            CommError::new(CommErrorKind::Cancelled, "interrupted while waiting for ssh")
        })??;
        Ok(Self { connection: Connection::new(handle, address), user: user.to_owned() })
    }

    /// Whether the connection has ended.
    pub fn is_closed(&self) -> bool {
        self.connection.is_closed()
    }

    /// Ends the connection. One that has ended already is no error.
    pub async fn close(&self) {
        self.connection.close().await;
    }
}

#[async_trait]
impl Communicator for Ssh {
    fn user(&self) -> &str {
        &self.user
    }

    async fn run(&self, exec: Exec, output: OutputSink<'_>) -> Result<Exit, CommError> {
        command::run(&self.connection, exec, output).await
    }
}
