//! What a running registry knows.

use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64};

use super::habits::Habits;
use super::pause::Barrier;
use super::store::Store;
use super::tokens::Tokens;
use crate::Random;

/// What all requests of a registry see.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) habits: Mutex<Habits>,
    pub(super) barrier: Barrier,
    pub(super) store: Mutex<Store>,
    pub(super) tokens: Mutex<Tokens>,
    pub(super) dice: Mutex<Random>,
    /// Method and path of each request.
    pub(super) log: Mutex<Vec<String>>,
    pub(super) count: AtomicU64,
    /// Bytes of blobs that were sent.
    pub(super) sent: AtomicU64,
    /// A login came to where none must come.
    pub(super) leaked: AtomicBool,
    /// This registry, and where it redirects to.
    pub(super) addresses: [SocketAddr; 2],
}
