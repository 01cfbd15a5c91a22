//! The words every other crate speaks: digests, references, sizes, plans, events. No I/O.
//!
//! Each module is one word of the design. Everything here serialises to JSON, so that each stage's
//! value can be printed.

pub mod arch;
pub mod channel;
pub mod digest;
pub mod event;
pub mod firmware;
pub mod glob;
pub mod machine;
pub mod plan;
pub mod record;
pub mod reference;
pub mod secret;
pub mod size;
pub mod spec;
pub mod stage;
pub mod stream;
pub mod tag;
pub mod terminal;
pub mod time;
pub mod version;

pub use arch::Arch;
pub use channel::{Action, Actor, ChannelName, Verdict};
pub use digest::{Algorithm, Digest};
pub use event::{Event, EventKind, LayerAction};
pub use machine::MachineSpec;
pub use plan::{Plan, Step, StepKind};
pub use record::StepReport;
pub use reference::{Reference, Target};
pub use size::Size;
pub use stage::{Outcome, Stage};
pub use time::Span;
pub use version::VersionName;

/// A value that could not be read from text: what was given and what was expected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{given}` is not {expected}")]
pub struct ParseError {
    /// The text as given.
    pub given: String,
    /// What would have been right, as a noun phrase ("a size such as 512MiB").
    pub expected: &'static str,
}

impl ParseError {
    /// Makes the error from the text given and the noun phrase expected.
    pub fn new(given: &str, expected: &'static str) -> Self {
        Self { given: given.to_owned(), expected }
    }
}
