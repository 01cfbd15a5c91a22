//! A captured disk becomes a version.

use imgbake_build::{BuildError, BuildErrorKind, Capture, Naming};
use imgbake_types::record::{DiskRecord, ImageConfig, VersionView};
use imgbake_types::reference::is_name;
use imgbake_types::{VersionName, version::is_tag};

use crate::Result;
use crate::change::{self, Change};
use crate::index::Index;
use crate::oci::{
    Annotations, CONFIG, CREATED, Config, DESCRIPTION, Execution, IMAGE, Manifest, RootFs, TITLE,
    VERSION,
};
use crate::store::Store;
use crate::tags::{is_hidden, number_of_day};

/// Stores a version: blobs, manifest, tag.
pub(crate) fn publish(
    store: &Store,
    capture: &Capture,
    mut config: ImageConfig,
    naming: &Naming,
) -> Result<VersionView> {
    if !is_name(&config.name) {
        return Err(usage(format!("`{}` is no image name", config.name)));
    }
    change::settle(&capture.segments)?;
    let mut change = Change::begin(store)?;
    config.version = pick(&change.index, &config.name, naming)?;
    config.disk = DiskRecord {
        sha256: capture.sha256.clone(),
        virtual_size: capture.virtual_size,
        stored_bytes: capture.stored_bytes(),
        data_bytes: capture.data_bytes,
    };
    let layers = capture.segments.iter().map(|segment| change.segment(segment)).collect();
    let document = change.document(CONFIG, &oci_config(capture, &config))?;
    let mut manifest = Manifest::new(IMAGE, document, layers);
    manifest.annotations = annotations(&config);
    let descriptor = change.manifest(&manifest)?;
    change.index.set(&config.name, config.version.as_str(), descriptor.clone());
    change.commit()?;
    Ok(VersionView::new(config, descriptor.digest, Vec::new(), None))
}

/// The new version's name. It was never used: tags of versions do not go.
fn pick(index: &Index, name: &str, naming: &Naming) -> Result<VersionName> {
    let version = match naming {
        Naming::Fixed(version) => version.clone(),
        Naming::Dated { day } => {
            let tags = index.tagged().filter(|entry| entry.name == name);
            let last = tags.filter_map(|entry| number_of_day(entry.tag, day)).max().unwrap_or(0);
            let next = last
                .checked_add(1)
                .ok_or_else(|| usage(format!("{name} has no number left for {day}")))?;
            VersionName::dated(day, next)
        }
    };
    let tag = version.as_str();
    if !is_tag(tag) || is_hidden(tag) {
        return Err(usage(format!(
            "`{tag}` cannot be a version: it is no tag, or one of the registry's own"
        )));
    }
    match index.find(name, tag) {
        None => Ok(version),
        Some(_) => Err(usage(format!(
            "{name}:{tag} exists already, and what a version names never changes"
        ))
        .help("choose another `[publish] version`, or leave it out to get the day's next number")),
    }
}

fn usage(text: String) -> BuildError {
    BuildError::new(BuildErrorKind::Usage, text)
}

fn oci_config(capture: &Capture, config: &ImageConfig) -> Config {
    Config {
        created: config.created.to_string(),
        architecture: config.arch.oci_name().to_owned(),
        os: "linux".to_owned(),
        execution: Execution { labels: config.labels.clone() },
        rootfs: RootFs {
            kind: "layers".to_owned(),
            diff_ids: capture.segments.iter().map(|segment| segment.digest.clone()).collect(),
        },
        image: config.clone(),
    }
}

/// The author's labels, and OCI's own annotations over them.
fn annotations(config: &ImageConfig) -> Annotations {
    let mut annotations = config.labels.clone();
    let own = [
        (TITLE, Some(config.name.clone())),
        (VERSION, Some(config.version.to_string())),
        (CREATED, Some(config.created.to_string())),
        (DESCRIPTION, config.description.clone()),
    ];
    annotations.extend(own.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?))));
    annotations
}
