//! Single build: its stages are shown below, the running ones with a clock.

use std::fmt::Write as _;

use imgbake_types::{Event, EventKind};
use indicatif::{MultiProgress, ProgressBar, ProgressState, ProgressStyle};

use crate::board::{Board, StageState};
use crate::lines::{BYTES, Look, TIME};
use crate::messages;
use crate::paint::Tone;
use crate::scrolled::scrolled_lines;
use crate::summary;
use crate::text::{clean, right};
use crate::units::{human_bytes, human_seconds};
use crate::view::{SPINNER, TICK, View, print, template};

/// A stage by its job and its place in the job's list.
type Key = (String, usize);

/// The stages on the screen.
#[derive(Debug)]
pub(crate) struct Single {
    multi: MultiProgress,
    view: View,
    /// Stages that may be shown below at once.
    most: usize,
    /// The stages that are shown below, in their order on the screen.
    shown: Vec<(Key, ProgressBar)>,
    /// The line of a build that waits while no stage of it runs.
    waiting: Option<ProgressBar>,
    /// Whether anything is between the header and the stages.
    scrolled: bool,
}

impl Single {
    /// A screen without stages yet.
    pub(crate) fn new(multi: MultiProgress, view: View) -> Self {
        let most = (view.height / 2).max(3);
        Self { multi, view, most, shown: Vec::new(), waiting: None, scrolled: false }
    }

    /// Shows an event. `stage` is the place of the stage that it is about.
    pub(crate) fn show(&mut self, board: &Board, event: &Event, stage: Option<usize>) {
        let key = stage.map(|index| (event.job.clone(), index));
        match (&event.kind, key) {
            (EventKind::StageStarted { .. }, Some(key)) => self.begin(board, key),
            (EventKind::StageProgress { done, total, .. }, Some(key)) => {
                if let Some(bar) = self.bar(&key) {
                    if let Some(total) = total {
                        bar.set_length(*total);
                    }
                    bar.set_position(*done);
                }
            }
            (EventKind::StageStatus { status, .. }, Some(key)) => {
                if let Some(bar) = self.bar(&key) {
                    bar.set_message(self.view.look.paint.dim(&clean(status)));
                }
            }
            (EventKind::StageFinished { .. }, Some(key)) => self.end(board, &key),
            (EventKind::Waiting { what }, _) => self.wait(board, &event.job, &clean(what)),
            (EventKind::BuildFinished { .. }, _) => self.finished(board, event),
            _ => {
                let View { look, verbose, .. } = self.view;
                let lines = scrolled_lines(look, board, event, stage, verbose);
                self.scrolled |= lines.last().is_some_and(|line| !line.is_empty());
                print(&self.multi, &lines);
            }
        }
    }

    /// Leaves the finished stages on the screen and takes away the rest.
    pub(crate) fn finish(&mut self, board: &Board) {
        self.wait_no_more();
        let shown = std::mem::take(&mut self.shown);
        self.scroll_up(board, &shown);
    }

    fn bar(&self, key: &Key) -> Option<&ProgressBar> {
        self.shown.iter().find(|(known, _)| known == key).map(|(_, bar)| bar)
    }

    fn begin(&mut self, board: &Board, key: Key) {
        let Some(stage) = stage(board, &key) else { return };
        self.wait_no_more();
        while self.shown.len() >= self.most {
            let over =
                |(key, _): &(Key, ProgressBar)| finished_line(self.view.look, board, key).is_some();
            let Some(place) = self.shown.iter().position(over) else { break };
            let oldest = self.shown.remove(place);
            self.scroll_up(board, &[oldest]);
        }
        let style =
            running(self.view.look, "{spinner} {prefix}  {time}  {size}  {meter}{wide_msg}");
        let bar = self.add(style, self.view.look.head(stage.stage.name(), stage.own_name()));
        self.shown.push((key, bar));
    }

    fn add(&self, style: ProgressStyle, prefix: String) -> ProgressBar {
        let bar = self.multi.add(ProgressBar::new_spinner().with_style(style));
        bar.set_prefix(prefix);
        if self.view.tick {
            bar.enable_steady_tick(TICK);
        } else {
            bar.tick();
        }
        bar
    }

    fn end(&mut self, board: &Board, key: &Key) {
        if self.bar(key).is_none() {
            self.begin(board, key.clone()); // its start was not reported
        }
        if let Some(bar) = self.bar(key)
            && let Some(line) = finished_line(self.view.look, board, key)
        {
            bar.disable_steady_tick();
            bar.set_style(template("{msg}"));
            bar.finish_with_message(line);
        }
    }

    /// Shows what a job waits for: on its running stage, or on a line of its own until one begins.
    fn wait(&mut self, board: &Board, job: &str, what: &str) {
        let look = self.view.look;
        let runs = |(key, _): &&(Key, ProgressBar)| {
            key.0 == job && finished_line(look, board, key).is_none()
        };
        if let Some((_, bar)) = self.shown.iter().rfind(runs) {
            bar.set_message(look.paint.dim(&format!("waiting for {what}")));
            return;
        }
        let bar = self.waiting.take().unwrap_or_else(|| {
            let style = running(look, "{spinner} {prefix}  {time}  {wide_msg}");
            self.add(style, look.head("waiting", ""))
        });
        bar.set_message(look.paint.dim(&format!("for {what}")));
        self.waiting = Some(bar);
    }

    fn wait_no_more(&mut self) {
        if let Some(bar) = self.waiting.take() {
            self.multi.remove(&bar);
        }
    }

    /// Takes stages off the screen's lower part; the finished ones stay as lines above.
    fn scroll_up(&self, board: &Board, shown: &[(Key, ProgressBar)]) {
        for (_, bar) in shown {
            self.multi.remove(bar);
        }
        let line = |(key, _): &(Key, ProgressBar)| finished_line(self.view.look, board, key);
        print(&self.multi, &shown.iter().filter_map(line).collect::<Vec<_>>());
    }

    /// The end of a build: its stages become the final table.
    fn finished(&mut self, board: &Board, event: &Event) {
        let Some(job) = board.job(&event.job) else { return };
        let Some((outcome, message)) = messages::closing(job) else { return };
        self.wait_no_more();
        let (own, others) =
            std::mem::take(&mut self.shown).into_iter().partition(|(key, _)| key.0 == event.job);
        self.shown = others;
        if !summary::has_report(outcome) {
            self.scroll_up(board, &own);
            let gap = (self.scrolled || !own.is_empty()).then(String::new);
            let line = self.view.look.closing(outcome, &message);
            print(&self.multi, &gap.into_iter().chain([line]).collect::<Vec<_>>());
            return;
        }
        for (_, bar) in &own {
            self.multi.remove(bar);
        }
        let mut lines: Vec<String> = self.scrolled.then(String::new).into_iter().collect();
        lines.extend(summary::report(self.view.look, job, &event.kind));
        print(&self.multi, &lines);
    }
}

/// The style of what runs: the same columns as a finished stage.
fn running(look: Look, columns: &str) -> ProgressStyle {
    let ticks: Vec<String> =
        SPINNER.iter().map(|tick| look.paint.tone(Tone::Active, tick)).collect();
    let ticks: Vec<&str> = ticks.iter().map(String::as_str).collect();
    template(columns)
        .tick_strings(&ticks)
        .with_key("time", |state: &ProgressState, out: &mut dyn std::fmt::Write| {
            let _ = out.write_str(&right(&human_seconds(state.elapsed().as_secs_f64()), TIME));
        })
        .with_key("size", |state: &ProgressState, out: &mut dyn std::fmt::Write| {
            let size = if state.pos() == 0 { String::new() } else { human_bytes(state.pos()) };
            let _ = out.write_str(&right(&size, BYTES));
        })
        .with_key("meter", move |state: &ProgressState, out: &mut dyn std::fmt::Write| {
            let _ = out.write_str(&meter(look, state));
        })
}

fn stage<'a>(board: &'a Board, key: &Key) -> Option<&'a StageState> {
    board.job(&key.0)?.stages.get(key.1)
}

/// The line of a stage that has ended.
fn finished_line(look: Look, board: &Board, key: &Key) -> Option<String> {
    let stage = stage(board, key)?;
    Some(look.stage(stage, stage.end.as_ref()?))
}

/// A bar and how much there is in all; nothing where that is not known.
fn meter(look: Look, state: &ProgressState) -> String {
    let Some(total) = state.len().filter(|&total| total > 0 && state.pos() > 0) else {
        return String::new();
    };
    let message = format!(" of {}", human_bytes(total));
    let columns = look.detail().saturating_sub(message.len()).min(24);
    let (full, empty) = fill(state.pos(), total, columns);
    let bar =
        look.paint.tone(Tone::Active, &"━".repeat(full)) + &look.paint.dim(&"─".repeat(empty));
    let mut text = format!("{bar}{message}");
    if look.detail() >= 48 {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a rate for people; a cast of a float saturates"
        )]
        let rate = state.per_sec() as u64;
        let _ = write!(text, ", {}/s", human_bytes(rate));
    }
    text.push_str("  ");
    text
}

/// How many of `columns` columns are full and how many are empty.
fn fill(done: u64, total: u64, columns: usize) -> (usize, usize) {
    let share = u128::from(done.min(total)) * columns as u128 / u128::from(total.max(1));
    let full = usize::try_from(share).unwrap_or(columns);
    (full, columns - full)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_meter_fills() {
        for (done, total, expected) in [
            (0, 10, (0, 20)),
            (5, 10, (10, 10)),
            (99, 10, (20, 0)),
            (u64::MAX, u64::MAX, (20, 0)),
            (1, 0, (0, 20)),
        ] {
            assert_eq!(fill(done, total, 20), expected, "{done} of {total}");
        }
    }
}
