//! What a running command reports: a typed, ordered stream, one JSON line each.

use camino::Utf8PathBuf;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::record::TestOutcome;
use crate::record::step::Resource;
use crate::{Digest, Reference, StepReport};

pub use crate::stage::{Outcome, Stage};
pub use crate::stream::Stream;

/// One thing that happened. Its texts ([`EventKind::texts`]) are redacted before anyone has it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Event {
    /// When, in UTC.
    #[schemars(with = "String")]
    pub time: Timestamp,
    /// Which build or job, unique on this host.
    pub job: String,
    /// What.
    #[serde(flatten)]
    pub kind: EventKind,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum EventKind {
    /// A build is to come. Of several builds each is announced before the first begins, under the
    /// job that its later events have too.
    BuildQueued {
        /// The template's path.
        #[schemars(with = "String")]
        template: Utf8PathBuf,
        /// The image's name.
        image: String,
        /// Images of other builds that it is based on: it begins when they are there.
        after: Vec<String>,
    },
    /// A build begins.
    BuildStarted {
        /// The template's path.
        #[schemars(with = "String")]
        template: Utf8PathBuf,
        /// The image's name.
        image: String,
        /// The plan's digest.
        #[schemars(with = "String")]
        plan: Digest,
        /// Stages to come, each with its name.
        stages: usize,
    },
    /// A stage begins.
    StageStarted {
        /// Which.
        stage: Stage,
        /// Its name: a provision step's or the stage's word.
        name: String,
    },
    /// A stage goes on.
    StageProgress {
        /// Which.
        stage: Stage,
        /// Its name.
        name: String,
        /// Bytes so far.
        done: u64,
        /// Bytes in all, where they are known.
        total: Option<u64>,
    },
    /// What a stage is doing now, for people.
    StageStatus {
        /// Which.
        stage: Stage,
        /// Its name.
        name: String,
        /// A few words: "waiting for ssh".
        status: String,
    },
    /// A stage ended.
    StageFinished {
        /// Which.
        stage: Stage,
        /// Its name.
        name: String,
        /// How.
        outcome: Outcome,
        /// Wall time in seconds.
        seconds: f64,
        /// Bytes that it made or moved; 0 where bytes mean nothing.
        bytes: u64,
        /// A few words: "3 GiB, 812 MiB in use".
        detail: String,
    },
    /// What a provision step did: reported before its end, or of a cached one after it.
    StepReport {
        /// The step's name.
        name: String,
        /// Whether the step ran in an earlier build.
        cached: bool,
        /// What it did when it ran.
        report: Box<StepReport>,
    },
    /// A provision step changed a resource, or could not: emitted at once. The rest are counted in the step's status.
    Resource {
        /// The step's name.
        name: String,
        /// The resource, with what was done.
        resource: Box<Resource>,
    },
    /// A line from a provisioner, test or console.
    Output {
        /// The step's or test's name.
        name: String,
        /// Where it came from.
        stream: Stream,
        /// The line, without its end.
        line: String,
    },
    /// A seal operation was done.
    SealOperation {
        /// Its name.
        operation: String,
        /// Files and folders it removed or emptied.
        removed: u64,
        /// Bytes that they held.
        bytes: u64,
        /// Up to a few paths.
        paths: Vec<String>,
    },
    /// A test of the template, or one of verify's own checks, was done.
    TestFinished {
        /// Its result.
        result: TestOutcome,
    },
    /// A machine did something by itself: it panicked, restarted, stopped.
    Machine {
        /// The machine's name: `build`, `verify-1`.
        machine: String,
        /// What it did.
        what: String,
    },
    /// A layer was saved, used, or could not be.
    Layer {
        /// The stage that it is the result of.
        stage: Stage,
        /// The step's name.
        name: String,
        /// The step's key.
        #[schemars(with = "String")]
        key: Digest,
        /// What was done with it.
        action: LayerAction,
        /// Bytes that its disk takes.
        disk_bytes: u64,
        /// Bytes that the machine's state takes; 0 where it has none.
        state_bytes: u64,
        /// Seconds since it was made.
        age: f64,
        /// Why it was not used, or not saved whole; empty where all went well.
        reason: String,
    },
    /// A build waits for another that makes a layer of its own.
    Waiting {
        /// What for.
        what: String,
    },
    /// Something the user should know.
    Notice {
        /// How severe.
        level: Level,
        /// The words.
        message: String,
    },
    /// A channel was moved.
    ChannelMoved {
        /// The image's name and the channel.
        #[schemars(with = "String")]
        channel: Reference,
        /// The version it points at now.
        version: String,
        /// Its digest.
        #[schemars(with = "String")]
        digest: Digest,
    },
    /// A build ended, or was not begun at all.
    BuildFinished {
        /// How. Cached: `reference` has this plan already. Skipped: it was
        /// not begun, `error` says why.
        outcome: Outcome,
        /// The version, if one was published or was there already.
        #[schemars(with = "Option<String>")]
        reference: Option<Reference>,
        /// Its digest.
        #[schemars(with = "Option<String>")]
        digest: Option<Digest>,
        /// The channel that points at it now.
        channel: Option<String>,
        /// The disk's size, if it was captured.
        virtual_size: Option<u64>,
        /// Bytes stored for it.
        stored_bytes: Option<u64>,
        /// Wall time in seconds.
        seconds: f64,
        /// The error's words.
        error: Option<String>,
    },
}

impl EventKind {
    /// Every text of it that may repeat what a machine, a tool or a user's file said. What programs read (types,
    /// outcomes, names, references, digests) is none of them.
    pub fn texts(&mut self) -> Vec<&mut String> {
        match self {
            // No `..` here: a new field is either a text or none.
            Self::StageStatus { stage: _, name: _, status: text }
            | Self::StageFinished {
                stage: _,
                name: _,
                outcome: _,
                seconds: _,
                bytes: _,
                detail: text,
            }
            | Self::Output { name: _, stream: _, line: text }
            | Self::Machine { machine: _, what: text }
            | Self::Layer {
                stage: _,
                name: _,
                key: _,
                action: _,
                disk_bytes: _,
                state_bytes: _,
                age: _,
                reason: text,
            }
            | Self::Waiting { what: text }
            | Self::Notice { level: _, message: text } => vec![text],
            Self::StepReport { name: _, cached: _, report } => report.texts().collect(),
            Self::Resource { name: _, resource } => resource.texts().collect(),
            Self::SealOperation { operation: _, removed: _, bytes: _, paths } => {
                paths.iter_mut().collect()
            }
            Self::TestFinished { result } => {
                let TestOutcome { name: _, machine: _, passed: _, seconds: _, detail } = result;
                vec![detail]
            }
            Self::BuildFinished {
                outcome: _,
                reference: _,
                digest: _,
                channel: _,
                virtual_size: _,
                stored_bytes: _,
                seconds: _,
                error,
            } => error.iter_mut().collect(),
            Self::BuildQueued { template: _, image: _, after: _ }
            | Self::BuildStarted { template: _, image: _, plan: _, stages: _ }
            | Self::StageStarted { stage: _, name: _ }
            | Self::StageProgress { stage: _, name: _, done: _, total: _ }
            | Self::ChannelMoved { channel: _, version: _, digest: _ } => Vec::new(),
        }
    }
}

/// What was done with a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LayerAction {
    /// It was made and kept.
    Saved,
    /// Its machine goes on where it was saved.
    Restored,
    /// A machine was started from its disk.
    Booted,
    /// Its disk stands below the one that is used.
    Used,
    /// It was there and could not be used: `reason` says why, and what is tried next.
    Refused,
}

/// How severe a notice is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Good to know.
    Info,
    /// To be looked at.
    Warning,
}
