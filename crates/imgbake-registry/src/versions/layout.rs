//! The versions of an image in a layout.

use async_trait::async_trait;
use imgbake_build::Versions;
use imgbake_types::record::{ListedVersion, VersionView};
use imgbake_types::{Reference, Target};

use crate::Result;
use crate::image::LayoutImage;

#[async_trait]
impl Versions for LayoutImage {
    async fn versions(&self) -> Result<Vec<ListedVersion>> {
        let name = self.name.clone();
        self.layout.run(move |store| Ok(super::list(store, &store.index()?, Some(&name)))).await
    }

    async fn version(&self, target: Option<&Target>) -> Result<VersionView> {
        let target = target.cloned();
        let reference = Reference { host: None, name: self.name.clone(), target };
        self.layout.run(move |store| super::resolve(store, &reference)).await
    }
}
