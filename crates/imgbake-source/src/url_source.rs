//! A disk at a URL or path.

use async_trait::async_trait;
use camino::Utf8Path;
use imgbake_build::{
    BaseDisk, BuildError, BuildErrorKind, LocalDisk, Pin, SourceContext, SourceProvider,
};
use imgbake_http::{RetryPolicy, Url};
use imgbake_runtime::{Job, RuntimeError};
use imgbake_types::plan::{Checksum, Source, UrlSource as Spec};
use imgbake_types::record::Parent;
use imgbake_types::{Algorithm, Arch, Digest};
use secrecy::ExposeSecret;

use crate::client::SourceClient;
use crate::download::download;
use crate::error::SourceError;
use crate::location::{Location, open_file};
use crate::partial::Partial;
use crate::store::{Store, Stored};
use crate::{digest_cache, files, inspect, pin, sums};

/// Gets the disk of `[source] url`: raw or qcow2, plain or packed with xz, gzip or zstd.
#[derive(Debug, Clone, Default)]
pub struct UrlSource {
    pub(crate) retries: RetryPolicy,
    pub(crate) pin_limits: pin::Limits,
}

impl UrlSource {
    /// A source that is as patient as an unattended build should be.
    pub fn new() -> Self {
        Self::default()
    }
}

#[async_trait]
impl SourceProvider for UrlSource {
    fn knows(&self, source: &Source) -> bool {
        matches!(source, Source::Url(_))
    }

    fn check(&self, source: &Source) -> Result<(), BuildError> {
        let spec = spec_of(source)?;
        let checksum = match &spec.checksum {
            Checksum::Sums { location } => Some(location),
            Checksum::Digest { .. } | Checksum::Unverified => None,
        };
        for text in std::iter::once(&spec.location).chain(checksum) {
            // Nobody knows yet what a secret stands for.
            let text = imgbake_types::secret::reveal(text, |_| Some("secret"));
            if let Location::File(path) = Location::parse(&text)?
                && text == spec.location
            {
                open_file(&path)?;
            }
        }
        Ok(())
    }

    /// The digest that the checksum file gives; without a checksum, what the server says of its file's
    /// state. Where a server does not answer, what it said the last time.
    async fn pin(&self, job: &Job, source: &Source, _: Arch) -> Result<Pin, BuildError> {
        pin::pin(job, spec_of(source)?, self.pin_limits).await
    }

    async fn fetch(
        &self,
        context: &SourceContext<'_>,
        source: &Source,
    ) -> Result<BaseDisk, BuildError> {
        Ok(Fetch::new(context, spec_of(source)?, self.retries)?.run().await?)
    }
}

fn spec_of(source: &Source) -> Result<&Spec, SourceError> {
    match source {
        Source::Url(spec) => Ok(spec),
        _ => Err(SourceError::OtherSource("URL")),
    }
}

/// One fetch, its secrets revealed.
struct Fetch<'a> {
    context: &'a SourceContext<'a>,
    spec: &'a Spec,
    location: Location,
    /// What the user calls it, without secrets.
    name: String,
    client: SourceClient<'a>,
    store: Store,
}

impl<'a> Fetch<'a> {
    fn new(
        context: &'a SourceContext<'a>,
        spec: &'a Spec,
        retries: RetryPolicy,
    ) -> Result<Self, SourceError> {
        let job = context.job;
        let location = Location::parse(job.secrets().reveal(&spec.location).expose_secret())?;
        let origin = match &location {
            Location::Http(url) => Some(url),
            Location::File(_) => None,
        };
        let client = SourceClient::new((job, Some(context.stage)), &spec.headers, origin, retries)?;
        let name = job.secrets().redact(&location.to_string());
        let store = Store::open(job.home())?;
        Ok(Self { context, spec, location, name, client, store })
    }

    async fn run(&self) -> Result<BaseDisk, SourceError> {
        let expected = self.expected().await?;
        match &self.location {
            Location::Http(url) => self.remote(url, expected.as_ref()).await,
            Location::File(path) => self.local(path, expected.as_ref()).await,
        }
    }

    /// The digest that the bytes must have.
    async fn expected(&self) -> Result<Option<Digest>, SourceError> {
        match &self.spec.checksum {
            Checksum::Digest { digest } => Ok(Some(digest.clone())),
            Checksum::Sums { location } => {
                sums::digest_of(&self.client, location, &self.location.base_name()).await.map(Some)
            }
            Checksum::Unverified => {
                let why = format!(
                    "{} is used without a checksum: anyone on its way can change it",
                    self.name
                );
                self.context.job.events().warn(why);
                Ok(None)
            }
        }
    }

    async fn remote(&self, url: &Url, expected: Option<&Digest>) -> Result<BaseDisk, SourceError> {
        let cached = || expected.and_then(|digest| Some((digest, self.store.get(digest)?)));
        if let Some((digest, stored)) = cached() {
            return disk(stored, digest, None);
        }
        let of = expected.map_or_else(String::new, Digest::to_string);
        let partial = Digest::sha256(format!("{url}\0{of}"));
        // One digest is one download, from wherever; without one, one URL is.
        let name = expected.map_or_else(|| format!("url-{}", partial.hex()), Store::key);
        let _lock = self.lock(&name).await?;
        if let Some((digest, stored)) = cached() {
            return disk(stored, digest, None);
        }
        let partial = self.store.dir().join("partial").join(partial.hex());
        let (partial, digest) = self.download(url, &partial, expected).await?;
        let stored = match inspect::packing(partial.path())? {
            Some(packing) => {
                let packed = (partial.path(), packing);
                self.store.put_unpacked(self.context, &digest, packed, &self.name).await
            }
            None => inspect::virtual_size(partial.path(), &self.name)
                .and_then(|size| Ok(self.store.put(&digest, partial.path(), size)?)),
        };
        // What was wrong would be wrong again; but a full file system is not the download's fault.
        if !matches!(&stored, Err(error) if matches!(error.kind(), BuildErrorKind::Full | BuildErrorKind::Cancelled))
        {
            partial.discard()?;
        }
        disk(stored?, &digest, Some(partial.have))
    }

    /// Downloads and proves. A mixture with bytes of an earlier run gets a second try from zero.
    async fn download(
        &self,
        url: &Url,
        path: &Utf8Path,
        expected: Option<&Digest>,
    ) -> Result<(Partial, Digest), SourceError> {
        let (stage, cancel) = (self.context.stage, self.context.job.cancel());
        let algorithm = expected.map_or(Algorithm::Sha256, Digest::algorithm);
        loop {
            let mut partial = Partial::open(path.to_owned(), algorithm, stage, cancel).await?;
            download(&self.client, url, &mut partial, expected.is_some()).await?;
            let digest = partial.finish().await?;
            match expected {
                Some(expected) if *expected != digest => {
                    partial.discard()?;
                    if partial.kept == 0 {
                        return Err(self.mismatch(expected, digest, true));
                    }
                    stage.status("what an earlier run left does not fit: starting again");
                }
                _ => return Ok((partial, digest)),
            }
        }
    }

    async fn local(
        &self,
        path: &Utf8Path,
        expected: Option<&Digest>,
    ) -> Result<BaseDisk, SourceError> {
        let algorithm = expected.map_or(Algorithm::Sha256, Digest::algorithm);
        let (digest, cached) =
            digest_cache::digest(self.context, &self.store, path, algorithm).await?;
        if let Some(expected) = expected
            && *expected != digest
        {
            return Err(self.mismatch(expected, digest, false));
        }
        let Some(packing) = inspect::packing(path)? else {
            let virtual_size = inspect::virtual_size(path, &self.name)?;
            let stored = Stored { path: path.to_owned(), virtual_size, size: 0 };
            return disk(stored, &digest, (!cached).then_some(0));
        };
        let _lock = self.lock(&Store::key(&digest)).await?;
        if let Some(stored) = self.store.get(&digest) {
            return disk(stored, &digest, None);
        }
        let stored =
            self.store.put_unpacked(self.context, &digest, (path, packing), &self.name).await?;
        let bytes = stored.size;
        disk(stored, &digest, Some(bytes))
    }

    async fn lock(&self, name: &str) -> Result<files::Lock, RuntimeError> {
        let waiting = "waiting for another build that gets the same disk";
        files::lock(self.store.dir(), name, self.context.job.cancel(), self.context.stage, waiting)
            .await
    }

    fn mismatch(&self, expected: &Digest, got: Digest, removed: bool) -> SourceError {
        let (name, expected) = (self.name.clone(), expected.clone());
        SourceError::WrongChecksum { name, expected, got, removed }
    }
}

/// A base disk; `fetched` bytes were moved for it, or none because it was there.
fn disk(stored: Stored, digest: &Digest, fetched: Option<u64>) -> Result<BaseDisk, SourceError> {
    let local = LocalDisk {
        format: inspect::format(&stored.path)?,
        path: stored.path,
        virtual_size: stored.virtual_size,
        kernel: None,
        extra: Vec::new(),
    };
    Ok(BaseDisk {
        location: local.into(),
        parent: Parent {
            reference: None,
            native: None,
            digest: digest.clone(),
            kind: "url".to_owned(),
        },
        bytes: fetched.unwrap_or(0),
        cached: fetched.is_none(),
    })
}
