//! File systems, read in place on a partition of a disk: nothing is mounted, nothing is written.
//!
//! Whoever made the disk may have made it to harm its reader: every number is checked before it is used,
//! every loop has an end, and no read takes more memory than its caller allows.

pub mod ext4;
pub mod fat;
mod volume;

pub use ext4::Ext4;
pub use fat::Fat;
pub use volume::Volume;
