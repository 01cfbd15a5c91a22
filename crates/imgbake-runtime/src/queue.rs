//! Events on their way to a listener that may stand still, as a stopped terminal does: what waits is bounded.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use imgbake_types::event::Level;
use imgbake_types::{Event, EventKind};
use tokio::sync::mpsc::error::TryRecvError;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

/// Bytes of output that wait for the listener; later lines are left out and counted. What says how a build
/// goes is always sent: it is little.
const MOST: usize = 8 << 20;

/// What an event takes beside its text, about.
const EACH: usize = 256;

/// The sending end. Clones send to the same listener.
#[derive(Debug, Clone)]
pub struct EventSender {
    events: UnboundedSender<Event>,
    waiting: Arc<Waiting>,
}

/// The listener's end.
#[derive(Debug)]
pub struct EventReceiver {
    events: UnboundedReceiver<Event>,
    waiting: Arc<Waiting>,
    /// The event before which lines were left out.
    held: Option<Event>,
}

#[derive(Debug, Default)]
struct Waiting {
    bytes: AtomicUsize,
    left_out: AtomicU64,
}

/// A queue of events.
pub fn queue() -> (EventSender, EventReceiver) {
    let (sender, receiver) = unbounded_channel();
    let waiting = Arc::new(Waiting::default());
    (
        EventSender { events: sender, waiting: Arc::clone(&waiting) },
        EventReceiver { events: receiver, waiting, held: None },
    )
}

/// What an event takes while it waits; none for what is never left out.
fn size(event: &Event) -> Option<usize> {
    match &event.kind {
        EventKind::Output { line, .. } => Some(line.len() + EACH),
        EventKind::StageProgress { .. } | EventKind::StageStatus { .. } => Some(EACH),
        _ => None,
    }
}

impl EventSender {
    /// Sends an event. A listener that has gone is no error.
    pub fn send(&self, event: Event) {
        if let Some(size) = size(&event) {
            let before = self.waiting.bytes.fetch_add(size, Ordering::Relaxed);
            if before + size > MOST {
                self.waiting.bytes.fetch_sub(size, Ordering::Relaxed);
                if matches!(event.kind, EventKind::Output { .. }) {
                    self.waiting.left_out.fetch_add(1, Ordering::Relaxed);
                }
                return;
            }
        }
        let _ = self.events.send(event);
    }
}

impl EventReceiver {
    /// The next event; none when all senders have gone, or after [`EventReceiver::close`].
    pub async fn recv(&mut self) -> Option<Event> {
        if let Some(held) = self.held.take() {
            return Some(held);
        }
        let event = self.events.recv().await;
        self.taken(event)
    }

    /// The same, on a thread that may wait.
    pub fn blocking_recv(&mut self) -> Option<Event> {
        if let Some(held) = self.held.take() {
            return Some(held);
        }
        let event = self.events.blocking_recv();
        self.taken(event)
    }

    /// The next event, if there is one now.
    ///
    /// # Errors
    /// There is none now, or there will be none.
    pub fn try_recv(&mut self) -> Result<Event, TryRecvError> {
        if let Some(held) = self.held.take() {
            return Ok(held);
        }
        let event = self.events.try_recv()?;
        self.taken(Some(event)).ok_or(TryRecvError::Disconnected)
    }

    /// Takes no events that come after this.
    pub fn close(&mut self) {
        self.events.close();
    }

    /// Accounts for an event; before the first that comes after lines that were left out, their number is reported.
    fn taken(&mut self, event: Option<Event>) -> Option<Event> {
        let event = event?;
        self.waiting.bytes.fetch_sub(size(&event).unwrap_or(0), Ordering::Relaxed);
        // Those that waited came before the ones that were left out.
        if self.waiting.bytes.load(Ordering::Relaxed) > MOST / 2 {
            return Some(event);
        }
        match self.waiting.left_out.swap(0, Ordering::Relaxed) {
            0 => Some(event),
            lines => {
                let message = format!(
                    "{lines} lines of output are not shown here: they came faster than they were read; \
                     `imgbake logs` has the end of each step's"
                );
                let kind = EventKind::Notice { level: Level::Warning, message };
                let notice = Event { time: event.time, job: event.job.clone(), kind };
                self.held = Some(event);
                Some(notice)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use imgbake_types::event::Stream;

    use super::*;

    fn event(kind: EventKind) -> Event {
        Event { time: jiff::Timestamp::UNIX_EPOCH, job: "job".to_owned(), kind }
    }

    #[test]
    fn a_listener_that_stands_still_takes_no_memory() {
        let (sender, mut receiver) = queue();
        let line = "x".repeat(1000);
        for _ in 0..100_000 {
            let (name, line) = ("step".to_owned(), line.clone());
            sender.send(event(EventKind::Output { name, stream: Stream::Stdout, line }));
        }
        assert!(sender.waiting.bytes.load(Ordering::Relaxed) <= MOST);
        sender.send(event(EventKind::Waiting { what: "the end".to_owned() }));
        drop(sender);
        let (mut lines, mut others) = (0_u64, Vec::new());
        while let Some(event) = receiver.blocking_recv() {
            match event.kind {
                EventKind::Output { .. } => lines += 1,
                other => others.push(other),
            }
        }
        assert!((6000..9000).contains(&lines), "{lines}");
        let [EventKind::Notice { message, .. }, EventKind::Waiting { .. }] = &others[..] else {
            panic!("{others:?}");
        };
        assert!(message.starts_with(&format!("{} lines", 100_000 - lines)), "{message}");
    }
}
