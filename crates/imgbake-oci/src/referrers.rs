//! What refers to a manifest: by the registry's own list, or by tags where it has none.
//!
//! Without the referrers API a list stands under the tag `sha256-HEX` (distribution-spec v1.1,
//! "Referrers Tag Schema"). Of several who write it at once all but one lose their entry, so each
//! referrer has a tag of its own as well, `sha256-HEX.DIGITS`: nothing is lost, and no registry's own
//! clean-up takes what only a `subject` holds. For the same reason what only an index holds has a tag
//! there, `sha256-HEX.held-DIGITS`: docker-registry's `--delete-untagged` does not look into indexes.

use std::collections::BTreeSet;
use std::time::Duration;

use imgbake_http::header::{ACCEPT, HeaderValue};
use imgbake_http::{Request, StatusCode, Url};
use imgbake_runtime::retry::Backoff;
use imgbake_types::{Digest, Target};
use serde::Deserialize;
use tokio::sync::OnceCell;

use crate::Result;
use crate::document::{Annotations, Descriptor, INDEX, or_default};
use crate::index::Index;
use crate::links::Pages;
use crate::manifests::{LONGEST_READ, LONGEST_WRITTEN, ManifestName, RawManifest};
use crate::remote::Repository;
use crate::request::status_error;
use crate::{OciError, OciErrorKind};

/// Digits of a referrer's digest in its own tag.
const DIGITS: usize = 16;
/// How often the list is written when others write it too.
const ATTEMPTS: u32 = 6;
/// The most referrers of one manifest that are read.
const MOST: usize = 10_000;

/// What a descriptor says of a referrer, in the referrer itself.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Referrer {
    #[serde(default)]
    artifact_type: Option<String>,
    #[serde(default)]
    config: Option<Descriptor>,
    #[serde(default)]
    subject: Option<Descriptor>,
    #[serde(default, deserialize_with = "or_default")]
    annotations: Annotations,
}

impl Repository {
    /// Everything that refers to a manifest, of every kind: the registry's own list and the tags',
    /// joined. What they name may be gone, or refer to something else: whoever reads it must look.
    /// `tags` are the repository's: they are listed where they are needed and not known.
    pub async fn referrers(
        &self,
        subject: &Digest,
        tags: &OnceCell<BTreeSet<String>>,
    ) -> Result<Vec<Descriptor>> {
        let listed = self.listed(subject).await?;
        let mut all = self.fallback(subject).await?;
        let more = if let Some(listed) = listed {
            listed
        } else {
            let tags = tags.get_or_try_init(|| self.tags()).await?;
            self.by_own_tags(subject, &all, tags).await?
        };
        join(&mut all, more);
        Ok(all)
    }

    /// Stores a manifest with a subject so that it is found from there.
    pub async fn put_referrer(&self, subject: &Digest, manifest: &RawManifest) -> Result<()> {
        if self.put_manifest(ManifestName::Digest, manifest).await? {
            self.set_lists_referrers(true);
            return Ok(());
        }
        // A registry may have the API and not say so.
        if let Some(listed) = self.listed(subject).await?
            && listed.iter().any(|entry| entry.digest == manifest.digest)
        {
            return Ok(());
        }
        self.put_manifest(ManifestName::Tag(&own_tag(subject, &manifest.digest)), manifest).await?;
        let entry = describe(manifest)?.1;
        let mut backoff = Backoff::new(Duration::from_millis(20), Duration::from_secs(1));
        for attempt in 0..ATTEMPTS {
            let mut list = self.fallback(subject).await?;
            if list.iter().any(|other| other.digest == entry.digest) {
                return Ok(());
            }
            if attempt > 0 {
                // Somebody else writes too: what they lost is put back with this one's own.
                let tagged = self.by_own_tags(subject, &list, &self.tags().await?).await?;
                join(&mut list, tagged);
            }
            let mut list = self.present(list).await?;
            join(&mut list, vec![entry.clone()]);
            let Some(list) = document(list)? else {
                tracing::warn!(%subject, "too many referrers for one list: the tags have them all");
                return Ok(());
            };
            match self.put_manifest(ManifestName::Tag(&tag(subject)), &list).await {
                Ok(_) => {}
                // One that takes the tag for a digest takes no list there.
                Err(error) if error.is_transient() || error.kind() == OciErrorKind::Cancelled => {
                    return Err(error);
                }
                Err(error) => {
                    tracing::warn!(%subject, %error, "no list of referrers can be stored: the tags have them");
                    return Ok(());
                }
            }
            let cancel = self.remote.job().cancel();
            cancel.run(backoff.wait()).await?;
        }
        Ok(()) // the list lacks it for now; its own tag does not
    }

    /// Leaves out what is gone: a registry may refuse a list that names it.
    async fn present(&self, list: Vec<Descriptor>) -> Result<Vec<Descriptor>> {
        let mut present = Vec::new();
        for entry in list {
            if self.has_manifest(&entry.digest).await? {
                present.push(entry);
            }
        }
        Ok(present)
    }

    /// Sees to it that a manifest, which an index leads to, outlives the registry's own clean-up.
    pub async fn hold(&self, index: &Digest, manifest: &RawManifest) -> Result<()> {
        if self.listed(index).await?.is_some() {
            return Ok(()); // those with the API know what an index holds
        }
        let digits = &manifest.digest.hex()[..DIGITS];
        let tag = format!("{}.held-{digits}", tag(index));
        self.put_manifest(ManifestName::Tag(&tag), manifest).await.map(|_| ())
    }

    /// The registry's own list (distribution-spec v1.1, "Listing Referrers"); `None` where it has none.
    async fn listed(&self, subject: &Digest) -> Result<Option<Vec<Descriptor>>> {
        if self.lists_referrers() == Some(false) {
            return Ok(None);
        }
        let mut url = self.url(&format!("referrers/{subject}"));
        let mut retry = self.retry(format!("list what refers to {subject} in {}", self.label()));
        let mut all = Vec::new();
        let mut pages = Pages::new(&url);
        loop {
            let (page, next) = match self.referrers_page(&url).await {
                Ok(Some(page)) => page,
                Ok(None) if all.is_empty() => return Ok(None),
                Ok(None) => {
                    let what =
                        format!("{} ends its list of referrers before its end", self.label());
                    return Err(OciError::failed(what));
                }
                Err(error) => {
                    retry.after(error).await?;
                    continue;
                }
            };
            self.set_lists_referrers(true);
            retry.progressed();
            join(&mut all, page);
            self.bound(subject, all.len())?;
            match pages.follow(next, &self.label())? {
                Some(next) => url = next,
                None => return Ok(Some(all)),
            }
        }
    }

    async fn referrers_page(&self, url: &Url) -> Result<Option<(Vec<Descriptor>, Option<Url>)>> {
        let mut request = Request::get(url.clone());
        request.headers.insert(ACCEPT, HeaderValue::from_static(INDEX));
        let answer = self.remote.send_optional(request, &self.pull()).await?;
        let status = answer.status();
        let is_refusal = (status.is_client_error() && status != StatusCode::TOO_MANY_REQUESTS)
            || status == StatusCode::NOT_IMPLEMENTED;
        if is_refusal {
            // Registries of before v1.1 know no such path, each in its own way. One that has it may still
            // refuse one question, which says nothing of the others.
            if self.lists_referrers().is_none() {
                self.set_lists_referrers(false);
            }
            return Ok(None);
        }
        if status != StatusCode::OK {
            return Err(status_error(answer, &self.label()).await);
        }
        let next = self.next_page(url, &answer)?;
        let body = answer.bytes(LONGEST_READ).await?;
        // What answers every path with a page of its own has no such list.
        let page = serde_json::from_slice::<Index>(&body).ok().map(|index| index.manifests.into());
        if page.is_none() && self.lists_referrers() == Some(true) {
            let what = format!("{} answers the question for referrers with no index", self.label());
            return Err(OciError::failed(what));
        }
        Ok(page.map(|page| (page, next)))
    }

    /// The list under the fallback tag.
    async fn fallback(&self, subject: &Digest) -> Result<Vec<Descriptor>> {
        let tag = self::tag(subject);
        let Some(found) = self.manifest(&Target::Tag(tag.clone())).await? else {
            return Ok(Vec::new());
        };
        // A registry may take the tag for the digest, and answer with the subject itself.
        if found.digest == *subject || found.media_type != INDEX {
            tracing::debug!(%tag, "what stands under the tag is no list of referrers");
            return Ok(Vec::new());
        }
        let index: Index = serde_json::from_slice(&found.bytes).map_err(|error| {
            OciError::failed(format!("{}:{tag} is no list of referrers", self.label()))
                .because(error)
        })?;
        self.bound(subject, index.manifests.len())?;
        Ok(index.manifests.into())
    }

    /// The referrers that have tags of their own, without those that are known.
    async fn by_own_tags(
        &self,
        subject: &Digest,
        known: &[Descriptor],
        tags: &BTreeSet<String>,
    ) -> Result<Vec<Descriptor>> {
        let prefix = format!("{}.", tag(subject));
        let is_known =
            |digits: &str| known.iter().any(|entry| entry.digest.hex().starts_with(digits));
        let is_own =
            |digits: &str| digits.len() == DIGITS && digits.bytes().all(|b| b.is_ascii_hexdigit());
        let wanted: Vec<&String> = tags
            .iter()
            .filter(|tag| {
                tag.strip_prefix(&prefix).is_some_and(|digits| is_own(digits) && !is_known(digits))
            })
            .collect();
        self.bound(subject, wanted.len())?;
        let mut found = Vec::new();
        for tag in wanted {
            // One that was taken away meanwhile refers to nothing.
            let Some(manifest) = self.manifest(&Target::Tag(tag.clone())).await? else { continue };
            let (of, entry) = describe(&manifest)?;
            if of.as_ref() == Some(subject) {
                found.push(entry);
            }
        }
        Ok(found)
    }

    fn bound(&self, subject: &Digest, count: usize) -> Result<()> {
        if count <= MOST {
            return Ok(());
        }
        let what =
            format!("{} lists {count} referrers of {subject}: more than {MOST}", self.label());
        Err(OciError::failed(what))
    }
}

/// The tag under which what refers to a manifest is listed (distribution-spec v1.1, "Referrers Tag
/// Schema").
pub fn tag(digest: &Digest) -> String {
    format!("{}-{}", digest.algorithm().name(), digest.hex())
}

/// The tag of one referrer.
fn own_tag(subject: &Digest, referrer: &Digest) -> String {
    format!("{}.{}", tag(subject), &referrer.hex()[..DIGITS])
}

/// What a referrer refers to, and its entry in a list.
pub fn describe(manifest: &RawManifest) -> Result<(Option<Digest>, Descriptor)> {
    let referrer: Referrer = serde_json::from_slice(&manifest.bytes).map_err(|error| {
        OciError::failed(format!("the manifest {} cannot be read", manifest.digest)).because(error)
    })?;
    let size = manifest.bytes.len() as u64;
    let mut entry = Descriptor::new(&manifest.media_type, manifest.digest.clone(), size);
    entry.artifact_type =
        referrer.artifact_type.or(referrer.config.map(|config| config.media_type));
    entry.annotations = referrer.annotations;
    Ok((referrer.subject.map(|subject| subject.digest), entry))
}

/// Adds what is not there yet.
fn join(all: &mut Vec<Descriptor>, more: Vec<Descriptor>) {
    for entry in more {
        if !all.iter().any(|known| known.digest == entry.digest) {
            all.push(entry);
        }
    }
}

/// A list as a manifest; `None` where no registry would take it.
fn document(manifests: Vec<Descriptor>) -> Result<Option<RawManifest>> {
    let bytes = serde_json::to_vec(&Index { manifests: manifests.into(), ..Index::default() })
        .map_err(|error| OciError::failed("cannot write JSON").because(error))?;
    if bytes.len() > LONGEST_WRITTEN {
        return Ok(None);
    }
    let digest = Digest::sha256(&bytes);
    Ok(Some(RawManifest { digest, media_type: INDEX.to_owned(), bytes: bytes.into() }))
}
