//! The lines of a terminal's screen: one look for running stages, finished ones and the final table.

use std::fmt::Write as _;

use imgbake_types::Outcome;
use imgbake_types::record::TestOutcome;

use crate::board::{StageEnd, StageState};
use crate::paint::{Paint, Tone};
use crate::text::{clean, cut, left, right, wrap};
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

    /// The stage's word and name in their columns. `label` tells a job from others.
    pub(crate) fn head(self, stage: &StageState, label: &str) -> String {
        let name = match (label, stage.own_name()) {
            ("", name) => name.to_owned(),
            (label, "") => label.to_owned(),
            (label, name) => format!("{label} {name}"),
        };
        let name = left(&cut(&name, self.name()), self.name());
        format!("{}  {name}", left(stage.stage.name(), STAGE))
    }

    /// A finished stage. The words of a warning or failure are never cut: they go on below.
    pub(crate) fn stage(self, stage: &StageState, end: &StageEnd, label: &str) -> String {
        let paint = self.paint;
        let (mark, tone) = mark(end.outcome);
        let (time, bytes) = (human_seconds(end.seconds), some_bytes(end.bytes));
        let numbers = format!("{}  {}", right(&time, TIME), right(&bytes, BYTES));
        let head = self.head(stage, label);
        let grave = matches!(end.outcome, Outcome::Warning | Outcome::Failed);
        let fits = crate::text::width(&end.detail) <= self.detail();
        let mut line = match end.outcome {
            Outcome::Skipped => paint.dim(&format!("{mark} {head}  {numbers}")),
            _ => format!("{} {head}  {numbers}", paint.tone(tone, mark)),
        };
        let below = if grave && !fits {
            wrap(&end.detail, self.width.saturating_sub(4))
        } else {
            Vec::new()
        };
        if below.is_empty() && !end.detail.is_empty() {
            let detail = cut(&end.detail, self.detail());
            line = format!("{line}  {}", paint.tone(if grave { tone } else { Tone::Dim }, &detail));
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

    /// A line of output, with whose it is.
    pub(crate) fn output(self, label: &str, name: &str, line: &str) -> String {
        let who = format!("{label} {name}");
        format!("{} {}", self.paint.dim(&format!("{} │", clean(who.trim()))), clean(line))
            .trim_end()
            .to_owned()
    }

    /// A test's result in the stages' columns; of one that failed, why.
    pub(crate) fn test(self, result: &TestOutcome) -> String {
        let (mark, tone) = mark(if result.passed { Outcome::Done } else { Outcome::Failed });
        let machine = left(&cut(&clean(&result.machine), self.name()), self.name());
        let time = right(&human_seconds(result.seconds), TIME);
        let head = format!("{} {}  {machine}", self.paint.tone(tone, mark), left("test", STAGE));
        let name =
            self.paint.tone(if result.passed { Tone::Normal } else { tone }, &clean(&result.name));
        let mut line = format!("{head}  {time}  {}  {name}", " ".repeat(BYTES));
        if !result.passed {
            for part in result.detail.lines().map(clean) {
                let _ = write!(line, "\n    {}", self.paint.tone(tone, &part));
            }
        }
        line
    }

    /// A mark, and words that are wrapped beside it.
    pub(crate) fn remark(self, outcome: Outcome, label: &str, words: &str) -> String {
        let (mark, tone) = mark(outcome);
        let mark = if outcome == Outcome::Skipped { "·" } else { mark };
        let words = format!("{label} {}", clean(words));
        let lines = wrap(words.trim_start(), self.width.saturating_sub(2));
        let tone_of_words = if outcome == Outcome::Skipped { Tone::Normal } else { tone };
        let painted: Vec<String> =
            lines.iter().map(|l| self.paint.tone(tone_of_words, l)).collect();
        format!("{} {}", self.paint.tone(tone, mark), painted.join("\n  "))
    }
}

/// An outcome's mark and tone.
pub(crate) const fn mark(outcome: Outcome) -> (&'static str, Tone) {
    match outcome {
        Outcome::Done => ("✓", Tone::Good),
        Outcome::Cached => ("=", Tone::Good),
        Outcome::Warning => ("!", Tone::Warn),
        Outcome::Skipped => ("–", Tone::Dim),
        Outcome::Failed => ("✗", Tone::Bad),
    }
}
