//! The channels of an image in a layout.

use async_trait::async_trait;
use imgbake_build::Channels;
use imgbake_types::ChannelName;
use imgbake_types::record::{ChannelState, ComposedMove, RecordedMove, Swap};

use crate::Result;
use crate::image::LayoutImage;

#[async_trait]
impl Channels for LayoutImage {
    async fn state(&self, channel: &ChannelName) -> Result<ChannelState> {
        let (name, channel) = (self.name.clone(), channel.clone());
        self.layout.run(move |store| super::state(store, &name, &channel)).await
    }

    async fn history(&self, channel: &ChannelName) -> Result<Vec<RecordedMove>> {
        let (name, channel) = (self.name.clone(), channel.clone());
        self.layout.run(move |store| super::history(store, &name, &channel)).await
    }

    async fn swap(&self, composed: &ComposedMove) -> Result<Swap> {
        let (name, composed) = (self.name.clone(), composed.clone());
        self.layout.run(move |store| super::swap(store, &name, &composed)).await
    }

    async fn settle(&self, _channel: &ChannelName) -> Result<()> {
        Ok(()) // tag and record change at once
    }
}
