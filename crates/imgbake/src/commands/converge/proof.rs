//! What `imgbake converge` found, as its JSON document has it.

use std::time::Instant;

use camino::Utf8PathBuf;
use imgbake_build::stage::Log;
use imgbake_types::Stage;
use imgbake_types::record::StageRecord;
use imgbake_types::record::step::{Convergence, ResourceCounts};
use serde::Serialize;

use crate::failure::Failure;
use crate::load::Unit;

/// The format number of the JSON document.
const FORMAT: u32 = 1;

/// What is printed.
#[derive(Serialize)]
pub(super) struct Document<'a> {
    format: u32,
    builds: &'a [Proved],
}

impl<'a> Document<'a> {
    pub(super) const fn new(builds: &'a [Proved]) -> Self {
        Self { format: FORMAT, builds }
    }
}

/// What one build showed.
#[derive(Serialize)]
pub(super) struct Proved {
    /// The image.
    pub(super) image: String,
    /// The template.
    pub(super) template: Utf8PathBuf,
    pub(super) outcome: ProofOutcome,
    /// Why it did not converge, failed or was not started.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) error: Option<String>,
    /// Wall time in seconds.
    pub(super) seconds: f64,
    /// The provision steps that ran, in order.
    pub(super) steps: Vec<ProvedStep>,
}

/// How the proof of one build ended.
#[derive(Serialize, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub(super) enum ProofOutcome {
    /// Every step that was run again converged.
    Converged,
    /// A second run changed something.
    NotConverged,
    /// Something else failed, so nothing is known.
    Failed,
    /// The command was interrupted before.
    NotStarted,
}

impl Proved {
    /// A build of this unit that ended.
    pub(super) fn ended(unit: &Unit, begun: Instant, log: Log, failure: Option<&Failure>) -> Self {
        let steps: Vec<ProvedStep> = log.into_iter().filter_map(proved_step).collect();
        let proofs = steps.iter().filter_map(|step| step.convergence.as_ref());
        let outcome = match failure {
            None => ProofOutcome::Converged,
            Some(_) if proofs.clone().any(|proof| !proof.converged) => ProofOutcome::NotConverged,
            Some(_) => ProofOutcome::Failed,
        };
        Self {
            image: unit.image().name.clone(),
            template: unit.path().to_owned(),
            outcome,
            error: failure.map(Failure::summary),
            seconds: begun.elapsed().as_secs_f64(),
            steps,
        }
    }

    /// A build that was not begun.
    pub(super) fn not_started(unit: &Unit) -> Self {
        Self {
            image: unit.image().name.clone(),
            template: unit.path().to_owned(),
            outcome: ProofOutcome::NotStarted,
            error: Some("the command was interrupted before".to_owned()),
            seconds: 0.0,
            steps: Vec::new(),
        }
    }
}

/// What one step showed.
#[derive(Serialize)]
pub(super) struct ProvedStep {
    pub(super) name: String,
    #[serde(rename = "type")]
    pub(super) kind: String,
    /// Whether it ran in an earlier build, and was proved there.
    pub(super) cached: bool,
    pub(super) seconds: f64,
    /// What its first run did.
    pub(super) counts: ResourceCounts,
    /// What its second run did; none where the template wants none.
    pub(super) convergence: Option<Convergence>,
}

fn proved_step(stage: StageRecord) -> Option<ProvedStep> {
    let report = stage.report.filter(|_| stage.stage == Stage::Provision)?;
    Some(ProvedStep {
        name: stage.name,
        kind: report.kind,
        cached: stage.cached,
        seconds: report.seconds,
        counts: report.counts,
        convergence: report.convergence,
    })
}
