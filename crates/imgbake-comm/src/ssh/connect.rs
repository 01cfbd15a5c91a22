//! From an address to a connection that runs commands.
//!
//! QEMU's user networking accepts a TCP connection for a guest that has no sshd yet, and holds the SYN
//! until the guest takes or refuses it. "The port is open" is therefore no sign of anything: an attempt
//! counts once the server's first bytes came.

use std::borrow::Cow;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use imgbake_runtime::retry::Backoff;
use russh::client::{self, AuthResult, Handle};
use russh::keys::{Algorithm, HashAlg, PrivateKeyWithHashAlg, PublicKey};
use russh::{Preferred, compression};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout, timeout_at};

use super::pinned::{Pinned, PinnedError};
use crate::{CommError, CommErrorKind, KeyPair};

/// How long to hold on to one silent connection alone: then another is tried beside it.
const SILENCE: Duration = Duration::from_millis(1500);
/// How long a connection may stay silent. An emulated guest on a busy host takes seconds to fork sshd.
const LONGEST_SILENCE: Duration = Duration::from_secs(10);
/// How many silent connections are held at once.
const HELD: usize = 3;
/// How often a key is refused until that is believed: 12 seconds after the first time.
const REFUSALS: u32 = 5;
/// How long the key exchange or a login may take.
const HANDSHAKE: Duration = Duration::from_secs(30);

/// Where to connect to and as whom.
pub(super) struct Target {
    address: SocketAddr,
    user: String,
    key: PrivateKeyWithHashAlg,
    host_key: Pinned,
    config: Arc<client::Config>,
}

/// What an attempt lacked: what was waited for last.
enum Missing {
    Tcp(std::io::Error),
    Banner(&'static str),
    Handshake(String),
    Login,
}

/// What user networking does for a guest that is not up yet.
const SILENT: Missing = Missing::Banner("the connection was accepted, but nothing was said");

impl std::fmt::Display for Missing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Tcp(error) => write!(f, "no TCP: {error}"),
            Self::Banner(how) => write!(f, "no ssh banner: {how}"),
            Self::Handshake(why) => write!(f, "no ssh key exchange: {why}"),
            Self::Login => f.write_str("key not accepted"),
        }
    }
}

/// How an attempt failed.
enum Failed {
    /// It may go better the next time.
    Again(Missing),
    /// It never will.
    Ever(CommError),
}

impl Target {
    /// Reads the pinned key.
    pub(super) fn new(
        address: SocketAddr,
        user: &str,
        user_key: &KeyPair,
        host_key_public: &str,
    ) -> Result<Self, CommError> {
        let host_key = PublicKey::from_openssh(host_key_public.trim()).map_err(|source| {
            CommError::with(
                CommErrorKind::HostKey,
                "cannot read the host key that the machine shall have",
                source,
            )
        })?;
        let config = Arc::new(config(&host_key));
        let key = PrivateKeyWithHashAlg::new(user_key.private_key(), None);
        Ok(Self { address, user: user.to_owned(), key, host_key: Pinned::new(host_key), config })
    }

    /// Tries until it is in or the time is over.
    pub(super) async fn connect(&self, limit: Duration) -> Result<Handle<Pinned>, CommError> {
        let mut last = Missing::Banner("not tried yet");
        match timeout_at(Instant::now() + limit, self.until_in(&mut last)).await {
            Ok(done) => done,
            Err(_) => Err(self.never(limit, &last)),
        }
    }

    fn never(&self, limit: Duration, last: &Missing) -> CommError {
        let kind = match last {
            Missing::Login => CommErrorKind::Auth,
            _ => CommErrorKind::Unreachable,
        };
        let text = format!(
            "ssh to {}@{} failed for {limit:?}; the last try: {last}",
            self.user, self.address
        );
        CommError::new(kind, text)
    }

    fn refused(&self) -> CommError {
        let text = format!(
            "ssh at {} has the machine's own host key and refused the key of {} {REFUSALS} times: its sshd does \
             not let {} in (`PermitRootLogin`, `AllowUsers`, …)",
            self.address, self.user, self.user
        );
        CommError::new(CommErrorKind::Auth, text)
    }

    /// One attempt over a stream.
    pub(super) async fn over(
        &self,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        limit: Duration,
    ) -> Result<Handle<Pinned>, CommError> {
        match timeout(limit, self.log_in(stream)).await {
            Ok(Ok(handle)) => Ok(handle),
            Ok(Err(Failed::Ever(error))) => Err(error),
            Ok(Err(Failed::Again(missing))) => {
                let kind = match missing {
                    Missing::Login => CommErrorKind::Auth,
                    _ => CommErrorKind::Unreachable,
                };
                Err(CommError::new(kind, format!("ssh over its serial port failed: {missing}")))
            }
            Err(_) => {
                let text = format!("nothing answered on its serial port for {limit:?}");
                Err(CommError::new(CommErrorKind::Unreachable, text))
            }
        }
    }

    async fn until_in(&self, last: &mut Missing) -> Result<Handle<Pinned>, CommError> {
        let mut backoff = Backoff::default();
        // sshd 9.8 and later (PerSourcePenalties) shuts out who fails to log in too often: 5 s for each
        // failure, once that sums up to 15 s. At 1, 2, 4, 5, 5, … s it never does.
        let mut refused = Backoff::new(Duration::from_secs(1), Duration::from_secs(5));
        let mut refusals = 0;
        loop {
            let stream = self.answering(last, &mut backoff).await;
            match self.log_in(stream).await {
                Ok(handle) => return Ok(handle),
                Err(Failed::Ever(error)) => return Err(error),
                Err(Failed::Again(missing)) => {
                    tracing::debug!(address = %self.address, %missing, "ssh: trying again");
                    let wait = if matches!(missing, Missing::Login) {
                        refusals += 1;
                        if refusals == REFUSALS {
                            return Err(self.refused());
                        }
                        &mut refused
                    } else {
                        &mut backoff
                    };
                    *last = missing;
                    wait.wait().await;
                }
            }
        }
    }

    /// A connection on which the server said something. A silent one is kept while others are tried: its
    /// SYN may be on its way through a guest that just came up, or its sshd may be slow.
    async fn answering(&self, last: &mut Missing, backoff: &mut Backoff) -> TcpStream {
        let mut held = FuturesUnordered::new();
        loop {
            if held.len() < HELD {
                held.push(self.knock());
            }
            match timeout(SILENCE, held.next()).await {
                Ok(Some(Ok(stream))) => return stream,
                Ok(Some(Err(missing))) => {
                    *last = missing;
                    backoff.wait().await;
                }
                Ok(None) => {}
                Err(_) => *last = SILENT,
            }
        }
    }

    /// Connects, and waits for the server's first bytes without taking them.
    async fn knock(&self) -> Result<TcpStream, Missing> {
        let stream = match timeout(LONGEST_SILENCE, TcpStream::connect(self.address)).await {
            Ok(connected) => connected.map_err(Missing::Tcp)?,
            Err(late) => return Err(Missing::Tcp(late.into())),
        };
        let _ = stream.set_nodelay(true);
        match timeout(LONGEST_SILENCE, stream.peek(&mut [0])).await.map_err(|_| SILENT)? {
            Ok(0) => Err(Missing::Banner("the connection was accepted and closed")),
            Ok(_) => Ok(stream),
            Err(_) => Err(Missing::Banner("the connection was accepted and cut")),
        }
    }

    async fn log_in(
        &self,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    ) -> Result<Handle<Pinned>, Failed> {
        let late = |_| Failed::Again(Missing::Handshake(format!("not done after {HANDSHAKE:?}")));
        let connecting =
            client::connect_stream(Arc::clone(&self.config), stream, self.host_key.clone());
        let mut handle = timeout(HANDSHAKE, connecting)
            .await
            .map_err(late)?
            .map_err(|error| self.broken(error))?;
        let login = handle.authenticate_publickey(&self.user, self.key.clone());
        match timeout(HANDSHAKE, login).await.map_err(late)? {
            Ok(AuthResult::Success) => Ok(handle),
            // A connection that ended is reported as a refusal that names no other method.
            Ok(AuthResult::Failure { remaining_methods, .. })
                if remaining_methods.is_empty() && handle.is_closed() =>
            {
                Err(Failed::Again(Missing::Handshake(
                    "the connection was cut while logging in".to_owned(),
                )))
            }
            Ok(AuthResult::Failure { .. }) => Err(Failed::Again(Missing::Login)),
            Err(error) => Err(self.broken(error.into())),
        }
    }

    fn broken(&self, error: PinnedError) -> Failed {
        match error {
            PinnedError::HostKey { .. } => Failed::Ever(CommError::new(
                CommErrorKind::HostKey,
                format!(
                    "{error}: something else than the machine of this build answers at {}, or the machine \
                     did not read its seed",
                    self.address
                ),
            )),
            PinnedError::Ssh(russh::Error::NoCommonAlgo { kind, ours, theirs }) => {
                Failed::Ever(CommError::new(
                    CommErrorKind::HostKey,
                    format!(
                        "the machine at {} knows none of the ssh algorithms for {kind:?} that imgbake takes \
                     (it has {}; imgbake {}); its host key {} was not seen",
                        self.address,
                        theirs.join(", "),
                        ours.join(", "),
                        self.host_key.key().fingerprint(HashAlg::Sha256)
                    ),
                ))
            }
            PinnedError::Ssh(error) => Failed::Again(Missing::Handshake(error.to_string())),
        }
    }
}

/// A dead machine is noticed after 45 s of silence; while a write is stuck, after 60 s. That its guest has
/// ended is reported by its builder, and sooner; an emulated guest on a busy host may stand still for a while.
fn config(host_key: &PublicKey) -> client::Config {
    let mut preferred = Preferred::default();
    // A server with several host keys shall show the pinned one.
    let mut algorithms: Vec<Algorithm> = preferred.key.to_vec();
    algorithms.sort_by_key(|algorithm| *algorithm != host_key.algorithm());
    preferred.key = Cow::Owned(algorithms);
    preferred.compression = Cow::Borrowed(&[compression::NONE]);
    client::Config {
        window_size: 4 << 20,
        maximum_packet_size: 32 << 10,
        // Packets that wait for their reader: no more than the window.
        channel_buffer_size: 128,
        keepalive_interval: Some(Duration::from_secs(5)),
        keepalive_max: 8,
        inactivity_timeout: Some(Duration::from_secs(60)),
        nodelay: true,
        preferred,
        ..client::Config::default()
    }
}
