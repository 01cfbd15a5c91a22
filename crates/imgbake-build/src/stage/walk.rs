//! The way from a plan to a provisioned machine: from the deepest layer that is there, one step after
//! another, each of which leaves a layer.

use std::collections::BTreeSet;

use imgbake_types::plan::{Step, StepKind};
use imgbake_types::record::StageRecord;
use imgbake_types::{Digest, EventKind, LayerAction, Outcome};

use super::boot::Booted;
use super::context::{Build, Log};
use super::converge::Proof;
use super::events::{report_layer, stage_of};
use super::failure::Failure;
use super::provisioned::Provisioned;
use super::restore::{self, Restored};
use super::save::Saver;
use crate::cache::{Claim, Found, Layer, LayerCache};
use crate::provision::step_event;
use crate::{BaseDisk, BuildError, BuildErrorKind, Slot};

/// What a build has made so far.
enum Progress {
    /// Nothing yet.
    Start,
    /// The source's disk.
    Disk(Box<BaseDisk>),
    /// A machine that answers.
    Machine(Box<Booted>),
}

/// A build on its way through the steps whose results are layers.
struct Walk<'a> {
    build: Build<'a>,
    steps: &'a [Step],
    /// Steps from the first on whose results may be layers.
    cacheable: usize,
    /// Steps that are done.
    done: usize,
    /// Steps whose end was reported.
    reported: usize,
    progress: Progress,
    log: Log,
    saver: Saver,
    /// Layers of which it was reported that they are damaged.
    damaged: BTreeSet<Digest>,
    /// The right to run a machine.
    slot: Option<Slot<'a>>,
}

/// The end of the way.
pub(super) struct Walked<'a> {
    pub(super) provisioned: Provisioned,
    /// Holds the layers that the machine's disk is based on, and commits the last ones.
    pub(super) saver: Saver,
    /// The right to run a machine.
    pub(super) slot: Option<Slot<'a>>,
}

/// Who makes the next step's result.
enum Turn {
    /// This build; with the claim under which it is saved.
    Ours(Option<Claim>),
    /// It was made meanwhile, or the walk went back: look again.
    LookAgain,
}

/// Walks a plan's steps up to the last provision.
pub(super) async fn walk(build: Build<'_>) -> Result<Walked<'_>, Failure> {
    let steps = build.plan.layers();
    let cacheable = steps.iter().take_while(|step| step.cache).count();
    let mut walk = Walk {
        build,
        steps,
        cacheable: if build.layers.is_some() { cacheable } else { 0 },
        done: 0,
        reported: 0,
        progress: Progress::Start,
        log: Log::new(),
        saver: Saver::default(),
        damaged: BTreeSet::new(),
        slot: None,
    };
    super::shared::pull(build, &steps[..walk.cacheable]).await;
    let gone = walk.go().await;
    let Walk { progress, log, mut saver, slot, .. } = walk;
    if gone.is_err() {
        // What was saved so far is there for the next build.
        saver.finish(build).await;
    }
    if let Err(failure) = gone {
        return Err(Failure { stages: log, ..failure });
    }
    let Progress::Machine(mut booted) = progress else {
        return Err(BuildError::failed("the plan has no machine").into());
    };
    if booted.by_hand {
        let words = "the machine was entered by hand: what is in it is not the template's alone";
        let error = BuildError::failed(words)
            .help("nothing was published; build again: it goes on from the layer before that step");
        return Err(Failure::with(booted.machine)(error));
    }
    booted.log = log;
    Ok(Walked { provisioned: Provisioned(*booted), saver, slot })
}

impl Walk<'_> {
    async fn go(&mut self) -> Result<(), Failure> {
        while self.done < self.steps.len() {
            if self.jump().await? {
                continue;
            }
            if let Turn::Ours(claim) = self.turn().await? {
                Box::pin(self.step(claim)).await?;
            }
        }
        Ok(())
    }

    /// Goes to the deepest layer ahead, if there is one; returns whether the walk moved.
    async fn jump(&mut self) -> Result<bool, Failure> {
        let Some(layers) = self.build.layers else { return Ok(false) };
        for index in (self.done..self.cacheable).rev() {
            let step = &self.steps[index];
            match layers.cache.find(&step.key) {
                Found::Layer(layer) => {
                    return self.go_to(&layers.cache, index, layer).await.map(|()| true);
                }
                Found::Damaged(reason) if self.damaged.insert(step.key.clone()) => {
                    let words = format!("{reason}; it is made again");
                    report_layer(self.build, step, None, LayerAction::Refused, &words);
                }
                Found::Damaged(_) | Found::None => {}
            }
        }
        Ok(false)
    }

    /// Takes a layer as the result of the step at `index` and of those before it.
    async fn go_to(
        &mut self,
        cache: &LayerCache,
        index: usize,
        layer: Layer,
    ) -> Result<(), Failure> {
        let step = &self.steps[index];
        // A layer whose use cannot be noted is only dropped sooner.
        let _ = layer.touch();
        if index == 0 {
            self.report_passed(index, &layer);
            self.passed(index, &layer);
            self.progress = Progress::Disk(Box::new(layer.disk()));
            self.saver.based_on(layer);
            return Ok(());
        }
        self.leave().await;
        self.take_slot().await?;
        self.report_passed(index, &layer);
        match restore::restore(self.build, step, &layer).await? {
            Restored::Machine(mut booted, record) => {
                self.start_over();
                self.passed(index, &layer);
                self.log.append(&mut booted.log);
                self.log.push(*record);
                self.progress = Progress::Machine(booted);
                self.saver.based_on(layer);
            }
            Restored::Refused(reason) => {
                report_layer(self.build, step, Some(&layer), LayerAction::Refused, &reason);
                drop(layer);
                // It is made anew. Where somebody else uses it, nothing of this build can.
                if !cache.remove(&step.key).unwrap_or(false) {
                    self.cacheable = index;
                }
                // Its step runs after all.
                self.reported = index;
                self.start_over();
            }
        }
        Ok(())
    }

    /// A layer and all below it, the source's first, each with its step.
    fn chain<'l>(&self, index: usize, layer: &'l Layer) -> Vec<(&Step, &'l Layer)> {
        let mut chain: Vec<&Layer> = std::iter::once(layer).chain(layer.ancestors()).collect();
        chain.reverse();
        self.steps[..=index].iter().zip(chain).collect()
    }

    /// Reports every step that a layer spares, unless it was reported before.
    fn report_passed(&mut self, index: usize, layer: &Layer) {
        for (step, layer) in self.chain(index, layer).into_iter().skip(self.reported) {
            self.build.job.events().emit(EventKind::StageFinished {
                stage: stage_of(step),
                name: step.name.clone(),
                outcome: Outcome::Cached,
                seconds: 0.0,
                bytes: layer.record().bytes,
                detail: format!("{} old", imgbake_types::time::rough(layer.age())),
            });
            report_layer(self.build, step, Some(layer), LayerAction::Used, "");
            if let Some(report) = &layer.record().report {
                self.build.job.events().emit(step_event(&step.name, true, report));
            }
        }
        self.reported = self.reported.max(index + 1);
    }

    /// Writes down every step that a layer spares.
    fn passed(&mut self, index: usize, layer: &Layer) {
        let records: Log = self
            .chain(index, layer)
            .into_iter()
            .map(|(step, layer)| StageRecord {
                stage: stage_of(step),
                name: step.name.clone(),
                seconds: 0.0,
                bytes: layer.record().bytes,
                cached: true,
                layer: Some(layer.reference()),
                report: layer.record().report.as_deref().cloned(),
                seal: None,
            })
            .collect();
        self.log.extend(records);
        self.done = index + 1;
    }

    /// Whether this build makes the next step's result; waits while another does.
    async fn turn(&mut self) -> Result<Turn, Failure> {
        let step = &self.steps[self.done];
        let (Some(layers), true) = (self.build.layers, self.done < self.cacheable) else {
            return Ok(Turn::Ours(None));
        };
        if self.saver.gave_up() {
            return Ok(Turn::Ours(None));
        }
        match layers.cache.try_claim(&step.key) {
            Ok(Some(claim)) => match layers.cache.find(&step.key) {
                Found::Layer(_) => Ok(Turn::LookAgain),
                Found::None | Found::Damaged(_) => Ok(Turn::Ours(Some(claim))),
            },
            Ok(None) => {
                let what = format!("the layer of `{}`, which another build makes", step.name);
                self.build.job.events().emit(EventKind::Waiting { what });
                // A machine that only waits would hold up the one that it waits for.
                self.leave().await;
                drop(layers.cache.claim(self.build.job.cancel(), &step.key).await?);
                Ok(Turn::LookAgain)
            }
            Err(error) => {
                self.saver.give_up(self.build, &error);
                Ok(Turn::Ours(None))
            }
        }
    }

    /// Ends the machine, if there is one: then the walk starts over with what is cached by now.
    async fn leave(&mut self) {
        self.saver.finish(self.build).await;
        self.slot = None;
        if let Progress::Machine(booted) = &mut self.progress {
            booted.machine.end().await;
            self.saver.based_on_nothing();
            self.start_over();
        }
    }

    fn start_over(&mut self) {
        self.progress = Progress::Start;
        self.done = 0;
        self.log.clear();
    }

    async fn take_slot(&mut self) -> Result<(), BuildError> {
        if self.slot.is_none() {
            self.slot = Some(self.build.slots.take(self.build.job).await?);
        }
        Ok(())
    }

    /// Runs the next step and saves its result.
    async fn step(&mut self, claim: Option<Claim>) -> Result<(), Failure> {
        self.take_slot().await?;
        let build = self.build;
        let step = &self.steps[self.done];
        match (&step.kind, std::mem::replace(&mut self.progress, Progress::Start)) {
            (StepKind::Source { source }, _) => {
                let (disk, record) = super::boot::fetch(build, step, source).await?;
                let disk = self.saver.source(build, claim, step, &record, disk).await;
                self.log.push(record);
                self.progress = Progress::Disk(Box::new(disk));
            }
            (StepKind::Boot, Progress::Disk(disk)) => {
                let (mut booted, mut record) = Booted::boot(build, *disk).await?;
                booted.from = self.saver.below_key();
                self.saver.machine(build, claim, step, &mut record, &mut booted, None).await?;
                self.log.push(record);
                self.progress = Progress::Machine(Box::new(booted));
            }
            (StepKind::Provision { provision }, Progress::Machine(booted)) => {
                let mut booted = booted;
                let slot = self.slot.as_ref().ok_or_else(|| {
                    BuildError::failed(
                        "the build's machine has no slot: this is a mistake of imgbake",
                    )
                })?;
                let mut proof = Proof::wanted(build, slot, (step, provision), &self.log)?;
                if let Some(proof) = proof.as_mut().filter(|proof| proof.shuffles()) {
                    match Box::pin(self.saver.before(build, &mut booted)).await {
                        Ok(before) => proof.set_before(before),
                        Err(error) => {
                            let error = cannot_be_kept(step, &error);
                            return Err(Failure::with(booted.machine)(error));
                        }
                    }
                }
                let (mut booted, mut record) = booted.provision(build, step, provision).await?;
                if booted.by_hand {
                    self.cacheable = 0;
                } else {
                    let saving =
                        self.saver.machine(build, claim, step, &mut record, &mut booted, proof);
                    if let Err(error) = saving.await {
                        self.log.push(record);
                        return Err(Failure::with(booted.machine)(error));
                    }
                }
                self.log.push(record);
                self.progress = Progress::Machine(booted);
            }
            _ => {
                let words = format!("the plan's step `{}` comes too early", step.name);
                return Err(BuildError::new(BuildErrorKind::Usage, words).into());
            }
        }
        self.done += 1;
        self.reported = self.reported.max(self.done);
        Ok(())
    }
}

/// The machine as it is before a step, which is to be run in another order, cannot be kept.
fn cannot_be_kept(step: &Step, error: &BuildError) -> BuildError {
    let message = format!(
        "step `{}`: the machine as it is before the step cannot be kept, to run it in another order: {error}",
        step.name
    );
    let help = "set `converge = \"once\"` for it: the step is run again in its own order alone";
    BuildError::new(error.kind(), message).help(help)
}
