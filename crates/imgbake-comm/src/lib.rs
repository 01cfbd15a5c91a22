//! Runs commands in a machine and moves files: the [`Communicator`] trait, and ssh.

pub mod error;
pub mod exec;
pub mod keys;
pub mod shell;
pub mod ssh;
pub mod transfer;

pub use error::{CommError, CommErrorKind};
pub use exec::{Communicator, Exec, Exit};
pub use keys::KeyPair;
pub use ssh::Ssh;
