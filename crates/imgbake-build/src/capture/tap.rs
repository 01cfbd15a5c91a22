//! What looks at a disk's bytes on their way, and what it finds.

/// Sees each piece of a disk's data while it is captured, in the disk's order.
pub trait Tap: Send {
    /// The disk's bytes at an offset. Pieces come in order and do not overlap.
    fn data(&mut self, offset: u64, bytes: &[u8]);

    /// What was found.
    fn finish(self: Box<Self>) -> Vec<Hit>;
}

/// A tap that looks at nothing.
#[derive(Debug, Default)]
pub struct NoTap;

impl Tap for NoTap {
    fn data(&mut self, _: u64, _: &[u8]) {}
    fn finish(self: Box<Self>) -> Vec<Hit> {
        Vec::new()
    }
}

/// A pattern that was found in a captured disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hit {
    /// The pattern's name.
    pub name: String,
    /// Whether it fails the build even where residues only warn.
    pub severe: bool,
    /// Where on the virtual disk it begins, in bytes.
    pub offset: u64,
}
