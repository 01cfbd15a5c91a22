//! A captured disk becomes a version.

use imgbake_build::{BuildError, BuildErrorKind, Capture, Naming, PlainFile};
use imgbake_types::record::format::Written;
use imgbake_types::record::{ImageConfig, VersionView};
use imgbake_types::reference::is_name;
use imgbake_types::spec::PlainFormat;
use imgbake_types::{Digest, VersionName, version::is_tag};
use serde_json::json;

use crate::Result;
use crate::change::{self, Change};
use crate::files::damaged;
use crate::index::Index;
use crate::oci::{
    Annotations, CHUNKED, CHUNKED_FORM, CONFIG, CREATED, Config, DESCRIPTION, Descriptor,
    Execution, FORM, IMAGE, Manifest, PACK, PLAIN, QCOW2, RAW_ZST, RootFs, TABLE, TITLE, VERSION,
};
use crate::retired_names::RetiredNames;
use crate::store::Store;
use crate::tags::{is_hidden, number_of_day};

/// What is in an image, in image-spec's words.
const OS: &str = "linux";

/// Stores a version: blobs, manifest, index, tag.
pub(crate) fn publish(
    store: &Store,
    capture: &Capture,
    mut config: ImageConfig,
    naming: &Naming,
) -> Result<VersionView> {
    if !is_name(&config.name) {
        return Err(usage(format!("`{}` is no image name", config.name)));
    }
    change::settle(capture)?;
    let table = capture.table.encode();
    config.disk = capture.disk_record(&table);
    let mut change = Change::begin(store)?;
    config.version = pick(&change.index, &RetiredNames::read(store)?, &config.name, naming)?;
    let layers = disk(store, &mut change, capture, table)?;
    let document = change.document(CONFIG, &oci_config(&layers, &config))?;
    let chunked = change.manifest(&Manifest::new(CHUNKED, document, layers))?;
    let mut manifests = vec![of_form(chunked, CHUNKED_FORM, &config)];
    if let Some(plain) = &capture.plain {
        manifests.push(plain_manifest(&mut change, plain, &config)?);
    }
    let version = Index {
        artifact_type: Some(IMAGE.to_owned()),
        manifests: manifests.into(),
        annotations: annotations(&config),
        ..Index::default()
    };
    let descriptor = change.nested_index(&version)?;
    change.index.set(&config.name, config.version.as_str(), descriptor.clone());
    change.commit()?;
    Ok(VersionView::new(config, descriptor.digest, Vec::new(), None))
}

/// Adds a captured disk: gives its chunk table and every pack that the table names, in its order.
///
/// # Errors
/// A pack of an older version, to which the capture refers, is not there any more.
fn disk(
    store: &Store,
    change: &mut Change<'_>,
    capture: &Capture,
    table: Vec<u8>,
) -> Result<Vec<Descriptor>> {
    let mut layers = vec![change.bytes(TABLE, table)];
    for pack in capture.table.packs() {
        let digest = Digest::from_sha256(&pack.sha256);
        let layer = match capture.packs.iter().find(|new| new.digest == digest) {
            Some(new) => change.file(PACK, new),
            None if store.blobs.has(&digest, pack.size) => Descriptor::new(PACK, digest, pack.size),
            None => {
                let words = format!(
                    "the pack {digest} of an older version went while a new one was made of it"
                );
                return Err(damaged(words).help("build again: it is stored anew"));
            }
        };
        layers.push(layer);
    }
    Ok(layers)
}

/// A manifest's descriptor in a version's index.
fn of_form(mut manifest: Descriptor, form: &str, config: &ImageConfig) -> Descriptor {
    // skopeo 1.9 leaves this key out when it copies an index, which would then have another digest.
    manifest.artifact_type = None;
    manifest.annotations.insert(FORM.to_owned(), form.to_owned());
    // image-spec, image-index.md, "platform": without it, tools find nothing in an index for this host.
    let platform = json!({ "architecture": config.arch.oci_name(), "os": OS });
    manifest.rest.insert("platform".to_owned(), platform);
    manifest
}

/// Adds the whole disk as one file, under a name by which other tools write it.
fn plain_manifest(
    change: &mut Change<'_>,
    plain: &PlainFile,
    config: &ImageConfig,
) -> Result<Descriptor> {
    let media_type = match plain.format {
        PlainFormat::Qcow2 => QCOW2,
        PlainFormat::RawZst => RAW_ZST,
    };
    let form = plain.format.extension();
    let name = config.name.rsplit('/').next().unwrap_or(&config.name);
    let mut layer = change.file(media_type, &plain.file);
    layer.annotations.insert(TITLE.to_owned(), format!("{name}-{}.{form}", config.version));
    let manifest = Manifest::new(PLAIN, change.empty_config(), vec![layer]);
    Ok(of_form(change.manifest(&manifest)?, form, config))
}

/// The new version's name. It was never used, by a version that is there or by one that is gone.
fn pick(index: &Index, retired: &RetiredNames, name: &str, naming: &Naming) -> Result<VersionName> {
    let version = match naming {
        Naming::Fixed(version) => version.clone(),
        Naming::Dated { day } => {
            let tags = index.tagged().filter(|entry| entry.name == name).map(|entry| entry.tag);
            let used = tags.chain(retired.versions(name));
            let last = used.filter_map(|tag| number_of_day(tag, day)).max().unwrap_or(0);
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
    let why = match (index.find(name, tag), retired.find(name, tag)) {
        (None, None) => return Ok(version),
        (Some(_), _) => "exists already",
        (None, Some(_)) => "was a version that gc took away",
    };
    Err(usage(format!("{name}:{tag} {why}, and what a version names never changes"))
        .help("choose another `[publish] version`, or leave it out to get the day's next number"))
}

fn usage(text: String) -> BuildError {
    BuildError::new(BuildErrorKind::Usage, text)
}

fn oci_config<'a>(layers: &[Descriptor], config: &'a ImageConfig) -> Config<'a> {
    Config {
        created: config.created.to_string(),
        architecture: config.arch.oci_name().to_owned(),
        os: OS.to_owned(),
        execution: Execution { labels: config.labels.clone() },
        rootfs: RootFs {
            kind: "layers".to_owned(),
            diff_ids: layers.iter().map(|layer| layer.digest.clone()).collect(),
        },
        image: Written(config),
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
