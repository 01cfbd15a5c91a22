//! QMP, QEMU's machine protocol: one JSON object a line over a socket.
//!
//! Source: QEMU, `docs/interop/qmp-spec.rst`. Answers are matched to commands by id; events come in
//! between and go into a bounded channel in their order. A line that is too long or no JSON ends the
//! connection: what follows could not be trusted.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use serde::Deserialize;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::sync::{mpsc, oneshot};

/// The longest line that is read; QEMU's own longest answers (`query-qmp-schema`) have 200 KB.
pub const LONGEST_LINE: u64 = 1 << 20;

/// Events that wait for their reader; the connection waits while there are more.
const WAITING_EVENTS: usize = 256;

/// What went wrong on a QMP connection.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum QmpError {
    /// The other end has gone, or was cut off for what it sent.
    #[error("QEMU's control connection has ended")]
    Disconnected,
    /// What came is not the protocol.
    #[error("QEMU's control connection sent {0}")]
    Protocol(String),
    /// QEMU refused a command.
    #[error("QEMU refused `{command}`: {description}")]
    Refused {
        /// The command.
        command: String,
        /// QEMU's message.
        description: String,
    },
}

/// Something that QEMU reported by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QmpEvent {
    /// Its name: `SHUTDOWN`.
    pub name: String,
    /// Its data; null where it has none.
    pub data: Value,
}

/// One line from QEMU, whichever it is.
#[derive(Debug, Deserialize)]
struct Message {
    #[serde(rename = "QMP")]
    greeting: Option<Value>,
    event: Option<String>,
    #[serde(default)]
    data: Value,
    id: Option<u64>,
    #[serde(rename = "return")]
    result: Option<Value>,
    error: Option<Refusal>,
}

#[derive(Debug, Deserialize)]
struct Refusal {
    #[serde(default)]
    desc: String,
}

type Answer = Result<Value, String>;

#[derive(Debug, Default)]
struct Pending {
    next: u64,
    closed: bool,
    waiting: HashMap<u64, oneshot::Sender<Answer>>,
}

/// A connection on which commands are accepted. Clones are the same connection.
#[derive(Clone)]
pub struct Qmp {
    pending: Arc<Mutex<Pending>>,
    writer: Arc<tokio::sync::Mutex<Box<dyn AsyncWrite + Send + Unpin>>>,
}

impl std::fmt::Debug for Qmp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Qmp")
    }
}

impl Qmp {
    /// Greets, leaves negotiation mode and gives the connection and its events. The events end when
    /// the connection does.
    pub async fn connect<S>(stream: S) -> Result<(Self, mpsc::Receiver<QmpEvent>), QmpError>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let (read, write) = tokio::io::split(stream);
        let mut reader = BufReader::new(read);
        let greeting = next_message(&mut reader).await?.ok_or(QmpError::Disconnected)?;
        if greeting.greeting.is_none() {
            return Err(QmpError::Protocol("no greeting".to_owned()));
        }
        let pending = Arc::new(Mutex::new(Pending::default()));
        let (sender, events) = mpsc::channel(WAITING_EVENTS);
        tokio::spawn(read_all(reader, Arc::clone(&pending), sender));
        let qmp = Self { pending, writer: Arc::new(tokio::sync::Mutex::new(Box::new(write))) };
        qmp.execute("qmp_capabilities", json!({})).await?;
        Ok((qmp, events))
    }

    /// Runs a command and gives what it returns.
    pub async fn execute(&self, command: &str, arguments: Value) -> Result<Value, QmpError> {
        let (id, answer) = self.expect_answer()?;
        let mut line = json!({ "execute": command, "arguments": arguments, "id": id })
            .to_string()
            .into_bytes();
        line.push(b'\n');
        let written = {
            let mut writer = self.writer.lock().await;
            match writer.write_all(&line).await {
                Ok(()) => writer.flush().await,
                Err(error) => Err(error),
            }
        };
        if written.is_err() {
            lock(&self.pending).waiting.remove(&id);
            return Err(QmpError::Disconnected);
        }
        match answer.await {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(description)) => {
                Err(QmpError::Refused { command: command.to_owned(), description })
            }
            Err(_) => Err(QmpError::Disconnected),
        }
    }

    /// Runs a command of the human monitor and gives its text.
    pub async fn human(&self, line: &str) -> Result<String, QmpError> {
        let answer = self.execute("human-monitor-command", json!({ "command-line": line })).await?;
        match answer {
            Value::String(text) => Ok(text),
            _ => Err(QmpError::Protocol(format!("no text as the answer to `{line}`"))),
        }
    }

    fn expect_answer(&self) -> Result<(u64, oneshot::Receiver<Answer>), QmpError> {
        let mut pending = lock(&self.pending);
        if pending.closed {
            return Err(QmpError::Disconnected);
        }
        let id = pending.next;
        pending.next += 1;
        let (sender, receiver) = oneshot::channel();
        pending.waiting.insert(id, sender);
        Ok((id, receiver))
    }
}

fn lock(pending: &Mutex<Pending>) -> std::sync::MutexGuard<'_, Pending> {
    pending.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Hands out what comes until the connection ends; whoever still waits then gets an error.
async fn read_all(
    mut reader: BufReader<impl AsyncRead + Unpin>,
    pending: Arc<Mutex<Pending>>,
    events: mpsc::Sender<QmpEvent>,
) {
    loop {
        match next_message(&mut reader).await {
            Ok(Some(message)) => hand_out(message, &pending, &events).await,
            Ok(None) => break,
            Err(error) => {
                tracing::warn!(%error, "the QMP connection is given up");
                break;
            }
        }
    }
    let mut pending = lock(&pending);
    pending.closed = true;
    pending.waiting.clear();
}

async fn hand_out(message: Message, pending: &Mutex<Pending>, events: &mpsc::Sender<QmpEvent>) {
    if let Some(name) = message.event {
        // Nobody listens any more: the machine is being ended.
        let _ = events.send(QmpEvent { name, data: message.data }).await;
        return;
    }
    let Some(id) = message.id else { return };
    let Some(waiting) = lock(pending).waiting.remove(&id) else { return };
    let answer = match message.error {
        Some(refusal) => Err(refusal.desc),
        None => Ok(message.result.unwrap_or(Value::Null)),
    };
    let _ = waiting.send(answer);
}

/// The next line that is not empty; `None` at the connection's end.
async fn next_message(
    reader: &mut BufReader<impl AsyncRead + Unpin>,
) -> Result<Option<Message>, QmpError> {
    let mut line = Vec::new();
    loop {
        line.clear();
        let read = (&mut *reader).take(LONGEST_LINE).read_until(b'\n', &mut line).await;
        if !matches!(read, Ok(1..)) {
            return Ok(None);
        }
        if line.last() != Some(&b'\n') {
            let long = line.len() as u64 >= LONGEST_LINE;
            return if long {
                Err(QmpError::Protocol("a line without end".to_owned()))
            } else {
                Ok(None)
            };
        }
        if !line.trim_ascii().is_empty() {
            let message = serde_json::from_slice(&line);
            return message
                .map(Some)
                .map_err(|error| QmpError::Protocol(format!("no JSON: {error}")));
        }
    }
}

#[cfg(test)]
mod tests;
