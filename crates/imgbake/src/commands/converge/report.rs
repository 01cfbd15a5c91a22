//! What `imgbake converge` prints.

use std::fmt::Write as _;

use imgbake_types::record::step::{Convergence, ProofPlace, ResourceCounts};
use imgbake_ui::{Align, Cell, Paint, Table, Tone, human_seconds};

use super::super::junit::{Case, Suite};
use super::proof::{ProofOutcome, Proved, ProvedStep};

/// A table for each build, a row for each provision step.
pub(super) fn table(paint: Paint, all: &[Proved]) -> String {
    let mut text = String::new();
    for proved in all {
        if all.len() > 1 {
            let _ = writeln!(text, "{}", paint.strong(&proved.image));
        }
        let mut table = Table::new([
            ("step", Align::Left),
            ("type", Align::Left),
            ("first run", Align::Left),
            ("time", Align::Right),
            ("second run", Align::Left),
            ("time", Align::Right),
            ("on", Align::Left),
            ("", Align::Left),
        ]);
        for step in &proved.steps {
            let cached = if step.cached { " (earlier)" } else { "" };
            let mut row = vec![
                Cell::from(step.name.clone()),
                Cell::from(step.kind.clone()),
                Cell::from(format!("{}{cached}", counts(step.counts))),
                Cell::from(human_seconds(step.seconds)),
            ];
            match &step.convergence {
                Some(proof) => row.extend([
                    Cell::from(second(proof)),
                    Cell::from(human_seconds(proof.seconds)),
                    Cell::from(place(proof.place)),
                    if proof.converged {
                        Cell::toned(Tone::Good, converged(proof))
                    } else {
                        Cell::toned(Tone::Bad, "did not converge")
                    },
                ]),
                None => row.extend(["", "", "", "not run again"].map(Cell::from)),
            }
            table.row(row);
        }
        if !table.is_empty() {
            text.push_str(&table.render(paint));
        }
        if proved.outcome == ProofOutcome::NotStarted {
            text.push_str("not started\n");
        }
    }
    text
}

fn counts(counts: ResourceCounts) -> String {
    if counts.total() == 0 { "ran".to_owned() } else { counts.to_string() }
}

/// What a second run did; that of several steps names how many.
fn second(proof: &Convergence) -> String {
    let steps = match proof.steps.len() {
        0 => String::new(),
        many => format!("{many} steps: "),
    };
    let compared = proof.changed.len() as u64;
    if proof.counts.total() == 0 {
        return format!("{steps}{compared} changed");
    }
    // What imgbake found by comparing, and the tool did not say.
    match compared.saturating_sub(proof.counts.changed) {
        0 => format!("{steps}{}", proof.counts),
        more => format!("{steps}{}, {more} more not as before", proof.counts),
    }
}

/// That a step converged, what the template let it change, and in which other order it ran.
fn converged(proof: &Convergence) -> String {
    let allowed = match proof.changed.len() {
        0 => String::new(),
        allowed => format!(", {allowed} allowed"),
    };
    let shuffled = proof.seed.map(|seed| format!(", also in the order of seed {seed}"));
    format!("converged{allowed}{}", shuffled.unwrap_or_default())
}

const fn place(place: ProofPlace) -> &'static str {
    match place {
        ProofPlace::Copy => "copy",
        ProofPlace::SecondMachine => "second machine",
        ProofPlace::InPlace => "in place",
    }
}

/// A suite for each build, a case for each step that was run again. A build that failed in another way is a case
/// of its own.
pub(super) fn suites(all: &[Proved]) -> Vec<Suite> {
    all.iter()
        .map(|proved| {
            let mut cases: Vec<Case> =
                proved.steps.iter().filter_map(|step| case(step, proved)).collect();
            if proved.outcome != ProofOutcome::Converged
                && cases.iter().all(|case| case.failure.is_none())
            {
                let failure = Some(proved.error.clone().unwrap_or_default());
                let name = "build".to_owned();
                cases.push(Case { class: String::new(), name, seconds: None, failure });
            }
            Suite { name: proved.image.clone(), seconds: proved.seconds, cases }
        })
        .collect()
}

fn case(step: &ProvedStep, proved: &Proved) -> Option<Case> {
    let proof = step.convergence.as_ref()?;
    // It names what changed, with the diffs.
    let failure = (!proof.converged).then(|| proved.error.clone().unwrap_or_default());
    let (class, name) = ("converge".to_owned(), step.name.clone());
    Some(Case { class, name, seconds: Some(proof.seconds), failure })
}

#[cfg(test)]
mod tests {
    use camino::Utf8PathBuf;
    use serde_json::json;

    use super::super::super::junit;
    use super::*;

    fn counts(changed: u64, unchanged: u64) -> ResourceCounts {
        ResourceCounts { changed, unchanged, ..ResourceCounts::default() }
    }

    fn step(name: &str, first: ResourceCounts, convergence: Option<Convergence>) -> ProvedStep {
        let (kind, cached) = ("puppet".to_owned(), name == "old");
        ProvedStep { name: name.to_owned(), kind, cached, seconds: 2.0, counts: first, convergence }
    }

    fn proof(converged: bool, again: ResourceCounts) -> Convergence {
        let mut proof = Convergence {
            converged,
            steps: Vec::new(),
            seed: None,
            place: ProofPlace::Copy,
            seconds: 1.5,
            run_seconds: 1.0,
            counts: again,
            changed: Vec::new(),
        };
        for number in 0..again.changed {
            let name = format!("/etc/{number}");
            let changed = json!({ "name": name, "type": "file", "outcome": "changed" });
            proof.changed.push(serde_json::from_value(changed).unwrap());
        }
        proof
    }

    fn proved(image: &str, outcome: ProofOutcome, steps: Vec<ProvedStep>) -> Proved {
        let error = (outcome != ProofOutcome::Converged).then(|| format!("why {image} <did> not"));
        let template = Utf8PathBuf::from(format!("{image}.toml"));
        Proved { image: image.to_owned(), template, outcome, error, seconds: 9.0, steps }
    }

    fn all() -> [Proved; 4] {
        let shuffled = Convergence { seed: Some(7), ..proof(true, counts(0, 5)) };
        let elsewhere =
            Convergence { place: ProofPlace::SecondMachine, ..proof(true, counts(1, 4)) };
        let both = vec!["site".to_owned(), "late".to_owned()];
        let in_order = Convergence { steps: both, ..proof(false, counts(2, 8)) };
        [
            proved(
                "good",
                ProofOutcome::Converged,
                vec![
                    step("script", counts(0, 0), None),
                    step("old", counts(5, 0), Some(shuffled)),
                    step("allowed", counts(5, 0), Some(elsewhere)),
                ],
            ),
            proved(
                "fights",
                ProofOutcome::NotConverged,
                vec![
                    step("site", counts(5, 0), Some(proof(true, counts(0, 5)))),
                    step("late", counts(5, 0), Some(in_order)),
                ],
            ),
            proved("broken", ProofOutcome::Failed, Vec::new()),
            proved("late", ProofOutcome::NotStarted, Vec::new()),
        ]
    }

    #[test]
    fn tables_show_both_runs() {
        insta::assert_snapshot!(table(Paint::new(false), &all()));
    }

    #[test]
    fn junit_has_a_case_for_each_proof_and_for_what_failed_otherwise() {
        insta::assert_snapshot!(junit::xml(&suites(&all())));
    }

    #[test]
    fn json_has_an_outcome_for_each_build() {
        let builds = serde_json::to_value(all()).unwrap();
        let outcomes: Vec<&str> =
            builds.as_array().unwrap().iter().map(|one| one["outcome"].as_str().unwrap()).collect();
        assert_eq!(outcomes, ["converged", "not-converged", "failed", "not-started"]);
        assert_eq!(builds[0]["steps"][1]["convergence"]["seed"], 7);
        assert_eq!(builds[1]["error"], "why fights <did> not");
    }
}
