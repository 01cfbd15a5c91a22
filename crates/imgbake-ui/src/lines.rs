//! The lines of a terminal's screen: one look for running stages, finished ones and the final table.

use std::fmt::Write as _;

use imgbake_types::Outcome;
use imgbake_types::record::TestOutcome;

use crate::board::{StageEnd, StageState};
use crate::messages::took_time;
use crate::paint::{Paint, Tone};
use crate::text::{clean, cut, cut_middle, left, right, width, wrap};
use crate::units::{human_seconds, some_bytes};

/// Columns of the stage's word: the longest is `provision`.
const STAGE: usize = 9;
/// Columns of a time: `1h 02m` and one to spare.
pub(crate) const TIME: usize = 7;
/// Columns of a size: `1023.9 MiB`.
pub(crate) const BYTES: usize = 10;

/// How wide the screen is and whether it has colour.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Look {
    pub(crate) paint: Paint,
    pub(crate) width: usize,
}

impl Look {
    /// Columns of a stage's own name.
    fn name(self) -> usize {
        (self.width / 5).clamp(8, 28)
    }

    /// Columns left for the detail.
    pub(crate) fn detail(self) -> usize {
        let taken = 2 + STAGE + 2 + self.name() + 2 + TIME + 2 + BYTES + 2;
        self.width.saturating_sub(taken)
    }

    /// The stage's word and name in their columns.
    pub(crate) fn head(self, word: &str, name: &str) -> String {
        format!("{}  {}", left(word, STAGE), left(&cut(name, self.name()), self.name()))
    }

    /// A finished stage. The message of a warning or failure is never cut: it continues below.
    pub(crate) fn stage(self, stage: &StageState, end: &StageEnd) -> String {
        let paint = self.paint;
        let (mark, tone) = mark(end.outcome);
        let untimed = end.outcome == Outcome::Cached && !took_time(end.seconds);
        let time = if untimed { String::new() } else { human_seconds(end.seconds) };
        let numbers = format!("{}  {}", right(&time, TIME), right(&some_bytes(end.bytes), BYTES));
        let head = self.head(stage.stage.name(), stage.own_name());
        let severe = matches!(end.outcome, Outcome::Warning | Outcome::Failed);
        let fits = width(&end.detail) <= self.detail();
        let mut line = match end.outcome {
            Outcome::Skipped | Outcome::Cached => paint.dim(&format!("{mark} {head}  {numbers}")),
            _ => format!("{} {head}  {numbers}", paint.tone(tone, mark)),
        };
        let below = if severe && !fits {
            wrap(&end.detail, self.width.saturating_sub(4))
        } else {
            Vec::new()
        };
        if below.is_empty() && !end.detail.is_empty() {
            let detail = cut(&end.detail, self.detail());
            line =
                format!("{line}  {}", paint.tone(if severe { tone } else { Tone::Dim }, &detail));
        }
        let mut line = line.trim_end().to_owned();
        for part in below {
            let _ = write!(line, "\n    {}", paint.tone(tone, &part));
        }
        line
    }

    /// The sum below the stages.
    pub(crate) fn total(self, seconds: f64) -> String {
        let head = left("  total", 2 + STAGE + 2 + self.name());
        self.paint.strong(&format!("{head}  {}", right(&human_seconds(seconds), TIME)))
    }

    /// A line of output, with whose it is. A long one goes on below, as far in as it began.
    pub(crate) fn output(self, label: &str, name: &str, line: &str) -> String {
        let who = cut_middle(clean(&format!("{label} {name}")).trim(), self.width / 3);
        let columns = self.width.saturating_sub(width(&who) + 3);
        let line = clean(line);
        let unindented = line.trim_start_matches(' ');
        let indent = (line.len() - unindented.len()).min(columns / 2);
        let mut before = who;
        let mut text = String::new();
        for part in wrap(unindented, columns - indent) {
            let part = format!("{}{part}", " ".repeat(indent));
            let line = format!("{} {part}", self.paint.dim(&format!("{before} │")));
            if !text.is_empty() {
                text.push('\n');
            }
            text.push_str(line.trim_end());
            before = " ".repeat(width(&before));
        }
        text
    }

    /// A test's result in the stages' columns; of one that failed, why.
    pub(crate) fn test(self, label: &str, result: &TestOutcome) -> String {
        let (mark, tone) = mark(if result.passed { Outcome::Done } else { Outcome::Failed });
        let place = if label.is_empty() { clean(&result.machine) } else { label.to_owned() };
        let head = self.head("test", &cut_middle(&place, self.name()));
        let time = right(&human_seconds(result.seconds), TIME);
        let mut parts = vec![clean(&result.name)];
        if !result.passed {
            parts.extend(result.detail.lines().map(clean));
        }
        let named = width(&parts[0]) <= self.detail();
        let first = if named { parts.remove(0) } else { String::new() };
        let first = self.paint.tone(if result.passed { Tone::Normal } else { tone }, &first);
        let mark = self.paint.tone(tone, mark);
        let line = format!("{mark} {head}  {time}  {}  {first}", " ".repeat(BYTES));
        let mut line = line.trim_end().to_owned();
        for part in parts.iter().flat_map(|part| wrap(part, self.width.saturating_sub(4))) {
            let tone = if result.passed { Tone::Normal } else { tone };
            let _ = write!(line, "\n    {}", self.paint.tone(tone, &part));
        }
        line
    }

    /// A mark, and a message that is wrapped beside it. What was skipped is no more than a note here.
    pub(crate) fn remark(self, outcome: Outcome, label: &str, message: &str) -> String {
        let (sign, tone) = mark(outcome);
        let sign = if outcome == Outcome::Skipped { "·" } else { sign };
        let message_tone = if outcome == Outcome::Skipped { Tone::Normal } else { tone };
        self.marked(sign, tone, message_tone, format!("{label} {}", clean(message)).trim_start())
    }

    /// The one line that reports a build's end.
    pub(crate) fn closing(self, outcome: Outcome, message: &str) -> String {
        let (sign, tone) = mark(outcome);
        self.marked(sign, tone, tone, message)
    }

    fn marked(self, sign: &str, tone: Tone, message_tone: Tone, message: &str) -> String {
        let lines = wrap(message, self.width.saturating_sub(2));
        let painted: Vec<String> = lines.iter().map(|l| self.paint.tone(message_tone, l)).collect();
        format!("{} {}", self.paint.tone(tone, sign), painted.join("\n  "))
    }
}

/// An outcome's mark and tone.
pub(crate) const fn mark(outcome: Outcome) -> (&'static str, Tone) {
    match outcome {
        Outcome::Done => ("✓", Tone::Good),
        Outcome::Cached => ("=", Tone::Dim),
        Outcome::Warning => ("!", Tone::Warn),
        Outcome::Skipped => ("–", Tone::Dim),
        Outcome::Failed => ("✗", Tone::Bad),
    }
}

/// An outcome's word and tone.
pub(crate) const fn word(outcome: Outcome) -> (&'static str, Tone) {
    match outcome {
        Outcome::Done => ("done", Tone::Good),
        Outcome::Cached => ("cached", Tone::Dim),
        Outcome::Warning => ("warning", Tone::Warn),
        Outcome::Skipped => ("skipped", Tone::Dim),
        Outcome::Failed => ("failed", Tone::Bad),
    }
}
