//! A terminal's screen: what happened scrolls above, the stages stand below and move.

use std::fmt::Write as _;
use std::time::Duration;

use imgbake_types::event::Level;
use imgbake_types::{Event, EventKind, Outcome};
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};

use crate::board::{Board, StageState};
use crate::lines::{BYTES, Look, TIME};
use crate::paint::Tone;
use crate::plain::seal_operation;
use crate::summary;
use crate::text::{clean, right};
use crate::units::{count, human_bytes, human_seconds};

const SPINNER: [&str; 10] = ["⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧", "⠇", "⠏"];
/// How often the spinner turns and the clock is drawn.
const TICK: Duration = Duration::from_millis(100);

/// A stage by its job and its place in the job's list.
type Key = (String, usize);

/// The stages on the screen.
#[derive(Debug)]
pub(crate) struct Bars {
    multi: MultiProgress,
    look: Look,
    verbose: bool,
    /// Stages that may stand below at once.
    most: usize,
    /// The stages that stand below, in their order on the screen.
    shown: Vec<(Key, ProgressBar)>,
    /// Whether anything stands between the header and the stages.
    scrolled: bool,
    /// Turned off where a test needs a still picture.
    tick: bool,
}

impl Bars {
    /// A screen of some height at `target`.
    pub(crate) fn new(
        target: ProgressDrawTarget,
        look: Look,
        height: usize,
        verbose: bool,
        tick: bool,
    ) -> Self {
        let multi = MultiProgress::with_draw_target(target);
        Self {
            multi,
            look,
            verbose,
            most: (height / 2).max(3),
            shown: Vec::new(),
            scrolled: false,
            tick,
        }
    }

    /// Whether nobody would see it.
    pub(crate) fn is_hidden(&self) -> bool {
        self.multi.is_hidden()
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
                    bar.set_message(self.look.paint.dim(&clean(status)));
                }
            }
            (EventKind::StageFinished { .. }, Some(key)) => self.end(board, &key),
            (EventKind::BuildFinished { .. }, _) => self.finished(board, event),
            _ => {
                let lines = self.above(board, event);
                self.scrolled |= lines.last().is_some_and(|line| !line.is_empty());
                self.print(&lines);
            }
        }
    }

    /// Leaves the finished stages on the screen and takes away the rest.
    pub(crate) fn finish(&mut self, board: &Board) {
        let shown = std::mem::take(&mut self.shown);
        self.settle(board, &shown);
        let _ = self.multi.clear();
    }

    fn bar(&self, key: &Key) -> Option<&ProgressBar> {
        self.shown.iter().find(|(known, _)| known == key).map(|(_, bar)| bar)
    }

    fn begin(&mut self, board: &Board, key: Key) {
        let Some(stage) = stage(board, &key) else { return };
        while self.shown.len() >= self.most {
            let over =
                |(key, _): &(Key, ProgressBar)| finished_line(self.look, board, key).is_some();
            let Some(place) = self.shown.iter().position(over) else { break };
            let oldest = self.shown.remove(place);
            self.settle(board, &[oldest]);
        }
        let bar = self.multi.add(ProgressBar::new_spinner().with_style(self.running()));
        bar.set_prefix(self.look.head(stage, board.label(&key.0)));
        if self.tick {
            bar.enable_steady_tick(TICK);
        } else {
            bar.tick();
        }
        self.shown.push((key, bar));
    }

    fn end(&mut self, board: &Board, key: &Key) {
        if self.bar(key).is_none() {
            self.begin(board, key.clone()); // its start was not told
        }
        if let Some(bar) = self.bar(key)
            && let Some(line) = finished_line(self.look, board, key)
        {
            bar.disable_steady_tick();
            bar.set_style(template("{msg}"));
            bar.finish_with_message(line);
        }
    }

    /// Takes stages off the screen's lower part; the finished ones stay as lines above.
    fn settle(&self, board: &Board, shown: &[(Key, ProgressBar)]) {
        for (_, bar) in shown {
            self.multi.remove(bar);
        }
        let line = |(key, _): &(Key, ProgressBar)| finished_line(self.look, board, key);
        self.print(&shown.iter().filter_map(line).collect::<Vec<_>>());
    }

    /// The end of a build: its stages become the final table.
    fn finished(&mut self, board: &Board, event: &Event) {
        let Some(job) = board.job(&event.job) else { return };
        let EventKind::BuildFinished { seconds, .. } = &event.kind else { return };
        let (own, others) =
            std::mem::take(&mut self.shown).into_iter().partition(|(key, _)| key.0 == event.job);
        self.shown = others;
        let paint = self.look.paint;
        if let Some(line) = summary::failure(&event.kind, job, paint) {
            self.settle(board, &own);
            self.print(&[String::new(), line]);
            return;
        }
        for (_, bar) in &own {
            self.multi.remove(bar);
        }
        let keys = (0..job.stages.len()).map(|index| (event.job.clone(), index));
        let mut lines: Vec<String> = self.scrolled.then(String::new).into_iter().collect();
        lines.extend(keys.filter_map(|key| finished_line(self.look, board, &key)));
        lines.push(self.look.total(*seconds));
        let facts = summary::facts(&event.kind, paint);
        if !facts.is_empty() {
            lines.push(String::new());
            lines.extend(facts.lines().map(str::to_owned));
        }
        let next = summary::next(&event.kind);
        if !next.is_empty() {
            lines.extend([String::new(), paint.dim("Next:")]);
            lines.extend(next.iter().map(|command| format!("  {command}")));
        }
        self.print(&lines);
    }

    /// The lines of what scrolls above.
    fn above(&self, board: &Board, event: &Event) -> Vec<String> {
        let (look, label) = (self.look, board.label(&event.job));
        match &event.kind {
            EventKind::BuildStarted { template, image, plan, stages } => {
                let rest = format!(
                    "{}, plan {}, {}",
                    clean(template.as_str()),
                    plan.short(),
                    count(*stages as u64, "stage")
                );
                vec![
                    format!("{}  {}", look.paint.strong(&clean(image)), look.paint.dim(&rest)),
                    String::new(),
                ]
            }
            EventKind::Output { name, line, .. } => vec![look.output(label, name, line)],
            EventKind::SealOperation { .. } if self.verbose => {
                vec![look.remark(Outcome::Skipped, label, &seal_operation(&event.kind))]
            }
            EventKind::TestFinished { result } => vec![look.test(result)],
            EventKind::Machine { machine, what } => {
                vec![look.remark(Outcome::Warning, label, &format!("{machine}: {what}"))]
            }
            EventKind::Notice { level, message } => {
                let outcome =
                    if *level == Level::Warning { Outcome::Warning } else { Outcome::Skipped };
                vec![look.remark(outcome, label, message)]
            }
            EventKind::ChannelMoved { channel, version, .. } => {
                vec![look.remark(Outcome::Skipped, "", &format!("{channel} is now {version}"))]
            }
            _ => Vec::new(),
        }
    }

    /// Prints lines above the stages. A terminal that has gone is no error.
    fn print(&self, lines: &[String]) {
        if !lines.is_empty() {
            // With its own end, an empty last line is kept.
            let text: String = lines.iter().flat_map(|line| [line.as_str(), "\n"]).collect();
            let _ = self.multi.println(text);
        }
    }

    /// The style of a running stage: the same columns as a finished one.
    fn running(&self) -> ProgressStyle {
        let (look, paint) = (self.look, self.look.paint);
        let ticks: Vec<String> =
            SPINNER.iter().map(|tick| paint.tone(Tone::Active, tick)).collect();
        let ticks: Vec<&str> = ticks.iter().map(String::as_str).collect();
        template("{spinner} {prefix}  {time}  {size}  {meter}{wide_msg}")
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
}

fn stage<'a>(board: &'a Board, key: &Key) -> Option<&'a StageState> {
    board.job(&key.0)?.stages.get(key.1)
}

/// The line of a stage that has ended.
fn finished_line(look: Look, board: &Board, key: &Key) -> Option<String> {
    let stage = stage(board, key)?;
    Some(look.stage(stage, stage.end.as_ref()?, board.label(&key.0)))
}

/// A bar and how much there is in all; nothing where that is not known.
fn meter(look: Look, state: &ProgressState) -> String {
    let Some(total) = state.len().filter(|&total| total > 0 && state.pos() > 0) else {
        return String::new();
    };
    let words = format!(" of {}", human_bytes(total));
    let room = look.detail().saturating_sub(words.len()).min(24);
    let (full, empty) = fill(state.pos(), total, room);
    let bar =
        look.paint.tone(Tone::Active, &"━".repeat(full)) + &look.paint.dim(&"─".repeat(empty));
    let mut text = format!("{bar}{words}");
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

/// How many of `room` columns are full and how many are empty.
fn fill(done: u64, total: u64, room: usize) -> (usize, usize) {
    let share = u128::from(done.min(total)) * room as u128 / u128::from(total.max(1));
    let full = usize::try_from(share).unwrap_or(room);
    (full, room - full)
}

/// A template that is known to be right.
fn template(text: &str) -> ProgressStyle {
    ProgressStyle::with_template(text).unwrap_or_else(|_| ProgressStyle::default_spinner())
}

#[cfg(test)]
#[path = "bars_tests.rs"]
mod tests;
