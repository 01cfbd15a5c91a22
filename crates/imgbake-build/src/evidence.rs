//! Evidence: documents that refer to a version, written once and never changed. A local name and a
//! repository of a registry keep it in the same way, as OCI referrers.

use std::borrow::Cow;
use std::fmt;

use async_trait::async_trait;
use imgbake_types::Digest;
use imgbake_types::record::{Problem, UnreadableEvidence, VerifyRecord, format};
use jiff::Timestamp;
use serde::Serialize;

use crate::BuildError;

/// What a document is evidence of: its artifact type and media type. Any such type is a kind.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct EvidenceKind(Cow<'static, str>);

impl EvidenceKind {
    /// What verifying a version showed ([`VerifyRecord`]).
    pub const VERIFY: Self = Self(Cow::Borrowed("application/vnd.imgbake.verify.v1+json"));
    /// What sealing took out of a version, and what was looked for in it.
    pub const SEAL: Self = Self(Cow::Borrowed("application/vnd.imgbake.seal.v1+json"));
    /// What each step of a version's build did.
    pub const STEPS: Self = Self(Cow::Borrowed("application/vnd.imgbake.steps.v1+json"));

    /// The kind of a media type.
    pub fn new(media_type: impl Into<String>) -> Self {
        Self(Cow::Owned(media_type.into()))
    }

    /// Its media type.
    pub fn media_type(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for EvidenceKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// How evidence came to where it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Origin {
    /// It was recorded here.
    Recorded,
    /// A copy brought it in.
    Copied,
    /// It is not known: from before that was kept, put there by another tool, or in a remote repository.
    Unknown,
}

/// One document that refers to a version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EvidenceItem {
    /// The digest of its manifest.
    pub digest: Digest,
    /// What it is evidence of.
    pub kind: EvidenceKind,
    /// The document's media type.
    pub media_type: String,
    /// When it was made, where its manifest says so.
    pub time: Option<Timestamp>,
    /// How it came here.
    pub origin: Origin,
    /// The document.
    pub document: Vec<u8>,
}

/// The evidence of a version.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct EvidenceList {
    /// What could be read, the newest first: by time, then by digest.
    pub items: Vec<EvidenceItem>,
    /// What could not be read.
    pub unreadable: Vec<UnreadableEvidence>,
}

/// A version's newest verify record.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct NewestVerify {
    /// The record, where there is one that can be read.
    pub record: Option<VerifyRecord>,
    /// The digest of the record's manifest.
    pub digest: Option<Digest>,
    /// How the record came here.
    pub origin: Option<Origin>,
    /// Verify records that could not be read.
    pub unreadable: Vec<UnreadableEvidence>,
}

impl EvidenceList {
    /// Puts what was read in order.
    pub fn new(mut items: Vec<EvidenceItem>, unreadable: Vec<UnreadableEvidence>) -> Self {
        items.sort_by(|one, other| (other.time, &other.digest).cmp(&(one.time, &one.digest)));
        Self { items, unreadable }
    }

    /// The newest verify record of a version: by the record's time, then by digest. What cannot be read,
    /// and what is about another version, does not count.
    pub fn newest_verify(&self, subject: &Digest) -> NewestVerify {
        let mut found = NewestVerify { unreadable: self.unreadable.clone(), ..Default::default() };
        let mut newest: Option<(&EvidenceItem, VerifyRecord)> = None;
        for item in self.items.iter().filter(|item| item.kind == EvidenceKind::VERIFY) {
            let record = match format::read::<VerifyRecord>(&item.document) {
                Ok(record) if record.subject == *subject => record,
                Ok(record) => {
                    let why = format!("it is about another version, {}", record.subject);
                    found.unreadable(item, Problem::Damaged { why });
                    continue;
                }
                Err(problem) => {
                    found.unreadable(item, problem);
                    continue;
                }
            };
            if newest.as_ref().is_none_or(|(other, known)| {
                (record.time, &item.digest) > (known.time, &other.digest)
            }) {
                newest = Some((item, record));
            }
        }
        if let Some((item, record)) = newest {
            found.origin = Some(item.origin);
            found.digest = Some(item.digest.clone());
            found.record = Some(record);
        }
        found
    }
}

impl NewestVerify {
    fn unreadable(&mut self, item: &EvidenceItem, problem: Problem) {
        self.unreadable.push(UnreadableEvidence { digest: item.digest.clone(), problem });
    }
}

/// Where the versions of one image have their evidence: a name in a layout, or a remote repository.
#[async_trait]
pub trait Evidence: Send + Sync {
    /// Attaches a document, made at some time, to a version or another manifest. It is durable when this
    /// returns; the same document again changes nothing.
    ///
    /// # Errors
    /// There is no such subject, or the store cannot be written to.
    async fn attach(
        &self,
        subject: &Digest,
        kind: &EvidenceKind,
        time: Timestamp,
        document: Vec<u8>,
    ) -> Result<EvidenceItem, BuildError>;

    /// What is attached to a version or another manifest; of one kind, or of all.
    ///
    /// # Errors
    /// The store cannot be reached. What cannot be read of the evidence itself is listed as such.
    async fn evidence(
        &self,
        subject: &Digest,
        kind: Option<&EvidenceKind>,
    ) -> Result<EvidenceList, BuildError>;
}

/// Attaches what verifying a version showed.
///
/// # Errors
/// Those of [`Evidence::attach`].
pub async fn record_verify(
    evidence: &dyn Evidence,
    record: &VerifyRecord,
) -> Result<EvidenceItem, BuildError> {
    let document = format::write(record)
        .map_err(|error| BuildError::failed("cannot write a verify record").because(error))?;
    evidence.attach(&record.subject, &EvidenceKind::VERIFY, record.time, document).await
}
