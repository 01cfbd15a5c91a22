//! Moving a channel forward.

use imgbake_build::{BuildError, Image};
use imgbake_types::record::VersionView;

use crate::Gate;
use crate::moving::{MoveRequest, Promotion, move_to};

/// Points a channel at a version.
///
/// # Errors
/// [`BuildErrorKind::Refused`](imgbake_build::BuildErrorKind::Refused): a gate refused, with every gate's
/// reason; or somebody else moved the channel meanwhile. Nothing moved then. Else the store cannot be
/// read or written.
pub async fn promote(
    image: &dyn Image,
    gates: &[Box<dyn Gate>],
    version: VersionView,
    request: &MoveRequest<'_>,
) -> Result<Promotion, BuildError> {
    let state = image.state(request.channel).await?;
    move_to(image, gates, &state, version, request).await
}
