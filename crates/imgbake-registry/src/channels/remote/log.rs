//! A channel's records in a repository: each under a tag of its own, for good.

use std::collections::HashMap;

use futures::{StreamExt, TryStreamExt};
use imgbake_build::{BuildError, BuildErrorKind};
use imgbake_oci::{RawManifest, Repository};
use imgbake_runtime::Cancel;
use imgbake_runtime::retry::Backoff;
use imgbake_types::record::{ChannelState, RecordedMove, VersionRef};
use imgbake_types::tag::{ChannelTag, ChannelTagKind, LONGEST};
use imgbake_types::{ChannelName, Digest, Target, VersionName};

use super::document;
use super::view::View;
use crate::Result;
use crate::channels::chain::{Chain, Link};
use crate::files::damaged;
use crate::oci::VERSION;
use crate::pull::index_of;
use crate::tags;

/// Records that are read at once.
const PARALLEL: usize = 6;
/// How often a tag is looked for that was just listed.
const LOOKS: u32 = 5;

/// A channel's tags in a repository.
#[derive(Debug, Clone, Copy)]
pub(super) struct Log<'a> {
    pub(super) repository: &'a Repository,
    pub(super) channel: &'a ChannelName,
    pub(super) cancel: &'a Cancel,
}

impl Log<'_> {
    /// `HOST/NAME:CHANNEL`
    pub(super) fn label(&self) -> String {
        format!("{}:{}", self.repository.label(), self.channel)
    }

    pub(super) fn owner(&self) -> String {
        format!("the history of {}", self.label())
    }

    /// One of the channel's tags.
    pub(super) fn tag(&self, kind: ChannelTagKind) -> Result<String> {
        let tag = ChannelTag { channel: self.channel.as_str(), kind }.to_string();
        if tag.len() <= LONGEST {
            return Ok(tag);
        }
        let text = format!(
            "the channel's name `{}` is too long for a registry: tags have {} characters at most",
            self.channel, LONGEST
        );
        Err(BuildError::new(BuildErrorKind::Usage, text))
    }

    /// What the repository's tags say of the channel now.
    pub(super) async fn view(&self) -> Result<View> {
        Ok(View::of(&self.repository.tags().await?, self.channel.as_str()))
    }

    /// Where the channel is by what its tags say.
    pub(super) async fn state(&self, view: &View) -> Result<ChannelState> {
        let head = match view.last() {
            Some(number) => Some(self.record(number).await?),
            None if view.has_head => self.before_tags().await?.into_iter().next(),
            None => None,
        };
        let target = match &head {
            Some(head) => Some(head.entry.to.clone()),
            None => self.foreign().await?,
        };
        Ok(ChannelState { head, target })
    }

    /// The record of a number.
    pub(super) async fn record(&self, number: u64) -> Result<RecordedMove> {
        let tag = self.tag(ChannelTagKind::Record(number))?;
        let found = self.listed(&tag).await?;
        let owner = self.owner();
        let link = match found {
            Some(record) => document::link(self.repository, &record, &owner).await?,
            None => return Err(damaged(format!("{owner} lacks its move {number}"))),
        };
        match link.numbered() {
            Some(moved) if moved.entry.number == number => Ok(moved),
            _ => Err(damaged(format!("{owner} has another move under the tag {tag}"))),
        }
    }

    /// What a tag that was listed names. Registries can lose sight of a tag for a moment while it is
    /// written.
    pub(super) async fn listed(&self, tag: &str) -> Result<Option<RawManifest>> {
        let target = Target::Tag(tag.to_owned());
        let mut backoff = Backoff::default();
        for _ in 0..LOOKS {
            if let Some(found) = self.repository.manifest(&target).await? {
                return Ok(Some(found));
            }
            self.cancel.run(backoff.wait()).await?;
        }
        Ok(None)
    }

    /// All moves, newest first.
    pub(super) async fn history(&self) -> Result<Vec<RecordedMove>> {
        let view = self.view().await?;
        let Some(last) = view.last() else {
            if view.has_head {
                return self.before_tags().await;
            }
            return Err(BuildError::new(
                BuildErrorKind::NotFound,
                format!("there is no history of {}", self.label()),
            )
            .help(format!("`imgbake images {}` lists channels", self.repository.label())));
        };
        let owner = self.owner();
        let numbers: Vec<u64> = view.records.iter().copied().collect();
        let read: Vec<Option<Link>> = futures::stream::iter(numbers)
            .map(async |number| {
                let tag = Target::Tag(self.tag(ChannelTagKind::Record(number))?);
                document::record(self.repository, &tag, &owner).await
            })
            .buffered(PARALLEL)
            .try_collect()
            .await?;
        let read = read.into_iter().flatten();
        let known = read.map(|link| (link.record().clone(), link)).collect();
        let newest = self.record(last).await?.record;
        self.chain(newest, known).await
    }

    /// The records of a channel whose records have no tags of their own: other tools copied it.
    async fn before_tags(&self) -> Result<Vec<RecordedMove>> {
        let tag = tags::history(self.channel.as_str());
        match self.listed(&tag).await? {
            Some(head) => self.chain(head.digest, HashMap::new()).await,
            None => Ok(Vec::new()),
        }
    }

    /// Follows the records from the newest one on.
    async fn chain(
        &self,
        newest: Digest,
        mut known: HashMap<Digest, Link>,
    ) -> Result<Vec<RecordedMove>> {
        let owner = self.owner();
        let mut chain = Chain::new(&owner);
        let mut next = Some(newest);
        while let Some(digest) = next {
            let link = if let Some(link) = known.remove(&digest) {
                Some(link)
            } else {
                let target = Target::Digest(digest.clone());
                document::record(self.repository, &target, &owner).await?
            };
            let link = link.ok_or_else(|| damaged(format!("{owner} lacks the record {digest}")))?;
            next = chain.add(link)?;
        }
        chain.end()
    }

    /// What a channel without a history points at: another tool made it.
    async fn foreign(&self) -> Result<Option<VersionRef>> {
        let label = self.label();
        let target = Target::Tag(self.channel.as_str().to_owned());
        let Some(found) = self.repository.manifest(&target).await? else { return Ok(None) };
        let usage = |what: String| {
            Err(BuildError::new(BuildErrorKind::Usage, what)
                .help("choose a name such as dev, staging or prod"))
        };
        let channel = self.channel;
        let version = index_of(&found, &label)?;
        let name = version.and_then(|mut version| version.annotations.remove(VERSION));
        match name.map(|name| name.parse::<VersionName>()) {
            Some(Ok(version)) if version.as_str() != channel.as_str() => {
                Ok(Some(VersionRef { version, digest: found.digest }))
            }
            Some(Ok(_)) => usage(format!("`{channel}` cannot be a channel: {label} is a version")),
            _ => usage(format!(
                "`{channel}` cannot be a channel: {label} is no version that this imgbake can read"
            )),
        }
    }
}
