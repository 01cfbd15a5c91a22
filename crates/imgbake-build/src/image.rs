//! One image, wherever it is stored.

use crate::channels::Channels;
use crate::evidence::Evidence;
use crate::versions::Versions;

/// One image, in a local layout or a registry's repository: its versions, what is said of them, and its
/// channels.
pub trait Image: Versions + Evidence + Channels {
    /// The image as references name it: `[HOST/]NAME`.
    fn label(&self) -> String;
}
