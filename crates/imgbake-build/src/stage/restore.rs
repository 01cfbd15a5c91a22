//! From a layer to a machine that answers: the saved one goes on, or a new one boots from its disk.

use imgbake_types::plan::Step;
use imgbake_types::record::StageRecord;
use imgbake_types::{LayerAction, Size, Stage};

use super::boot::{Booted, Start};
use super::context::Build;
use super::events::report_layer;
use super::failure::Failure;
use crate::cache::{CacheMode, Layer, StateRecord};
use crate::{BuildError, BuildErrorKind, guest};

/// How a layer was of use.
pub(super) enum Restored {
    /// A machine answers.
    Machine(Box<Booted>, Box<StageRecord>),
    /// It could not be used, and why: the walk goes back.
    Refused(String),
}

/// Makes a machine of a layer.
///
/// # Errors
/// What would fail without the layer as well: an interrupt, a full disk, a host that lacks something.
pub(super) async fn restore(
    build: Build<'_>,
    step: &Step,
    layer: &Layer,
) -> Result<Restored, Failure> {
    let stage = build.job.events().stage(Stage::Restore, &step.name);
    match state(build, layer).await {
        Ok(Some(saved)) => {
            stage.status("the saved machine resumes");
            match resume(build, layer, saved).await {
                Ok(booted) => {
                    let detail = format!(
                        "resumed after `{}`, saved {} ago",
                        step.name,
                        imgbake_types::time::rough(layer.age())
                    );
                    report_layer(build, step, Some(layer), LayerAction::Restored, "");
                    let record = stage.finish(saved.file.allocated, detail);
                    return Ok(Restored::Machine(Box::new(booted), Box::new(record)));
                }
                Err(failure) => {
                    let reason = end(failure).await?;
                    let words = format!("{reason}; a machine boots from its disk");
                    report_layer(build, step, Some(layer), LayerAction::Refused, &words);
                }
            }
        }
        Ok(None) => {}
        Err(reason) => {
            let words = format!("{reason}; a machine boots from its disk");
            report_layer(build, step, Some(layer), LayerAction::Refused, &words);
        }
    }
    stage.status("booting from the layer's disk");
    match boot(build, layer).await {
        Ok(booted) => {
            report_layer(build, step, Some(layer), LayerAction::Booted, "");
            let bytes = layer.record().disk.file.allocated;
            let detail = format!(
                "booted from the disk after `{}`, {}",
                step.name,
                Size::bytes(bytes).human()
            );
            Ok(Restored::Machine(Box::new(booted), Box::new(stage.finish(bytes, detail))))
        }
        Err(failure) => {
            let reason = end(failure).await?;
            Ok(Restored::Refused(format!("{reason}; the layer before it is used")))
        }
    }
}

/// The layer's state, if it is wanted and there; why not, if it is there and cannot be used.
async fn state<'l>(build: Build<'_>, layer: &'l Layer) -> Result<Option<&'l StateRecord>, String> {
    if build.layers.is_none_or(|layers| layers.mode != CacheMode::Full) {
        return Ok(None);
    }
    let Some(state) = layer.state() else { return Ok(None) };
    let now = super::save::signature(build).await.map_err(|error| error.to_string())?;
    if state.signature == now {
        Ok(Some(state))
    } else {
        Err(format!("its machine was saved by another builder ({}; here: {now})", state.signature))
    }
}

/// Lets the saved machine go on.
async fn resume(build: Build<'_>, layer: &Layer, state: &StateRecord) -> Result<Booted, Failure> {
    let saved = layer
        .saved()
        .ok_or_else(|| BuildError::failed("the layer that its machine was booted from is gone"))?;
    let limit = build.plan.machine.restore_timeout().duration();
    let start = Start {
        disk: layer.disk(),
        seed: state.seed.clone(),
        uuid: state.uuid,
        saved: Some(saved),
        limit,
    };
    let mut booted = Booted::start(build, start).await?;
    booted.planted = layer.record().planted.clone();
    booted.from = Some(state.booted_from.clone());
    match build.job.cancel().run(guest::wake(&*booted.comm, limit)).await {
        Ok(Ok(())) => Ok(booted),
        Ok(Err(error)) => Err(Failure::with(booted.machine)(error)),
        Err(error) => Err(Failure::with(booted.machine)(error.into())),
    }
}

/// Boots a new machine from the layer's disk.
async fn boot(build: Build<'_>, layer: &Layer) -> Result<Booted, Failure> {
    let mut booted = Booted::start(build, Start::boot(build, layer.disk())).await?;
    booted.planted.patterns.extend(layer.record().planted.patterns.iter().cloned());
    booted.planted.resolv_conf.clone_from(&layer.record().planted.resolv_conf);
    booted.from = Some(layer.key().clone());
    Ok(booted)
}

/// Ends the machine of an attempt that failed; gives the reason, unless all else would fail as well.
async fn end(failure: Failure) -> Result<String, Failure> {
    for mut machine in failure.machines {
        machine.end().await;
    }
    match failure.error.kind() {
        BuildErrorKind::Machine | BuildErrorKind::Failed | BuildErrorKind::NotFound => {
            let words = failure.error.to_string();
            Ok(words.lines().next().unwrap_or_default().to_owned())
        }
        _ => Err(failure.error.into()),
    }
}
