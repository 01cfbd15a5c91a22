//! Removing one version by name, also one that cannot be read.

use imgbake_build::{BuildError, BuildErrorKind};
use imgbake_types::record::UnreadableVersion;
use imgbake_types::{Digest, Reference, Target};

use super::{hold, named_by, names, split};
use crate::reachable::Documents;
use crate::retired_names::RetiredNames;
use crate::store::Store;
use crate::{Result, lease, versions};

/// A version that has lost its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemovedVersion {
    /// The image.
    pub name: String,
    /// The version.
    pub version: String,
    /// Its digest.
    pub digest: Digest,
}

/// What is to be removed, as far as it is known.
struct Candidate {
    removed: RemovedVersion,
    channels: Vec<String>,
}

/// Takes a version's name away, with all that is attached to it. Its bytes go with a later collection.
///
/// # Errors
/// [`BuildErrorKind::Refused`]: a channel, a hold, a running pull or another version needs it.
pub(crate) fn remove(store: &Store, reference: &Reference) -> Result<RemovedVersion> {
    let _lock = store.lock()?;
    let mut index = store.index()?;
    let (readable, unreadable) = split(versions::list(store, &index, None));
    let Candidate { removed, channels } = find(store, reference, &unreadable)?;
    let RemovedVersion { name, version, digest } = &removed;
    let refused = |why: String| {
        let what = format!("{name}:{version} is not removed: {why}");
        BuildError::new(BuildErrorKind::Refused, what)
    };
    if !channels.is_empty() {
        let why = format!("the channel {} points at it", channels.join(", "));
        return Err(refused(why).help("promote another version there first"));
    }
    if let Some(reason) = hold::held(&index).get(digest) {
        let help = format!("`imgbake hold {name}:{version} --release` removes the hold");
        return Err(refused(format!("it is held: {reason}")).help(help));
    }
    if lease::held(store)?.contains(digest) {
        return Err(refused("it is being pulled".to_owned()).help("wait for the pull's end"));
    }
    let child = readable.iter().find(|other| {
        other.digest != *digest && other.parent.as_ref().is_some_and(|it| it.digest == *digest)
    });
    if let Some(child) = child {
        let why = format!("{}:{} is based on it", child.name, child.version);
        return Err(refused(why).help("remove that one first"));
    }
    let mut documents = Documents::new(store);
    let others: Vec<UnreadableVersion> =
        unreadable.iter().filter(|other| other.digest != *digest).cloned().collect();
    if let Some(other) = named_by(&mut documents, &index, &others).get(digest) {
        return Err(refused(format!("{other}, which cannot be read, may need it")));
    }
    names::untag(&mut documents, &mut index, [(name.as_str(), version.as_str())]);
    let mut retired = RetiredNames::read(store)?;
    retired.add(name, version, digest);
    retired.write(store)?;
    store.write_index(&index)?;
    Ok(removed)
}

fn find(
    store: &Store,
    reference: &Reference,
    unreadable: &[UnreadableVersion],
) -> Result<Candidate> {
    let named = |version: &&UnreadableVersion| {
        version.name == reference.name
            && match &reference.target {
                Some(Target::Tag(tag)) => version.version.as_str() == tag,
                Some(Target::Digest(digest)) => version.digest == *digest,
                None => false,
            }
    };
    if let Some(version) = unreadable.iter().find(named) {
        let removed = RemovedVersion {
            name: version.name.clone(),
            version: version.version.to_string(),
            digest: version.digest.clone(),
        };
        return Ok(Candidate { removed, channels: version.channels.clone() });
    }
    if reference.target.is_none() {
        let what = format!("which version of {reference}? Give {reference}:VERSION");
        return Err(BuildError::new(BuildErrorKind::Usage, what));
    }
    let version = versions::resolve(store, reference)?;
    let removed = RemovedVersion {
        name: version.name.clone(),
        version: version.version.to_string(),
        digest: version.digest.clone(),
    };
    Ok(Candidate { removed, channels: version.channels })
}
