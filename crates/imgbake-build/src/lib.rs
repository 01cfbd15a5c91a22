//! The traits of builders, machines, provisioners and stores, and the runner that walks a plan.
//!
//! The flow is one way, each stage a value that the next consumes:
//! [`stage::Booted`] → [`stage::Provisioned`] → [`stage::Sealed`] → [`stage::Captured`] →
//! [`stage::Published`] → [`stage::Verified`].

pub mod cache;
pub mod capture;
pub mod error;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod keepsake;
pub mod machine;
pub mod pins;
pub mod plain;
pub mod provision;
pub mod registry;
pub mod rooms;
pub mod seal;
pub mod seed;
pub mod share;
pub mod source;
pub mod stage;
pub mod verify;

pub use cache::{CacheMode, LayerCache};
pub use capture::{Known, Tap};
pub use error::{BuildError, BuildErrorKind};
pub use machine::{Builder, Machine, MachineRequest, SaveRequest, Saved, SavedMachine};
pub use pins::PinMemory;
pub use provision::{Provisioner, StepContext, StepEnd};
pub use registry::{BlobFile, Capture, Naming, PlainFile, Registry, Whole};
pub use rooms::Rooms;
pub use seal::{Hit, Operation, Pattern, Planted, SealContext, SealReport, Sealer};
pub use seed::Seed;
pub use share::{LayerShare, SharedLayer};
pub use source::{BaseDisk, KernelFiles, Pin, SourceContext, SourceProvider};
