//! What is asked of a collection, and what it did.

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use super::clock::Clock;
use super::costs::VersionCost;
use super::retention::Retention;

/// What is asked of a collection.
#[derive(Debug, Clone)]
pub struct GcRequest {
    /// Which versions may go.
    pub retention: Retention,
    /// How long what nothing leads to is kept.
    pub grace: SignedDuration,
    /// Nothing is changed: what would be done is reported.
    pub dry_run: bool,
    /// The present.
    pub now: Timestamp,
    /// This machine's clocks, to be compared with those of the collection before; none: the time is believed.
    pub clock: Option<Clock>,
}

impl GcRequest {
    /// The grace period where nobody says: longer than any build or pull.
    pub const GRACE: SignedDuration = SignedDuration::from_hours(24);
}

/// What a collection did, or would do.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct GcReport {
    /// Whether nothing was changed.
    pub dry_run: bool,
    /// Every version that there was, oldest first.
    pub versions: Vec<VersionCost>,
    /// Blobs that were deleted.
    pub deleted_blobs: usize,
    /// Their bytes.
    pub deleted_bytes: u64,
    /// Blobs that nothing leads to and that wait for the grace period's end.
    pub waiting_blobs: usize,
    /// Their bytes.
    pub waiting_bytes: u64,
    /// Bytes of all that stays.
    pub kept_bytes: u64,
    /// Of these, bytes of packs that no version's disk uses any more: known after a dry run.
    pub dead_bytes: Option<u64>,
    /// Documents that cannot be read: as long as nobody knows what they name, no blob is deleted.
    pub blocked_by: Vec<String>,
}
