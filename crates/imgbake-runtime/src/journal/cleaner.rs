//! What removes resources outside this host.

use std::sync::Arc;

use async_trait::async_trait;

use super::entry::RemoteResource;
use crate::RuntimeError;

/// Removes resources of one kind. A builder that makes such resources registers one.
#[async_trait]
pub trait Cleaner: Send + Sync {
    /// The kind of resource: [`RemoteResource::kind`].
    fn kind(&self) -> &str;

    /// Removes a resource. One that is gone already, or was never made, is no error: a sweep may have
    /// been killed before it could write down that it was done. A resource without an id is looked for
    /// by its mark.
    async fn remove(&self, resource: &RemoteResource) -> Result<(), RuntimeError>;
}

/// The cleaners of a program: one for each kind.
#[derive(Clone, Default)]
pub struct Cleaners(Vec<Arc<dyn Cleaner>>);

impl Cleaners {
    /// Adds one.
    #[must_use]
    pub fn with(mut self, cleaner: Arc<dyn Cleaner>) -> Self {
        self.0.push(cleaner);
        self
    }

    pub(super) fn of(&self, kind: &str) -> Option<&Arc<dyn Cleaner>> {
        self.0.iter().find(|cleaner| cleaner.kind() == kind)
    }
}
