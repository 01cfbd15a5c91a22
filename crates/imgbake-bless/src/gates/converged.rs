//! Whether a second run of a version's steps changed nothing.

use std::collections::BTreeSet;

use async_trait::async_trait;
use imgbake_build::BuildError;
use imgbake_types::Stage;
use imgbake_types::record::StageRecord;

use crate::{Answer, Candidate, Gate};

/// Every step that reports resources was run a second time, and no second run changed anything that the template does not
/// allow. Scripts count where they were run a second time.
#[derive(Debug)]
pub(crate) struct Converged;

#[async_trait]
impl Gate for Converged {
    fn name(&self) -> &'static str {
        "converged"
    }

    async fn check(&self, candidate: Candidate<'_>) -> Result<Answer, BuildError> {
        Ok(judge(&candidate.version.stages))
    }
}

fn judge(stages: &[StageRecord]) -> Answer {
    let steps: Vec<&StageRecord> =
        stages.iter().filter(|stage| stage.stage == Stage::Provision).collect();
    if steps.is_empty() {
        return Answer::passed("it has no provision steps");
    }
    let (mut proved, mut failed) = (BTreeSet::new(), BTreeSet::new());
    for step in &steps {
        let report = step.report.as_ref();
        let Some(proof) = report.and_then(|report| report.convergence.as_ref()) else { continue };
        let names = std::iter::once(&step.name).chain(&proof.steps).map(String::as_str);
        if proof.converged { proved.extend(names) } else { failed.extend(names) }
    }
    let help = "`imgbake converge TEMPLATE` shows what a second run changes";
    if !failed.is_empty() {
        return Answer::refused(format!("a second run changed something: {}", listed(failed)))
            .help(help);
    }
    let reports =
        |step: &&&StageRecord| step.report.as_ref().is_some_and(|report| report.counts.total() > 0);
    let unproved: Vec<&str> = steps
        .iter()
        .filter(reports)
        .map(|step| step.name.as_str())
        .filter(|name| !proved.contains(name))
        .collect();
    if !unproved.is_empty() {
        return Answer::refused(format!("not run a second time: {}", listed(unproved)))
            .help("take `converge = \"off\"` out of these steps, and build again");
    }
    if proved.is_empty() {
        return Answer::refused("no step of it was run a second time")
            .help("set `converge = \"check\"` for its scripts, and build again");
    }
    let (proved, all) = (proved.len(), steps.len());
    Answer::passed(format!("a second run of {proved} of {all} steps changed nothing"))
}

fn listed<'s>(names: impl IntoIterator<Item = &'s str>) -> String {
    let names: Vec<String> = names.into_iter().map(|name| format!("step `{name}`")).collect();
    names.join(", ")
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn stage(name: &str, changed: u64, convergence: &Value) -> StageRecord {
        let counts = json!({ "changed": changed });
        let mut report = json!({
            "format": 1, "kind": "puppet", "outcome": "done", "seconds": 1.0, "bytes": 0, "attempts": 1,
            "counts": counts
        });
        if !convergence.is_null() {
            report["convergence"] = convergence.clone();
        }
        serde_json::from_value(json!({
            "stage": "provision", "name": name, "seconds": 1.0, "bytes": 0, "cached": false, "report": report
        }))
        .unwrap()
    }

    fn proof(converged: bool, steps: &[&str]) -> Value {
        json!({
            "converged": converged, "steps": steps, "place": "copy", "seconds": 1.0, "run_seconds": 1.0,
            "counts": {}
        })
    }

    #[test]
    fn each_step_that_reports_resources_must_have_a_proof() {
        let none = Value::Null;
        for (stages, passes, part) in [
            (vec![], true, "no provision steps"),
            (vec![stage("a", 1, &proof(true, &[]))], true, "1 of 1 steps"),
            (vec![stage("s", 0, &none), stage("a", 1, &proof(true, &[]))], true, "1 of 2 steps"),
            (vec![stage("a", 1, &none), stage("b", 1, &proof(true, &["a", "b"]))], true, "2 of 2"),
            (vec![stage("a", 1, &none), stage("b", 1, &proof(true, &[]))], false, "step `a`"),
            (vec![stage("a", 1, &proof(false, &[]))], false, "changed something: step `a`"),
            (vec![stage("s", 0, &none)], false, "no step of it"),
        ] {
            assert!(stages.iter().all(|stage| stage.report.is_some()));
            let verdict = judge(&stages).verdict("converged");
            assert_eq!(verdict.passed, passes, "{verdict:?}");
            assert!(verdict.reason.contains(part), "{part}: {verdict:?}");
            assert_eq!(verdict.help.is_some(), !passes);
        }
    }
}
