//! The channels of a repository.
//!
//! Registries do not compare before they write a tag. So a channel's records have tags of their own,
//! which are never moved, and who writes the next one is agreed on with further tags ([`contest`]). The
//! channel's own tag, which every OCI client reads, follows the newest record.

mod contest;
mod document;
mod log;
mod view;

use async_trait::async_trait;
use imgbake_build::{BuildError, BuildErrorKind, Channels};
use imgbake_oci::{ManifestName, OciErrorKind, RawManifest};
use imgbake_types::record::{ChannelState, ComposedMove, RecordedMove, Swap, VersionRef};
use imgbake_types::tag::{Ballot, ChannelTagKind};
use imgbake_types::{ChannelName, Target};

use self::contest::Contender;
use self::document::Proposal;
use self::log::Log;
use super::{check_number, checked};
use crate::Result;
use crate::files::damaged;
use crate::image::RemoteImage;
use crate::oci::Descriptor;

/// How often the tags are made to follow while others move the channel on.
const FOLLOWS: u32 = 10;
/// Claims and votes that are taken away after a move.
const SWEPT: usize = 50;

impl RemoteImage {
    fn log<'a>(&'a self, channel: &'a ChannelName) -> Log<'a> {
        Log { repository: &self.repository, channel, cancel: self.job.cancel() }
    }

    /// The version that a channel shall point at, if it is there.
    async fn target(&self, to: &VersionRef) -> Result<RawManifest> {
        let label = format!("{}:{}", self.repository.label(), to.version);
        let target = Target::Tag(to.version.to_string());
        let found = self.repository.manifest(&target).await?.ok_or_else(|| {
            BuildError::new(BuildErrorKind::NotFound, format!("there is no {label}"))
        })?;
        if found.digest != to.digest {
            return Err(damaged(format!("{label} is {}, not {}", found.digest, to.digest)));
        }
        Ok(found)
    }

    /// Makes the tags that other tools read follow the newest record, and takes away what is over.
    async fn follow(&self, log: Log<'_>) -> Result<()> {
        for _ in 0..FOLLOWS {
            let view = log.view().await?;
            let Some(number) = view.last() else { return Ok(()) };
            let head = log.record(number).await?;
            self.point(log, &head).await?;
            if log.view().await?.last() == Some(number) {
                return self.sweep(log).await;
            }
        }
        Ok(()) // whoever moves it on does the same
    }

    /// Points the channel's tag at its version, and its history's tag at the newest record.
    async fn point(&self, log: Log<'_>, head: &RecordedMove) -> Result<()> {
        let version = Target::Digest(head.entry.to.digest.clone());
        let record = Target::Digest(head.record.clone());
        let channel = log.channel.as_str().to_owned();
        for (tag, target) in [(channel, version), (log.tag(ChannelTagKind::Head)?, record)] {
            let there = self.repository.tagged(&tag).await?;
            if there.is_some_and(|there| target == Target::Digest(there)) {
                continue;
            }
            let manifest = self.repository.manifest(&target).await?.ok_or_else(|| {
                damaged(format!("{} lacks the manifest that {tag} should name", log.owner()))
            })?;
            self.repository.put_manifest(ManifestName::Tag(&tag), &manifest).await?;
        }
        Ok(())
    }

    /// Takes claims and votes away that count no more. Many registries let nobody do that: they stay.
    async fn sweep(&self, log: Log<'_>) -> Result<()> {
        for kind in log.view().await?.over().into_iter().take(SWEPT) {
            let target = Target::Tag(log.tag(kind)?);
            let Some(found) = self.repository.manifest(&target).await? else { continue };
            if !document::is_of_contest(&found) {
                continue;
            }
            match self.repository.delete_manifest(&found.digest).await {
                Ok(true) => {}
                Err(error) if error.kind() == OciErrorKind::Cancelled => return Err(error.into()),
                kept => {
                    tracing::debug!(?kept, "claims and votes that are over stay");
                    break;
                }
            }
        }
        Ok(())
    }
}

#[async_trait]
impl Channels for RemoteImage {
    async fn state(&self, channel: &ChannelName) -> Result<ChannelState> {
        let log = self.log(channel);
        log.state(&log.view().await?).await
    }

    async fn history(&self, channel: &ChannelName) -> Result<Vec<RecordedMove>> {
        self.log(channel).history().await
    }

    async fn swap(&self, composed: &ComposedMove) -> Result<Swap> {
        let entry = composed.entry();
        let log = self.log(checked(&entry.channel)?);
        let version = self.target(&entry.to).await?;
        let state = log.state(&log.view().await?).await?;
        if !state.expects(entry) {
            return Ok(Swap::Lost(state));
        }
        check_number(&state, entry)?;
        let size = version.bytes.len() as u64;
        let version = Descriptor::new(&version.media_type, version.digest, size);
        let own = Proposal::store(&self.repository, composed, &version).await?;
        let record = own.record.digest.clone();
        let nonce = Ballot::nonce(&uuid::Uuid::new_v4().simple().to_string());
        let number = entry.number;
        let contender = Contender { log, number, own, nonce, patience: self.patience };
        contender.decide().await?;
        self.settle(&entry.channel).await?;
        if log.record(number).await?.record == record {
            return Ok(Swap::Moved(composed.recorded(record)));
        }
        Ok(Swap::Lost(log.state(&log.view().await?).await?))
    }

    async fn settle(&self, channel: &ChannelName) -> Result<()> {
        let log = self.log(channel);
        self.follow(log).await.map_err(|error| {
            let what = format!("{} was moved, and its tag may not follow yet", log.label());
            BuildError::new(error.kind(), what).because(error).help("run the command again")
        })
    }
}
