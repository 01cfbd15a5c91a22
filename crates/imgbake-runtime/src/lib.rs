//! What every running thing is based on: cancellation, the clean-up journal, child processes, retries,
//! redaction, events.
//!
//! A [`Job`] is one running command that makes things: it owns a folder under `IMGBAKE_HOME/work`, an
//! entry in the [`journal`], the secrets it must not show and the stream of events it shows.

pub mod attributes;
pub mod builds;
pub mod cancel;
pub mod error;
pub mod events;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
pub mod home;
pub mod job;
pub mod journal;
pub mod memory;
pub mod output;
pub mod process;
pub mod queue;
pub mod redact;
pub mod regular;
mod remove;
pub mod retry;
pub mod secrets;
pub mod space;
pub mod terminal;

pub use cancel::Cancel;
pub use error::{RuntimeError, RuntimeErrorKind};
pub use events::{Events, StageGuard};
pub use home::Home;
pub use job::{Job, RemoteGuard};
pub use output::{CommandOutput, Tail};
pub use process::{Command, Leash, Running, Tool};
pub use queue::{EventReceiver, EventSender};
pub use redact::LineRedactor;
pub use secrets::Secrets;
