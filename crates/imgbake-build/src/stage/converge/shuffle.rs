//! The proof that a step's resources need no order but what they declare: it is run in a random order on a machine that
//! is what the building machine was before it.

use imgbake_types::{Outcome, Stage};

use super::copy::Copied;
use super::run::Run;
use super::second_run::{Again, SecondRun, Target};
use crate::stage::boot::Booted;
use crate::stage::context::Build;
use crate::{BuildError, Slot, Snapshot};

/// A step that is run in another order.
pub(super) struct Shuffle<'a> {
    pub(super) build: Build<'a>,
    pub(super) slot: &'a Slot<'a>,
    pub(super) run: &'a Run<'a>,
    /// How many resources its first run had.
    pub(super) first: u64,
    /// The seed of the order.
    pub(super) seed: u32,
}

impl Shuffle<'_> {
    /// Runs the step in another order; then once more as declared, which must change nothing.
    ///
    /// # Errors
    /// An interrupt; a run that fails in this order, or that ends in another state.
    pub(super) async fn check(&self, booted: &Booted, before: &Snapshot) -> Result<(), BuildError> {
        let (name, seed) = (self.run.name, self.seed);
        let title = format!("{name} (another order, seed {seed})");
        let stage = self.build.job.events().stage(Stage::Provision, &title);
        stage.status("restoring the machine as it was before the step");
        let copy = Copied::start(self.build, self.slot, booted, before, "shuffle").await?;
        let copy = copy.map_err(|reason| {
            BuildError::failed(format!(
                "step `{name}`: the machine cannot be restored as it was before the step, to run it in another order: \
                 {reason}"
            ))
        })?;
        let ran = self.run_twice(copy.target(Some(seed))).await;
        copy.end().await;
        let declared = ran?;
        if !declared.is_allowed() {
            let first = declared.changed.iter().find(|one| !one.allowed);
            let first = first.map(|one| format!(", first {}", one.resource.title()));
            return Err(BuildError::failed(format!(
                "step `{name}` ends in another state in another order (seed {seed}): run again as declared, it changed \
                 {}{}",
                declared.total_changed(),
                first.unwrap_or_default()
            ))
            .help(self.help()));
        }
        stage.end(Outcome::Done, 0, "it ends in the same state".to_owned());
        Ok(())
    }

    async fn run_twice(&self, target: Target<'_>) -> Result<SecondRun, BuildError> {
        let which = format!("run in another order, seed {}", self.seed);
        let again = Again {
            build: self.build,
            run: self.run,
            which: &which,
            first: self.first,
            staged: true,
        };
        let shuffled = again.run(target, &mut SecondRun::default()).await;
        shuffled.map_err(|error| error.help(self.help()))?;
        let mut declared = SecondRun::default();
        let again = Again { which: "run as declared after another order", ..again };
        again.run(Target { shuffle: None, ..target }, &mut declared).await?;
        Ok(declared)
    }

    fn help(&self) -> String {
        format!(
            "a resource needs another one and does not declare it; `converge_seed = {}` repeats this order",
            self.seed
        )
    }
}
