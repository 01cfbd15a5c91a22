//! What a build's events say of its time. Pure.

use std::collections::BTreeMap;

use imgbake_types::event::{Event, EventKind, LayerAction, Outcome, Stage};

use crate::Result;

/// A build's stages and layers.
#[derive(Debug, Default)]
pub(super) struct Timeline {
    /// How the build ended.
    pub(super) outcome: Option<Outcome>,
    /// Provision steps that ran.
    pub(super) ran: Vec<String>,
    /// Layers that were saved, in order.
    pub(super) saved: Vec<Saved>,
    /// Whether a saved machine went on.
    pub(super) restored: bool,
    /// Why a layer was of no use, or not saved whole.
    pub(super) complaints: Vec<String>,
    seconds: BTreeMap<Stage, f64>,
    /// Seconds of each provision step, in order.
    steps: Vec<(String, f64)>,
    /// Seconds from the end of a stage whose result is a machine to the beginning of the next, by the
    /// name of the first: the machine is saved in them.
    pauses: BTreeMap<String, f64>,
}

/// A layer that was saved.
#[derive(Debug)]
pub(super) struct Saved {
    /// The step's name.
    pub(super) name: String,
    /// Bytes that its disk takes.
    pub(super) disk: u64,
    /// Bytes that the machine's state takes.
    pub(super) state: u64,
}

impl Timeline {
    /// Reads JSON lines.
    pub(super) fn read(text: &str) -> Result<Self> {
        let mut reported = Self::default();
        let mut ended = None;
        for line in text.lines() {
            let event: Event = serde_json::from_str(line)?;
            match event.kind {
                EventKind::StageStarted { .. } => {
                    if let Some((name, since)) = ended.take() {
                        let pause = event.time.duration_since(since).as_secs_f64();
                        reported.pauses.insert(name, pause);
                    }
                }
                EventKind::StageFinished { stage, name, seconds, outcome, .. } => {
                    *reported.seconds.entry(stage).or_default() += seconds;
                    ended = None;
                    if outcome != Outcome::Done {
                        continue;
                    }
                    if stage == Stage::Provision {
                        reported.ran.push(name.clone());
                        reported.steps.push((name.clone(), seconds));
                    }
                    if matches!(stage, Stage::Boot | Stage::Provision) {
                        ended = Some((name, event.time));
                    }
                }
                EventKind::Layer { name, action, disk_bytes, state_bytes, reason, .. } => {
                    if !reason.is_empty() {
                        reported.complaints.push(format!("{name}: {reason}"));
                    }
                    match action {
                        LayerAction::Saved => {
                            reported.saved.push(Saved {
                                name,
                                disk: disk_bytes,
                                state: state_bytes,
                            });
                        }
                        LayerAction::Restored => reported.restored = true,
                        _ => {}
                    }
                }
                EventKind::BuildFinished { outcome, .. } => reported.outcome = Some(outcome),
                _ => {}
            }
        }
        Ok(reported)
    }

    /// Seconds of a stage, all its steps together.
    pub(super) fn of(&self, stage: Stage) -> f64 {
        self.seconds.get(&stage).copied().unwrap_or_default()
    }

    /// Seconds of each provision step that ran, in order.
    pub(super) fn steps(&self) -> &[(String, f64)] {
        &self.steps
    }

    /// Seconds that each machine was held up while it was saved: its disk written, its state saved, a
    /// new overlay put under it.
    pub(super) fn saves(&self) -> impl Iterator<Item = f64> {
        self.saved.iter().filter_map(|layer| self.pauses.get(&layer.name).copied())
    }

    /// Seconds from a step's end to the beginning of the next stage, in which the machine is saved.
    pub(super) fn pause_after(&self, step: &str) -> Option<f64> {
        self.pauses.get(step).copied()
    }

    /// Says whether the build was the one that the bench means: a machine that went on, and so many
    /// steps that ran.
    ///
    /// # Errors
    /// It was another; with what the build said of its layers.
    pub(super) fn expect_warm(&self, steps: usize) -> Result<()> {
        if self.restored && self.ran.len() == steps {
            return Ok(());
        }
        let how = if self.restored { "restored a machine" } else { "restored no machine" };
        Err(format!(
            "{steps} steps should have run on a restored machine; the build {how} and ran {}: {}\n{}",
            self.ran.len(),
            self.ran.join(", "),
            self.complaints.join("\n")
        )
        .into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(second: f64, kind: &str) -> String {
        format!("{{\"time\":\"2026-01-01T00:00:{second:06.3}Z\",\"job\":\"a\",{kind}}}\n")
    }

    fn finished(second: f64, stage: &str, name: &str, outcome: &str, seconds: f64) -> String {
        line(
            second,
            &format!(
                "\"type\":\"stage_finished\",\"stage\":\"{stage}\",\"name\":\"{name}\",\
                 \"outcome\":\"{outcome}\",\"seconds\":{seconds},\"bytes\":0,\"detail\":\"\""
            ),
        )
    }

    fn started(second: f64, stage: &str, name: &str) -> String {
        let kind = format!("\"type\":\"stage_started\",\"stage\":\"{stage}\",\"name\":\"{name}\"");
        line(second, &kind)
    }

    fn layer(second: f64, name: &str, action: &str, reason: &str) -> String {
        let key = "sha256:88f245ee378aa88571979398c64ebcc087c3945691e13b8067fe0c62163fee41";
        line(
            second,
            &format!(
                "\"type\":\"layer\",\"stage\":\"provision\",\"name\":\"{name}\",\"key\":\"{key}\",\
                 \"action\":\"{action}\",\"disk_bytes\":5,\"state_bytes\":7,\"age\":0.0,\
                 \"reason\":\"{reason}\""
            ),
        )
    }

    #[test]
    fn a_change_of_the_last_step() {
        let text = [
            started(1.0, "restore", "one"),
            finished(2.5, "provision", "one", "cached", 0.0),
            layer(2.5, "one", "restored", ""),
            finished(3.0, "restore", "one", "done", 2.0),
            started(3.0, "provision", "two"),
            finished(4.0, "provision", "two", "done", 1.0),
            started(4.5, "seal", "seal"),
            layer(4.6, "two", "saved", ""),
            finished(7.0, "seal", "seal", "done", 2.5),
        ];
        let reported = Timeline::read(&text.concat()).unwrap();
        assert!(reported.restored);
        assert_eq!(reported.ran, ["two"]);
        assert_eq!(reported.steps(), [("two".to_owned(), 1.0)]);
        assert!((reported.of(Stage::Restore) - 2.0).abs() < 1e-9);
        assert_eq!(
            reported.saves().map(|seconds| (seconds * 10.0).round()).collect::<Vec<_>>(),
            [5.0]
        );
        assert_eq!((reported.saved[0].disk, reported.saved[0].state), (5, 7));
        reported.expect_warm(1).unwrap();
    }

    #[test]
    fn a_build_that_fell_back_is_not_taken_for_a_warm_one() {
        let text = [
            layer(1.0, "one", "refused", "its state is gone"),
            layer(9.0, "one", "booted", ""),
            finished(12.0, "provision", "two", "done", 1.0),
        ];
        let reported = Timeline::read(&text.concat()).unwrap();
        let words = reported.expect_warm(1).unwrap_err().to_string();
        assert!(words.contains("restored no machine and ran 1: two"), "{words}");
        assert!(words.contains("one: its state is gone"), "{words}");
    }
}
