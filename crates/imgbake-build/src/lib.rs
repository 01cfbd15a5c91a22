//! The traits of builders, machines, provisioners and stores, and the runner that walks a plan.
//!
//! The flow is one way, each stage a value that the next consumes:
//! [`stage::Booted`] → [`stage::Provisioned`] → [`stage::Sealed`] → [`stage::Captured`] →
//! [`stage::Published`] → [`stage::Verified`].

pub mod base;
pub mod builder;
pub mod cache;
pub mod capture;
pub mod channels;
pub mod components;
pub mod disposable;
pub mod error;
pub mod evidence;
mod foreign;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod guest;
pub mod image;
pub mod machine;
pub mod pins;
pub mod plain;
pub mod provision;
pub mod registry;
pub mod seal;
pub mod seed;
pub mod share;
pub mod slots;
pub mod source;
pub mod stage;
mod state_file;
pub mod verify;
pub mod versions;

pub use base::{BaseDisk, DiskLocation, KernelFiles, LocalDisk, NativeDisk, extra_beside};
pub use builder::{Builder, MachineRequest, Purpose, SavedMachine};
pub use cache::{CacheMode, LayerCache};
pub use capture::{Hit, KnownChunks, Tap};
pub use channels::Channels;
pub use components::Components;
pub use disposable::{Disposable, DisposableRequest, Snapshot};
pub use error::{BuildError, BuildErrorKind};
pub use evidence::{Evidence, EvidenceKind};
pub use image::Image;
pub use machine::{Access, FreezeDisk, Machine, MachineDisk, SaveMachine, SnapshotMachine};
pub use pins::PinMemory;
pub use provision::{Provisioner, StepContext, StepEnd, StepRecorder};
pub use registry::{BlobFile, Capture, Naming, PlainFile, Registry, Whole};
pub use seal::{Operation, Pattern, Planted, SealContext, SealReport, Sealer};
pub use seed::{LOGIN_PORT, Seed};
pub use share::{LayerShare, SharedLayer};
pub use slots::{Slot, Slots};
pub use source::{Pin, SourceContext, SourceProvider};
pub use versions::Versions;
