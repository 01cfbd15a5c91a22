//! How a chore ends.

/// Why a chore failed, as text for people.
pub(crate) type Result<T, E = Box<dyn std::error::Error>> = std::result::Result<T, E>;
