//! Events of steps and of their layers.

use imgbake_types::plan::{Step, StepKind};
use imgbake_types::{Digest, EventKind, LayerAction, Stage};

use super::context::Build;
use crate::cache::Layer;

/// The stage that a step is.
pub(super) fn stage_of(step: &Step) -> Stage {
    match step.kind {
        StepKind::Source { .. } => Stage::Source,
        StepKind::Boot => Stage::Boot,
        _ => Stage::Provision,
    }
}

/// Reports what was done with a step's layer.
pub(super) fn report_layer(
    build: Build<'_>,
    step: &Step,
    layer: Option<&Layer>,
    action: LayerAction,
    reason: &str,
) {
    let event = layer_event(stage_of(step), &step.name, &step.key, layer, action, reason);
    build.job.events().emit(event);
}

/// The event of what was done with a layer.
pub(super) fn layer_event(
    stage: Stage,
    name: &str,
    key: &Digest,
    layer: Option<&Layer>,
    action: LayerAction,
    reason: &str,
) -> EventKind {
    EventKind::Layer {
        stage,
        name: name.to_owned(),
        key: key.clone(),
        action,
        disk_bytes: layer.map_or(0, |layer| layer.record().disk.file.allocated),
        state_bytes: layer.and_then(Layer::state).map_or(0, |state| state.file.allocated),
        age: layer.map_or(0.0, Layer::age),
        reason: reason.to_owned(),
    }
}
