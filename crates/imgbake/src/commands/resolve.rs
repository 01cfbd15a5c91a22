//! `imgbake resolve`: the digest that a reference means now, for other tools.

use imgbake_bless::trust::check_channel;
use imgbake_build::{BuildError, Image};
use imgbake_runtime::Secrets;
use imgbake_types::{ChannelName, Digest, Reference, VersionName};
use serde::Serialize;

use crate::app::{App, conclude};
use crate::cli::{EventArgs, RemoteArgs};
use crate::failure::Failure;
use crate::images;

/// What a deployment needs.
#[derive(Serialize)]
struct Resolved {
    /// `[HOST/]NAME@sha256:…`
    reference: String,
    name: String,
    version: VersionName,
    digest: Digest,
    /// The key that signed the channel's newest record, where the channel has keys.
    #[serde(skip_serializing_if = "Option::is_none")]
    signed_by: Option<String>,
    virtual_size: u64,
    arch: String,
    channels: Vec<String>,
}

/// Prints it.
pub(super) async fn run(
    app: &App,
    reference: &Reference,
    remote: &RemoteArgs,
    json: bool,
) -> Result<(), Failure> {
    if reference.host.is_some() {
        images::remote_target(reference)?;
    }
    let (job, listener) = app.begin_quiet("resolve", &EventArgs::default(), Secrets::default())?;
    let resolving = async {
        let image = images::image(&job, &app.config, reference, remote).await?;
        let version = image.version(reference.target.as_ref()).await?;
        let signed_by = trusted(app, &*image, reference, &version.digest).await?;
        let label = image.label();
        Ok::<_, Failure>(Resolved {
            reference: format!("{label}@{}", version.digest),
            name: version.name,
            version: version.version,
            digest: version.digest,
            signed_by,
            virtual_size: version.disk.virtual_size,
            arch: version.arch.to_string(),
            channels: version.channels,
        })
    };
    let resolved =
        job.cancel().run(resolving).await.map_err(|error| BuildError::from(error).into());
    let resolved = conclude(job, listener, resolved.and_then(|resolved| resolved)).await?;
    if json { app.print_json(&resolved) } else { app.print(&format!("{}\n", resolved.reference)) }
}

/// Checks the signature of a channel that has keys; gives the key that signed its newest record. A reference that names a
/// version or a digest needs none: its bytes never change.
pub(super) async fn trusted(
    app: &App,
    image: &dyn Image,
    reference: &Reference,
    digest: &Digest,
) -> Result<Option<String>, Failure> {
    let channel = reference.tag_name().and_then(|tag| tag.parse::<ChannelName>().ok());
    let Some(channel) = channel else { return Ok(None) };
    let keys = app.config.channels.keys(&channel);
    if keys.is_empty() {
        return Ok(None);
    }
    Ok(Some(check_channel(image, &channel, digest, keys).await?.to_string()))
}
