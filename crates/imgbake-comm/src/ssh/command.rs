//! One command: one channel (RFC 4254, section 6).

use std::sync::Arc;
use std::time::Duration;

use imgbake_types::event::Stream;
use russh::client::Msg;
use russh::{ChannelMsg, ChannelReadHalf, ChannelWriteHalf, Sig};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::time::{Instant, timeout, timeout_at};

use super::connection::Connection;
use super::own_output::OwnOutput;
use crate::exec::{OutputSink, brief};
use crate::{CommError, CommErrorKind, Exec, Exit};

/// Bytes of standard input that are read at a time; the channel cuts them to the server's packets.
const CHUNK: usize = 128 << 10;
/// How long to wait for the rest of the output of a command that has ended, in all. The server closes the
/// channel when the last process lets go of the output: a daemon that the command started never does, and
/// may write on for ever.
const LINGER: Duration = Duration::from_secs(5);
/// `SSH_EXTENDED_DATA_STDERR` (RFC 4254, section 5.2).
const STDERR: u32 = 1;

/// Runs a command to its end. The time that it may take does not count waiting for others to end.
pub(super) async fn run(
    connection: &Connection,
    exec: Exec,
    output: OutputSink<'_>,
) -> Result<Exit, CommError> {
    let lost = || {
        CommError::new(
            CommErrorKind::Lost,
            format!("the ssh connection to {} has ended", connection.address()),
        )
    };
    let _slot = connection.session_slot().await.map_err(|_| lost())?;
    let Exec { command, stdin, timeout: limit } = exec;
    match timeout(limit, run_now(connection, &command, stdin, output)).await {
        Ok(done) => done,
        Err(_) => Err(late(&command, limit)),
    }
}

fn late(command: &str, limit: Duration) -> CommError {
    let text =
        format!("`{}` in the machine timed out after {limit:?} and was ended", brief(command));
    CommError::new(CommErrorKind::TimedOut, text)
}

async fn run_now(
    connection: &Connection,
    command: &str,
    stdin: Option<Box<dyn AsyncRead + Send + Unpin>>,
    output: OutputSink<'_>,
) -> Result<Exit, CommError> {
    let lost = |error: russh::Error| {
        let address = connection.address();
        let text = format!("the ssh connection to {address} ended before `{}` ran", brief(command));
        CommError::with(CommErrorKind::Lost, text, error)
    };
    let (mut reader, writer) = connection.open_session().await.map_err(lost)?.split();
    let mut open = Open { writer: Arc::new(writer), ended: false };
    let mut output = OwnOutput::new(output);
    let line = output.command(command, stdin.is_some());
    open.writer.exec(true, line).await.map_err(lost)?;
    let first = output.first_line().to_owned();

    let reading = read(&mut reader, &mut output, command);
    let writing = write(&open.writer, first, stdin);
    tokio::pin!(reading, writing);
    // A command need not read all its input: what counts is how it ends.
    let exit = tokio::select! {
        biased;
        ended = &mut reading => ended?,
        written = &mut writing => {
            written.map_err(|source| {
                CommError::with(CommErrorKind::Io, format!("cannot read the input of `{}`", brief(command)), source)
            })?;
            reading.await?
        }
    };
    open.ended = true;
    // Only a channel that a daemon holds is open still: it must not count as one of our sessions.
    let _ = open.writer.close().await;
    Ok(exit)
}

/// Hands on output until the channel is closed; returns how the command ended.
async fn read(
    reader: &mut ChannelReadHalf,
    output: &mut OwnOutput<'_>,
    command: &str,
) -> Result<Exit, CommError> {
    let mut exit = None;
    let mut rest = None;
    loop {
        let message = match rest {
            None => reader.wait().await,
            Some(until) => timeout_at(until, reader.wait()).await.unwrap_or(None),
        };
        match message {
            Some(ChannelMsg::Data { data }) => output.take(Stream::Stdout, &data),
            Some(ChannelMsg::ExtendedData { data, ext: STDERR }) => {
                output.take(Stream::Stderr, &data);
            }
            Some(ChannelMsg::ExitStatus { exit_status }) => {
                exit = Some(Exit::Code(exit_status.cast_signed()));
                rest = Some(Instant::now() + LINGER);
            }
            Some(ChannelMsg::ExitSignal { signal_name, .. }) => {
                exit = Some(Exit::Signal(signal(&signal_name)));
                rest = Some(Instant::now() + LINGER);
            }
            Some(ChannelMsg::Failure) => {
                let text = format!("the machine's ssh server refuses to run `{}`", brief(command));
                return Err(CommError::new(CommErrorKind::Failed, text));
            }
            Some(ChannelMsg::Close) | None => {
                output.end();
                return Ok(exit.unwrap_or(Exit::Lost));
            }
            Some(_) => {}
        }
    }
}

fn signal(signal: &Sig) -> String {
    match signal {
        Sig::Custom(name) => name.clone(),
        known => format!("{known:?}"),
    }
}

/// Sends standard input, after a first line, and its end. A channel that takes no more is no error of the input.
async fn write(
    writer: &ChannelWriteHalf<Msg>,
    first: String,
    stdin: Option<Box<dyn AsyncRead + Send + Unpin>>,
) -> Result<(), std::io::Error> {
    if let Some(mut stdin) = stdin
        && writer.data_bytes(first.into_bytes()).await.is_ok()
    {
        loop {
            let mut chunk = vec![0; CHUNK];
            let len = stdin.read(&mut chunk).await?;
            chunk.truncate(len);
            if len == 0 || writer.data_bytes(chunk).await.is_err() {
                break;
            }
        }
    }
    let _ = writer.eof().await;
    Ok(())
}

/// A channel whose command runs. Dropped before its end, it ends the command: the server closes its
/// input and takes no more of its output. OpenSSH passes on the signal too, but not for root's logins.
struct Open {
    writer: Arc<ChannelWriteHalf<Msg>>,
    ended: bool,
}

impl Drop for Open {
    fn drop(&mut self) {
        if self.ended {
            return;
        }
        let writer = Arc::clone(&self.writer);
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                let _ = writer.signal(Sig::TERM).await;
                let _ = writer.close().await;
            });
        }
    }
}
