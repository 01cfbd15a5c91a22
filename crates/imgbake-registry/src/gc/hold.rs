//! Holds: a version that somebody wants to stay, whatever the rules say.
//!
//! A hold is one more tag of the version, `hold-<version>`; why, is an annotation of its descriptor.

use std::collections::BTreeMap;

use imgbake_build::{BuildError, BuildErrorKind};
use imgbake_types::record::VersionView;
use imgbake_types::{Digest, Reference};

use crate::Result;
use crate::change::Change;
use crate::index::Index;
use crate::oci::{Descriptor, REASON};
use crate::store::Store;
use crate::{tags, versions};

/// Puts a hold on a version, or changes its reason.
pub(crate) fn hold(store: &Store, reference: &Reference, reason: &str) -> Result<VersionView> {
    let mut change = Change::begin(store)?;
    let version = versions::resolve(store, reference)?;
    let tag = tags::hold(version.version.as_str());
    let entry = change.index.find(&version.name, version.version.as_str());
    let Some(mut descriptor) = entry.map(|entry| entry.descriptor.clone()) else {
        return Err(crate::files::damaged(format!("{reference} went away meanwhile")));
    };
    descriptor.annotations.insert(REASON.to_owned(), reason.to_owned());
    change.index.set(&version.name, &tag, descriptor);
    change.commit()?;
    Ok(version)
}

/// Takes a hold away.
///
/// # Errors
/// There is none: [`BuildErrorKind::Usage`].
pub(crate) fn release(store: &Store, reference: &Reference) -> Result<VersionView> {
    let mut change = Change::begin(store)?;
    let version = versions::resolve(store, reference)?;
    let tag = tags::hold(version.version.as_str());
    if change.index.find(&version.name, &tag).is_none() {
        let words = format!("{}:{} has no hold", version.name, version.version);
        return Err(BuildError::new(BuildErrorKind::Usage, words));
    }
    change.index.remove(|name, other| name == version.name && other == tag);
    change.commit()?;
    Ok(version)
}

/// Versions with a hold, and why.
pub(super) fn held(index: &Index) -> BTreeMap<Digest, String> {
    let holds = index.tagged().filter(|entry| tags::is_hold(entry.tag));
    let reason = |descriptor: &Descriptor| descriptor.annotations.get(REASON).cloned();
    holds
        .map(|entry| {
            (entry.descriptor.digest.clone(), reason(entry.descriptor).unwrap_or_default())
        })
        .collect()
}
