//! What is stored of versions and builds: config, evidence, channel moves, reports. These types are apart
//! from those of templates: what was written once is read for ever ([`format`]).

pub mod build;
mod channel;
mod disk;
pub mod format;
mod list;
mod proof;
mod seal;
pub mod step;
mod verify;
mod version;
mod view;

pub use channel::{
    ChannelMove, ChannelState, ComposedMove, MoveSignature, RecordedMove, Swap, VersionRef,
};
pub use disk::{Chunker, DiskRecord};
pub use format::{Document, Problem};
pub use list::{ListedVersion, UnreadableVersion};
pub use proof::{Proof, TestRecord, VerifySettings};
pub use seal::{SealRecord, SealedItems};
pub use step::StepReport;
pub use verify::{TestOutcome, VerifyRecord, VerifyStatus};
pub use version::{ImageConfig, LayerRef, Origin, Parent, PlanRecord, StageRecord};
pub use view::{UnreadableEvidence, VerifyView, VersionView};
