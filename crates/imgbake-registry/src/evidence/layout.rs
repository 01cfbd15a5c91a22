//! The evidence of an image in a layout.

use async_trait::async_trait;
use imgbake_build::evidence::{EvidenceItem, EvidenceList};
use imgbake_build::{Evidence, EvidenceKind};
use imgbake_types::Digest;
use jiff::Timestamp;

use crate::Result;
use crate::image::LayoutImage;
use crate::index::Names;
use crate::store::Store;

#[async_trait]
impl Evidence for LayoutImage {
    async fn attach(
        &self,
        subject: &Digest,
        kind: &EvidenceKind,
        time: Timestamp,
        document: Vec<u8>,
    ) -> Result<EvidenceItem> {
        let (name, subject, kind) = (self.name.clone(), subject.clone(), kind.clone());
        let work =
            move |store: &Store| super::attach(store, &name, &subject, &kind, time, document);
        self.layout.run(work).await
    }

    async fn evidence(
        &self,
        subject: &Digest,
        kind: Option<&EvidenceKind>,
    ) -> Result<EvidenceList> {
        let (name, subject, kind) = (self.name.clone(), subject.clone(), kind.cloned());
        let work = move |store: &Store| {
            let index = store.index()?;
            let names = Names::of(&index);
            Ok(super::list(store, &names, &name, &subject, kind.as_ref()))
        };
        self.layout.run(work).await
    }
}
