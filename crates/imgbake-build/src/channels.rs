//! The channels of one image, wherever it is stored.

use async_trait::async_trait;
use imgbake_types::ChannelName;
use imgbake_types::record::{ChannelState, ComposedMove, RecordedMove, Swap};

use crate::BuildError;

/// The channels of one image, in a local layout or a registry's repository. Every change is durable when
/// its call returns.
#[async_trait]
pub trait Channels: Send + Sync {
    /// Where a channel is.
    ///
    /// # Errors
    /// Its history cannot be read, or the tag is a version's.
    async fn state(&self, channel: &ChannelName) -> Result<ChannelState, BuildError>;

    /// A channel's moves, newest first.
    ///
    /// # Errors
    /// There is no such channel, or its history cannot be read.
    async fn history(&self, channel: &ChannelName) -> Result<Vec<RecordedMove>, BuildError>;

    /// Makes a move if the channel is still in the state that the move was composed for: its record
    /// before is the newest one, and what it moves from is where the channel points. Of any number of
    /// moves for one state exactly one is made.
    ///
    /// # Errors
    /// The version is not there, or the store cannot be read or written.
    async fn swap(&self, composed: &ComposedMove) -> Result<Swap, BuildError>;

    /// Finishes what a move that was killed left: the channel's tag points where its newest record says.
    ///
    /// # Errors
    /// The store cannot be read or written.
    async fn settle(&self, channel: &ChannelName) -> Result<(), BuildError>;
}
