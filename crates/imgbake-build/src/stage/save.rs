//! From a step's result to a layer: the guest writes its disk, the machine is saved, and the layer is
//! committed in the background while the next step runs.

use camino::Utf8Path;
use imgbake_runtime::{Events, space};
use imgbake_types::plan::{Step, StepKind};
use imgbake_types::record::StageRecord;
use imgbake_types::record::step::ProofPlace;
use imgbake_types::{Digest, LayerAction, Size, Stage};
use tokio::task::JoinHandle;

use super::boot::Booted;
use super::context::{Build, Layers};
use super::converge::Proof;
use super::events::{layer_event, stage_of};
use super::shared;
use crate::cache::{CacheError, CacheMode, Claim, Draft, Found, Hold, Layer, NewLayer, NewState};
use crate::disposable::Identity;
use crate::{BaseDisk, BuildError, BuildErrorKind, Planted, Snapshot, disposable, guest};

/// Layers that a disk may be based on. QEMU opens a file for each, and so does capture (see
/// `imgbake_disk::image`).
const DEEPEST: usize = 60;

/// What a machine's disk is based on: held against deletion for as long as the disk is read.
#[derive(Debug, Default)]
struct Below {
    layers: Vec<Layer>,
    /// Disks that are not layers yet, or could not become ones.
    holds: Vec<Hold>,
    /// Why they could not; the layers after them cannot be committed either.
    error: Option<String>,
}

/// Where a machine's layer goes.
struct Place<'a> {
    layers: &'a Layers,
    claim: Claim,
    /// The key of the layer below.
    parent: Digest,
}

/// Saves what a build makes.
#[derive(Debug, Default)]
pub(super) struct Saver {
    /// The key of the layer that the machine's disk is based on.
    below_key: Option<Digest>,
    below: Below,
    pending: Option<JoinHandle<Below>>,
    gave_up: bool,
    /// Whether it was reported that memory is not kept.
    forgets: bool,
}

impl Saver {
    /// Whether nothing more is saved.
    pub(super) fn gave_up(&self) -> bool {
        self.gave_up
    }

    /// Saves nothing more, and says why: once.
    pub(super) fn give_up(&mut self, build: Build<'_>, why: &dyn std::fmt::Display) {
        if !std::mem::replace(&mut self.gave_up, true) {
            build.job.events().warn(format!("no further layer of this build is saved: {why}"));
        }
    }

    /// Says why a machine's memory is not kept: once.
    fn forget(&mut self, build: Build<'_>, why: &str) {
        if !std::mem::replace(&mut self.forgets, true) {
            let words = "a machine's memory is not kept, and the next build boots";
            build.job.events().warn(format!("{words}: {why}"));
        }
    }

    /// The key of the layer that the machine's disk is based on.
    pub(super) fn below_key(&self) -> Option<Digest> {
        self.below_key.clone()
    }

    /// The machine's disk is based on a layer that was there.
    pub(super) fn based_on(&mut self, layer: Layer) {
        self.below_key = Some(layer.key().clone());
        self.below = Below { layers: vec![layer], ..Below::default() };
    }

    /// There is no machine any more.
    pub(super) fn based_on_nothing(&mut self) {
        self.below_key = None;
        self.below = Below::default();
    }

    /// Waits until what was saved is committed.
    pub(super) async fn finish(&mut self, build: Build<'_>) {
        let Some(pending) = self.pending.take() else { return };
        match pending.await {
            Ok(Below { layers, error, .. }) => {
                self.below.layers.extend(layers);
                if let Some(error) = error {
                    self.give_up(build, &error);
                }
            }
            Err(error) => self.give_up(build, &error),
        }
    }

    /// Saves a source's disk; gives where it is then.
    pub(super) async fn source(
        &mut self,
        build: Build<'_>,
        claim: Option<Claim>,
        step: &Step,
        record: &StageRecord,
        disk: BaseDisk,
    ) -> BaseDisk {
        let (Some(layers), Some(claim)) = (build.layers, claim) else { return disk };
        if disk.local().is_none() {
            // A layer's file is an overlay on one below, and this disk is no file of this host.
            self.gave_up = true;
            let message = "no layer of this build is saved: its base disk is native to its builder";
            build.job.events().info(message.to_owned());
            return disk;
        }
        let (cache, job) = (layers.cache.clone(), build.job.clone());
        let given = disk.clone();
        let taken = tokio::task::spawn_blocking(move || {
            let draft = cache.begin(claim, None)?;
            let disk = draft.take_base(&given, &job)?;
            Ok::<_, CacheError>((draft, disk))
        });
        match taken.await {
            Ok(Ok((draft, disk))) => {
                self.below.holds.push(draft.hold());
                self.below_key = Some(step.key.clone());
                self.commit(build, step, draft, new_layer(build, step, record), String::new());
                disk
            }
            Ok(Err(error)) => {
                self.give_up(build, &error);
                disk
            }
            Err(error) => {
                self.give_up(build, &error);
                disk
            }
        }
    }

    /// Saves a machine after a step, and lets it go on. A step that is to converge is run again on a copy of
    /// what was saved; what that showed goes into its record.
    ///
    /// # Errors
    /// An interrupt; a step that did not converge. That a layer cannot be saved is a warning, and no error.
    pub(super) async fn machine(
        &mut self,
        build: Build<'_>,
        claim: Option<Claim>,
        step: &Step,
        record: &mut StageRecord,
        booted: &mut Booted,
        proof: Option<Proof<'_>>,
    ) -> Result<(), BuildError> {
        let mut proof = proof;
        let Some(place) = self.place(build, claim, step)? else {
            // The last layer is not what the machine is from here on.
            self.below_key = None;
            return match proof {
                Some(mut proof) => prove_draft(build, record, booted, &mut proof).await,
                None => Ok(()),
            };
        };
        let saving = Box::pin(self.save(build, place, step, record, booted, proof.as_mut()));
        match build.job.cancel().run(saving).await? {
            Ok(proved) => proved,
            Err(error) if error.kind() == BuildErrorKind::Cancelled => Err(error),
            Err(error) => {
                self.give_up(build, &error);
                match proof {
                    Some(mut proof) => proof.check(record, booted, Err(error.to_string())).await,
                    None => Ok(()),
                }
            }
        }
    }

    /// What the machine is now, to be made of again: the layer that it was saved to last, or a draft of its own.
    pub(super) async fn before(
        &mut self,
        build: Build<'_>,
        booted: &mut Booted,
    ) -> Result<Snapshot, BuildError> {
        self.finish(build).await;
        if let (Some(layers), Some(key), false) = (build.layers, &self.below_key, self.gave_up)
            && let Found::Layer(layer) = layers.cache.find(key)
        {
            return Ok(Snapshot::of_layer(layer));
        }
        if build.layers.is_some() {
            self.give_up(build, &"the machine was frozen to a file that is no layer");
        }
        draft(build, booted).await
    }

    /// Where a machine's layer goes; none where nothing is saved.
    fn place<'a>(
        &mut self,
        build: Build<'a>,
        claim: Option<Claim>,
        step: &Step,
    ) -> Result<Option<Place<'a>>, BuildError> {
        let (Some(layers), Some(claim)) = (build.layers, claim) else { return Ok(None) };
        let (Some(parent), false) = (self.below_key.clone(), self.gave_up) else {
            return Ok(None);
        };
        if build.plan.layers().iter().position(|s| s.key == step.key) >= Some(DEEPEST) {
            self.give_up(build, &format!("a disk is based on {DEEPEST} layers at most"));
            return Ok(None);
        }
        if let Err(why) = build.components.builder(&build.plan.machine)?.saves(&build.plan.machine)
        {
            self.give_up(build, &why);
            return Ok(None);
        }
        Ok(Some(Place { layers, claim, parent }))
    }

    /// Saves the machine, and proves on a copy of it that its step converged: the outer error is why it was
    /// not saved, the inner one what the proof says.
    async fn save(
        &mut self,
        build: Build<'_>,
        Place { layers, claim, parent }: Place<'_>,
        step: &Step,
        record: &mut StageRecord,
        booted: &mut Booted,
        proof: Option<&mut Proof<'_>>,
    ) -> Result<Result<(), BuildError>, BuildError> {
        // After the last step the seal runs, with all that is in the page cache.
        let last = build.plan.layers().last().is_some_and(|last| last.key == step.key);
        let full = layers.mode == CacheMode::Full;
        let keeps_memory = full && !keeps_secrets(build, step);
        let settled = guest::settle(&*booted.comm, keeps_memory && !last).await?;
        let draft = layers.cache.begin(claim, Some(&parent))?;
        let mut note = settled.err().unwrap_or_default();
        let mut wanted = (keeps_memory || full && proof.is_some()) && note.is_empty();
        if wanted && let Err(why) = enough_for_memory(build, draft.dir()) {
            self.forget(build, &why);
            note = why;
            wanted = false;
        }
        // Memory that no layer keeps is for the copy alone.
        let file = if keeps_memory { draft.state() } else { build.job.work().join("copy-state") };
        let state = wanted.then_some(file);
        // The machine will be based on it, whatever becomes of the draft.
        self.below.holds.push(draft.hold());
        let saved = disposable::save(&mut *booted.machine, &draft.disk(), state.as_deref()).await?;
        let kept = match (state, saved) {
            (Some(state), Ok(())) => Some((state, signature(build).await?)),
            (Some(_), Err(why)) => {
                self.forget(build, &why);
                note = why;
                None
            }
            (None, _) => None,
        };
        self.below_key = Some(step.key.clone());
        if let Some(proof) = proof {
            let memory = kept.as_ref().map(|(state, signature)| (&**state, signature.clone()));
            let copy = Snapshot::of_files(booted.identity(build), &draft.disk(), memory)?;
            let proved = proof.check(record, booted, Ok(&copy)).await;
            if !keeps_memory && let Some((state, _)) = &kept {
                // It is in the job's folder, and goes with that.
                let _ = std::fs::remove_file(state);
            }
            if let Err(error) = proved {
                return Ok(Err(error));
            }
            if was_in_place(record) {
                // The machine has had two runs, and the files of the layer one.
                self.give_up(build, &"a step was run again in the machine itself");
                return Ok(Ok(()));
            }
        }
        let mut new = new_layer(build, step, record);
        new.planted = booted.planted.clone();
        if keeps_memory && let Some((_, signature)) = kept {
            new.state = Some(NewState {
                signature,
                seed: booted.seed.clone(),
                uuid: booted.uuid,
                booted_from: booted.from.clone().unwrap_or_else(|| parent.clone()),
            });
        }
        self.commit(build, step, draft, new, note);
        Ok(Ok(()))
    }

    /// Commits a layer after those before it. `note` says why it has no state.
    fn commit(&mut self, build: Build<'_>, step: &Step, draft: Draft, new: NewLayer, note: String) {
        let before = self.pending.take();
        let job = build.job.clone();
        let to = build.layers.and_then(|layers| layers.to.clone());
        let (name, stage) = (step.name.clone(), stage_of(step));
        self.pending = Some(tokio::spawn(async move {
            let mut below = match before {
                Some(before) => before.await.unwrap_or_else(|error| Below {
                    error: Some(error.to_string()),
                    ..Below::default()
                }),
                None => Below::default(),
            };
            if below.error.is_some() {
                return below;
            }
            match tokio::task::spawn_blocking(move || draft.commit(new)).await {
                Ok(Ok(layer)) => {
                    saved(job.events(), stage, &name, &layer, &note);
                    if let Some(to) = to
                        && let Err(error) = shared::push(&*to, &job, &layer).await
                    {
                        let words = format!("the layer of `{name}` is not shared: {error}");
                        job.events().warn(words);
                    }
                    below.layers.push(layer);
                }
                Ok(Err(error)) => below.error = Some(error.to_string()),
                Err(error) => below.error = Some(error.to_string()),
            }
            below
        }));
    }
}

/// Proves that a step of a build that saves no layer converged: on a copy of its own, where one can be made.
async fn prove_draft(
    build: Build<'_>,
    record: &mut StageRecord,
    booted: &mut Booted,
    proof: &mut Proof<'_>,
) -> Result<(), BuildError> {
    match draft(build, booted).await {
        Ok(copy) => {
            let proved = proof.check(record, booted, Ok(&copy)).await;
            copy.forget();
            proved
        }
        Err(error) if error.kind() == BuildErrorKind::Cancelled => Err(error),
        Err(error) => proof.check(record, booted, Err(error.to_string())).await,
    }
}

/// Whether the machine itself has had the second run of a step.
fn was_in_place(record: &StageRecord) -> bool {
    let report = record.report.as_ref();
    let convergence = report.and_then(|report| report.convergence.as_ref());
    convergence.is_some_and(|convergence| convergence.place == ProofPlace::InPlace)
}

/// A snapshot of the machine in the job's folder, with its memory where that can be kept.
async fn draft(build: Build<'_>, booted: &mut Booted) -> Result<Snapshot, BuildError> {
    let builder = build.components.builder(&build.plan.machine)?;
    let signature = match builder.saves(&build.plan.machine) {
        Ok(()) => Some(signature(build).await?),
        Err(_) => None,
    };
    let settled = guest::settle(&*booted.comm, false).await?;
    let signature = signature.filter(|_| settled.is_ok());
    let signature = signature.filter(|_| enough_for_memory(build, build.job.work()).is_ok());
    let name = uuid::Uuid::new_v4().simple().to_string();
    let identity = Identity {
        seed: &booted.seed,
        uuid: booted.uuid,
        booted_from: &booted.base,
        extra_disks: build.plan.machine.extra_disks.len(),
    };
    Snapshot::draft(build.job, &name, &mut *booted.machine, identity, signature).await
}

/// Whether a machine's memory can be written with room left for what the build itself writes: as much
/// again.
fn enough_for_memory(build: Build<'_>, dir: &Utf8Path) -> Result<(), String> {
    let memory = build.plan.machine.memory();
    match space::free_bytes(dir) {
        Some(free) if free / 2 < memory.as_bytes() => Err(format!(
            "{} has {} free, and {} of memory would leave too little for the build",
            space::mount_point(dir),
            Size::bytes(free).human(),
            memory.human(),
        )),
        _ => Ok(()),
    }
}

fn saved(events: &Events, stage: Stage, name: &str, layer: &Layer, note: &str) {
    events.emit(layer_event(stage, name, layer.key(), Some(layer), LayerAction::Saved, note));
}

/// What a saved machine's state depends on here and now.
pub(super) async fn signature(build: Build<'_>) -> Result<String, BuildError> {
    let (arch, machine) = (build.plan.image.arch, &build.plan.machine);
    let builder = build.components.builder(machine)?;
    builder.signature(build.job, arch, machine, machine.firmware(arch)).await
}

/// Whether a machine that has run the plan up to a step holds sensitive values whose memory must not
/// be kept.
fn keeps_secrets(build: Build<'_>, step: &Step) -> bool {
    !build.plan.cache.sensitive_memory && has_seen_secrets(build, step)
}

/// Whether a machine that has run the plan up to a step has seen a sensitive value. What a source needs
/// to be fetched no machine sees.
fn has_seen_secrets(build: Build<'_>, step: &Step) -> bool {
    let steps = build.plan.layers();
    let end = steps.iter().position(|s| s.key == step.key).map_or(steps.len(), |at| at + 1);
    steps[..end]
        .iter()
        .any(|s| matches!(s.kind, StepKind::Provision { .. }) && !s.secrets.is_empty())
}

/// Whether others may be given a step's layer: it holds no secret, and all that it is made of is its disk.
fn is_shareable(build: Build<'_>, step: &Step) -> bool {
    let alone =
        matches!(step.kind, StepKind::Source { .. }) || build.plan.machine.extra_disks.is_empty();
    alone && !has_seen_secrets(build, step)
}

fn new_layer(build: Build<'_>, step: &Step, record: &StageRecord) -> NewLayer {
    NewLayer {
        stage: stage_of(step),
        name: step.name.clone(),
        image: build.plan.image.name.clone(),
        arch: build.plan.image.arch,
        tool: build.tool.to_owned(),
        seconds: record.seconds,
        bytes: record.bytes,
        report: record.report.clone().map(Box::new),
        shareable: is_shareable(build, step),
        planted: Planted::default(),
        state: None,
    }
}
