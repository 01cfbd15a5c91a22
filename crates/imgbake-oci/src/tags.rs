//! Tags: listing them, and moving them where no registry compares before it swaps.

use std::collections::BTreeSet;

use imgbake_http::header::LINK;
use imgbake_http::{Request, Response, StatusCode, Url, resolve_redirect};
use imgbake_runtime::retry::Backoff;
use imgbake_types::version::is_tag;
use imgbake_types::{Digest, Target};
use serde::Deserialize;

use crate::Result;
use crate::links::{Pages, next_of};
use crate::manifests::{ManifestName, RawManifest};
use crate::remote::Repository;
use crate::request::status_error;
use crate::{OciError, OciErrorKind};

/// Tags that are asked for at a time.
const PAGE: usize = 1000;
/// The longest page that is read, in bytes: there are registries that give all tags at once.
const LONGEST: usize = 32 << 20;
/// How often a tag that was just written is looked for.
const LOOKS: u32 = 5;
/// The most tags of a repository that are listed.
const MOST: usize = 1_000_000;

#[derive(Deserialize)]
struct Page {
    /// Some registries write `null` for none.
    tags: Option<Vec<String>>,
}

impl Repository {
    /// Every tag, in order (distribution-spec v1.1, "Listing Tags"); none where there is no such
    /// repository. What cannot be a tag is left out.
    ///
    /// # Errors
    /// The registry cannot be reached or refuses; a million tags.
    pub async fn tags(&self) -> Result<BTreeSet<String>> {
        let mut tags = BTreeSet::new();
        let mut url = self.url("tags/list");
        url.set_query(Some(&format!("n={PAGE}")));
        let mut retry = self.retry(format!("list the tags of {}", self.label()));
        let mut pages = Pages::new(&url);
        loop {
            let (page, next) = match self.page(&url).await {
                Ok(page) => page,
                Err(error) => {
                    retry.after(error).await?;
                    continue;
                }
            };
            retry.progressed();
            tags.extend(page.tags.into_iter().flatten().filter(|tag| is_tag(tag)));
            if tags.len() > MOST {
                let what = format!("{} has more than {MOST} tags", self.label());
                return Err(OciError::failed(what));
            }
            match pages.follow(next, &self.label())? {
                Some(next) => url = next,
                None => return Ok(tags),
            }
        }
    }

    async fn page(&self, url: &Url) -> Result<(Page, Option<Url>)> {
        let answer = self.remote.send(Request::get(url.clone()), &self.pull()).await?;
        match answer.status() {
            StatusCode::OK => {}
            StatusCode::NOT_FOUND => return Ok((Page { tags: None }, None)),
            _ => return Err(status_error(answer, &self.label()).await),
        }
        let next = self.next_page(url, &answer)?;
        let body = answer.bytes(LONGEST).await?;
        let page = serde_json::from_slice(&body).map_err(|error| {
            let what = format!("{} answers the question for its tags with no list", self.label());
            OciError::failed(what).because(error)
        })?;
        Ok((page, next))
    }

    /// The URL of the next page (RFC 8288), which must be the registry's own.
    pub(crate) fn next_page(&self, url: &Url, answer: &Response) -> Result<Option<Url>> {
        let links = answer.headers().get_all(LINK);
        let Some(target) = links.iter().find_map(|value| next_of(value.to_str().ok()?)) else {
            return Ok(None);
        };
        let next = resolve_redirect(url, Some(&target))?;
        if self.remote.endpoint().owns(&next) {
            return Ok(Some(next));
        }
        let what = format!("{} leads to another host for its next page", self.label());
        Err(OciError::failed(what))
    }

    /// What a tag points at now.
    ///
    /// # Errors
    /// Those of [`Repository::manifest`].
    pub async fn tagged(&self, tag: &str) -> Result<Option<Digest>> {
        let found = self.manifest(&Target::Tag(tag.to_owned())).await?;
        Ok(found.map(|manifest| manifest.digest))
    }

    /// Gives a manifest a tag that never changes. It is no error where the tag names it already.
    ///
    /// # Errors
    /// [`OciErrorKind::Refused`]: the tag names something else, before or right after.
    pub async fn name_for_good(&self, tag: &str, manifest: &RawManifest) -> Result<()> {
        if self.refuse_other(tag, manifest).await? {
            return Ok(());
        }
        self.put_and_look(tag, manifest).await
    }

    /// Refuses a tag that names something else; gives whether it names this.
    pub async fn refuse_other(&self, tag: &str, manifest: &RawManifest) -> Result<bool> {
        let there = match self.tagged(tag).await? {
            None => return Ok(false),
            Some(there) if there == manifest.digest => return Ok(true),
            Some(there) => there,
        };
        let (name, new) = (self.label(), manifest.digest.short());
        let what = format!(
            "{name}:{tag} exists already, and what a version names never changes: it is {}, not {new}",
            there.short()
        );
        Err(OciError::new(OciErrorKind::Refused, what).help("give the version another tag there"))
    }

    /// Points a tag at a manifest if it points where the caller believes: read, check, write, read
    /// again, since registries compare nothing themselves. Two who write within one round trip can
    /// both believe that they won: what must not be lost is reported by records beside the tag.
    ///
    /// # Errors
    /// [`OciErrorKind::Refused`]: somebody else moved the tag.
    pub async fn move_tag(
        &self,
        tag: &str,
        believed: Option<&Digest>,
        manifest: &RawManifest,
    ) -> Result<()> {
        let there = self.tagged(tag).await?;
        if there.as_ref() != believed {
            return Err(self.lost(tag, there.as_ref()));
        }
        self.put_and_look(tag, manifest).await
    }

    async fn put_and_look(&self, tag: &str, manifest: &RawManifest) -> Result<()> {
        self.put_manifest(ManifestName::Tag(tag), manifest).await?;
        let mut there = self.tagged(tag).await?;
        let mut backoff = Backoff::default();
        // A tag that another client has written at the same time can be unreadable for a moment.
        for _ in 0..LOOKS {
            if there.is_some() {
                break;
            }
            self.remote.job().cancel().run(backoff.wait()).await?;
            there = self.tagged(tag).await?;
        }
        if there.as_ref() == Some(&manifest.digest) {
            return Ok(());
        }
        Err(self.lost(tag, there.as_ref()))
    }

    fn lost(&self, tag: &str, there: Option<&Digest>) -> OciError {
        let name = self.label();
        let there = there.map_or("nothing", Digest::short);
        let what = format!("somebody else moved {name}:{tag} meanwhile: it points at {there} now");
        OciError::new(OciErrorKind::Refused, what).help("look at what is there, then try again")
    }
}
