//! What fake machines can do.

/// What a builder's machines can do beside the core.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each can be so beside the others")]
pub struct Features {
    /// They freeze their disk.
    pub freezes: bool,
    /// They are saved with their memory.
    pub saves: bool,
    /// Their disk is a file of this host, rather than bytes from elsewhere.
    pub disk_is_a_file: bool,
    /// They boot from native disks as well.
    pub native_disks: bool,
    /// Their disk is copied to native disks.
    pub snapshots: bool,
}

impl Features {
    /// All of them.
    pub const ALL: Self = Self {
        freezes: true,
        saves: true,
        disk_is_a_file: true,
        native_disks: true,
        snapshots: true,
    };
    /// None of them.
    pub const NONE: Self = Self {
        freezes: false,
        saves: false,
        disk_is_a_file: false,
        native_disks: false,
        snapshots: false,
    };
}
