//! Records of verifying, as referrers of a version (image-spec v1.1, manifest.md, `subject`), found
//! through the fallback tag (distribution-spec v1.1, "Referrers Tag Schema").

use imgbake_build::{BuildError, BuildErrorKind};
use imgbake_types::Digest;
use imgbake_types::record::VerifyRecord;

use crate::Result;
use crate::change::Change;
use crate::files::damaged;
use crate::index::{Index, Tagged};
use crate::oci::{CREATED, Manifest, VERIFY};
use crate::store::Store;
use crate::tags;
use crate::versions::of_name;

/// Adds a record to a version.
pub(crate) fn record(store: &Store, name: &str, record: &VerifyRecord) -> Result<()> {
    let mut change = Change::begin(store)?;
    let entry =
        of_name(&change.index, name).find(|entry| entry.descriptor.digest == record.subject);
    let subject = entry.map(|entry| entry.descriptor.bare()).ok_or_else(|| {
        BuildError::new(
            BuildErrorKind::NotFound,
            format!("there is no version {name}@{}", record.subject),
        )
    })?;
    let tag = tags::referrers(&record.subject);
    let mut referrers = referrers(store, change.index.find(name, &tag))?;

    let layer = change.document(VERIFY, record)?;
    let config = change.empty_config();
    let mut manifest = Manifest::new(VERIFY, config, vec![layer]);
    manifest.subject = Some(subject);
    manifest.annotations.insert(CREATED.to_owned(), record.time.to_string());
    let mut descriptor = change.manifest(&manifest)?;
    descriptor.annotations.clone_from(&manifest.annotations);
    // The same record again becomes the newest again.
    referrers.manifests.retain(|other| other.digest != descriptor.digest);
    referrers.manifests.push(descriptor);
    let list = change.nested_index(&referrers)?;
    change.index.set(name, &tag, list);
    change.commit()
}

/// The record that was added last to the list of what refers to a version, where it has one.
pub(crate) fn newest(
    store: &Store,
    list: Option<Tagged<'_>>,
    name: &str,
    digest: &Digest,
) -> Result<Option<VerifyRecord>> {
    let owner = format!("the verify record of {name}@{digest}");
    let known = referrers(store, list)?;
    let Some(manifest) = last_record(store, &known, &owner)? else { return Ok(None) };
    let [layer] = &manifest.layers[..] else {
        return Err(damaged(format!("{owner} has {} layers, not one", manifest.layers.len())));
    };
    let record: VerifyRecord = store.blobs.json(layer, &owner)?;
    if record.subject != *digest {
        return Err(damaged(format!("{owner} is about another version, {}", record.subject)));
    }
    Ok(Some(record))
}

fn last_record(store: &Store, known: &Index, owner: &str) -> Result<Option<Manifest>> {
    for entry in known.manifests.iter().rev() {
        // skopeo 1.9 leaves the type out when it copies a list: then the manifest itself tells.
        if entry.artifact_type.as_deref().is_none_or(|artifact| artifact == VERIFY) {
            let manifest: Manifest = store.blobs.json(entry, owner)?;
            if manifest.is(VERIFY) {
                return Ok(Some(manifest));
            }
        }
    }
    Ok(None)
}

fn referrers(store: &Store, list: Option<Tagged<'_>>) -> Result<Index> {
    match list {
        Some(entry) => store.blobs.json(entry.descriptor, &entry.label()),
        None => Ok(Index::default()),
    }
}
