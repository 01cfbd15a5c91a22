//! Manifests: their bytes as they are, proved by their digests.

use bytes::Bytes;
use imgbake_http::header::{ACCEPT, CONTENT_TYPE, HeaderName, HeaderValue};
use imgbake_http::{Body, Method, Request, StatusCode};
use imgbake_types::{Algorithm, Digest, Target};
use serde::Deserialize;

use crate::Result;
use crate::document::{INDEX, MANIFEST};
use crate::remote::Repository;
use crate::request::status_error;
use crate::{OciError, OciErrorKind};

/// The longest manifest that is read, in bytes: what registries themselves take.
pub const LONGEST_READ: usize = 4 << 20;
/// The longest that is written, so that every registry takes it.
pub const LONGEST_WRITTEN: usize = 3 << 20;

/// Docker's manifest (distribution, manifest-v2-2.md).
pub const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
/// Docker's index.
pub const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
/// Every form of manifest that is known here.
pub const MANIFEST_TYPES: [&str; 4] = [INDEX, MANIFEST, DOCKER_LIST, DOCKER_MANIFEST];

/// The digest of the manifest that a stored one refers to: the registry has the referrers API
/// (distribution-spec v1.1, "Pushing Manifests with Subject").
const OCI_SUBJECT: HeaderName = HeaderName::from_static("oci-subject");

/// A manifest's bytes as they are stored, and what they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawManifest {
    /// The digest of the bytes.
    pub digest: Digest,
    /// One of OCI's or Docker's types of manifests.
    pub media_type: String,
    /// The document.
    pub bytes: Bytes,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Typed {
    #[serde(default)]
    media_type: Option<String>,
}

impl RawManifest {
    /// Proves a document: its bytes are those of the digest, if one was asked for, and what it says of
    /// itself is what was said of it (image-spec, manifest.md: a document of two types is an attack).
    /// `owner` is where it came from, for errors.
    pub fn prove(
        bytes: &Bytes,
        said: Option<&str>,
        wanted: Option<&Digest>,
        owner: &str,
    ) -> Result<Self> {
        let digest = Digest::sha256(bytes);
        if let Some(wanted) = wanted.filter(|wanted| **wanted != digest) {
            let what =
                format!("{owner} gives another manifest than {wanted}: its digest is {digest}");
            return Err(OciError::failed(what)
                .help("the registry, or something before it, is damaged or hostile"));
        }
        let typed: Typed = serde_json::from_slice(bytes).map_err(|error| {
            OciError::failed(format!("the manifest {digest} of {owner} is no JSON object"))
                .because(error)
        })?;
        let said = said.map(|said| said.split(';').next().unwrap_or_default().trim());
        // Some servers call all JSON by its general name.
        let said = said.filter(|said| MANIFEST_TYPES.contains(said));
        let media_type = match (typed.media_type.as_deref(), said) {
            (Some(own), Some(said)) if own != said => {
                let what =
                    format!("the manifest {digest} of {owner} came as {said} and says it is {own}");
                return Err(OciError::failed(what));
            }
            (Some(own), _) => own,
            (None, Some(said)) => said,
            (None, None) => "nothing",
        };
        if !MANIFEST_TYPES.contains(&media_type) {
            let media_type = media_type.escape_debug();
            let what = format!(
                "the manifest {digest} of {owner} has a type that is not known: {media_type}"
            );
            return Err(OciError::failed(what)
                .help("imgbake knows image manifests and indexes of OCI and Docker"));
        }
        Ok(Self { digest, media_type: media_type.to_owned(), bytes: bytes.clone() })
    }
}

/// The name under which a manifest is stored.
#[derive(Debug, Clone, Copy)]
pub enum ManifestName<'a> {
    /// Under its digest alone.
    Digest,
    /// Under a tag.
    Tag(&'a str),
}

impl Repository {
    /// The manifest of a tag or digest; `None` where there is none.
    ///
    /// # Errors
    /// The registry cannot be reached or refuses; the manifest is longer than 4 MiB, is none, or has
    /// another digest.
    pub async fn manifest(&self, target: &Target) -> Result<Option<RawManifest>> {
        let mut retry =
            self.retry(format!("read the manifest {} of {}", name_of(target), self.label()));
        loop {
            match self.manifest_once(target).await {
                Ok(found) => return Ok(found),
                Err(error) => retry.after(error).await?,
            }
        }
    }

    async fn manifest_once(&self, target: &Target) -> Result<Option<RawManifest>> {
        let wanted = match target {
            Target::Digest(digest) if digest.algorithm() != Algorithm::Sha256 => {
                let what = format!("cannot read the manifest {digest}: only sha256 is proved");
                return Err(OciError::failed(what));
            }
            Target::Digest(digest) => Some(digest),
            Target::Tag(_) => None,
        };
        let request = self.manifest_request(Method::GET, target);
        let answer = self.remote.send(request, &self.pull()).await?;
        match answer.status() {
            StatusCode::OK => {}
            StatusCode::NOT_FOUND => return Ok(None),
            _ => return Err(status_error(answer, &self.label()).await),
        }
        let said = answer.headers().get(CONTENT_TYPE).cloned();
        let said = said.as_ref().and_then(|said| said.to_str().ok());
        let bytes = answer.bytes(LONGEST_READ).await?;
        Ok(Some(RawManifest::prove(&bytes, said, wanted, &self.label())?))
    }

    fn manifest_request(&self, method: Method, target: &Target) -> Request<'static> {
        let url = self.url(&format!("manifests/{}", name_of(target)));
        let mut request = Request::new(method, url);
        // In one line: there are registries that read no second one.
        let types = HeaderValue::try_from(MANIFEST_TYPES.join(", "));
        request.headers.extend(types.map(|types| (ACCEPT, types)));
        request
    }

    /// Whether a manifest is there.
    ///
    /// # Errors
    /// The registry cannot be reached or refuses.
    pub async fn has_manifest(&self, digest: &Digest) -> Result<bool> {
        let target = Target::Digest(digest.clone());
        let mut retry = self.retry(format!("ask {} for the manifest {digest}", self.label()));
        loop {
            match self.is_there(self.manifest_request(Method::HEAD, &target)).await {
                Ok(there) => return Ok(there),
                Err(error) => retry.after(error).await?,
            }
        }
    }

    /// Stores a manifest; gives whether the registry itself lists it as its subject's referrer.
    pub async fn put_manifest(
        &self,
        name: ManifestName<'_>,
        manifest: &RawManifest,
    ) -> Result<bool> {
        let (length, most) = (manifest.bytes.len(), LONGEST_WRITTEN);
        if length > most {
            let what = format!(
                "the manifest {} has {length} bytes: registries take about {most}",
                manifest.digest
            );
            return Err(OciError::new(OciErrorKind::Usage, what));
        }
        let name = match name {
            ManifestName::Digest => manifest.digest.to_string(),
            ManifestName::Tag(tag) => tag.to_owned(),
        };
        let mut retry = self.retry(format!("store the manifest {name} in {}", self.label()));
        loop {
            match self.put_once(&name, manifest).await {
                Ok(listed) => return Ok(listed),
                Err(error) => retry.after(error).await?,
            }
        }
    }

    /// Deletes a manifest, with all tags that name it; gives whether the registry lets one.
    ///
    /// # Errors
    /// The registry cannot be reached.
    pub async fn delete_manifest(&self, digest: &Digest) -> Result<bool> {
        let mut retry = self.retry(format!("delete the manifest {digest} of {}", self.label()));
        loop {
            match self.delete_once(digest).await {
                Ok(deleted) => return Ok(deleted),
                Err(error) => retry.after(error).await?,
            }
        }
    }

    async fn delete_once(&self, digest: &Digest) -> Result<bool> {
        let request = Request::new(Method::DELETE, self.url(&format!("manifests/{digest}")));
        let answer = self.remote.send(request, &self.push()).await?;
        match answer.status() {
            status if status.is_success() || status == StatusCode::NOT_FOUND => Ok(true),
            status if status.is_client_error() && status != StatusCode::TOO_MANY_REQUESTS => {
                Ok(false)
            }
            _ => Err(status_error(answer, &self.label()).await),
        }
    }

    async fn put_once(&self, name: &str, manifest: &RawManifest) -> Result<bool> {
        let body = Body::Bytes(manifest.bytes.clone());
        let mut request =
            Request::new(Method::PUT, self.url(&format!("manifests/{name}"))).body(body);
        let media_type = HeaderValue::try_from(&manifest.media_type);
        request.headers.extend(media_type.map(|media_type| (CONTENT_TYPE, media_type)));
        let answer = self.remote.send(request, &self.push()).await?;
        if answer.status().is_success() {
            return Ok(answer.headers().contains_key(OCI_SUBJECT));
        }
        match status_error(answer, &self.label()).await {
            // What it leads to is there: registries find that out late, or, like docker-registry, read
            // a link while another client has them write it again.
            error if error.to_string().contains("_UNKNOWN") => {
                Err(OciError::transient(error.to_string()))
            }
            error => Err(error),
        }
    }
}

fn name_of(target: &Target) -> String {
    match target {
        Target::Tag(tag) => tag.clone(),
        Target::Digest(digest) => digest.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_is_what_it_says() {
        let own = format!(r#"{{"mediaType":"{MANIFEST}"}}"#);
        for (text, said, expected) in [
            (own.as_str(), Some(MANIFEST), Ok(MANIFEST)),
            (&own, Some("application/json"), Ok(MANIFEST)),
            (&own, None, Ok(MANIFEST)),
            ("{}", Some("application/vnd.oci.image.index.v1+json; charset=utf-8"), Ok(INDEX)),
            (&own, Some(INDEX), Err("says it is")),
            ("{}", None, Err("not known")),
            ("{}", Some("text/html"), Err("not known")),
            (r#"{"mediaType":"application/x"}"#, None, Err("not known")),
            ("[", None, Err("no JSON")),
        ] {
            let bytes = Bytes::copy_from_slice(text.as_bytes());
            match (RawManifest::prove(&bytes, said, None, "r/x"), expected) {
                (Ok(raw), Ok(expected)) => assert_eq!(raw.media_type, expected, "{text}"),
                (Err(error), Err(part)) => assert!(error.to_string().contains(part), "{error}"),
                (got, expected) => panic!("{text} {said:?}: {got:?}, not {expected:?}"),
            }
        }
        let wanted = Digest::sha256("other");
        assert!(RawManifest::prove(&own.clone().into(), None, Some(&wanted), "r/x").is_err());
    }
}
