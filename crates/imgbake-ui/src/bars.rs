//! A terminal's screen: what happened scrolls above, what goes on stands below and moves.

use std::time::Duration;

use imgbake_types::Event;
use indicatif::{MultiProgress, ProgressDrawTarget, ProgressStyle};

use crate::board::Board;
use crate::lines::Look;
use crate::many::Many;
use crate::one::One;
use crate::summary;

pub(crate) const SPINNER: [&str; 10] = ["⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧", "⠇", "⠏"];
/// How often the spinner turns and the clock is drawn.
pub(crate) const TICK: Duration = Duration::from_millis(100);

/// What a screen is like.
#[derive(Debug, Clone, Copy)]
pub(crate) struct View {
    pub(crate) look: Look,
    /// The terminal's rows.
    pub(crate) height: usize,
    pub(crate) verbose: bool,
    /// Turned off where a test needs a still picture.
    pub(crate) tick: bool,
}

/// The screen: the stages of one build, or the builds once there are several.
#[derive(Debug)]
pub(crate) struct Bars {
    multi: MultiProgress,
    view: View,
    one: One,
    many: Option<Many>,
}

impl Bars {
    /// A screen at `target`.
    pub(crate) fn new(target: ProgressDrawTarget, view: View) -> Self {
        let multi = MultiProgress::with_draw_target(target);
        let one = One::new(multi.clone(), view);
        Self { multi, view, one, many: None }
    }

    /// Whether nobody would see it.
    pub(crate) fn is_hidden(&self) -> bool {
        self.multi.is_hidden()
    }

    /// Shows an event. `stage` is the place of the stage that it is about.
    pub(crate) fn show(&mut self, board: &Board, event: &Event, stage: Option<usize>) {
        if !board.several() {
            self.one.show(board, event, stage);
            return;
        }
        let many = self.many.get_or_insert_with(|| {
            self.one.finish(board);
            Many::new(self.multi.clone(), self.view)
        });
        many.show(board, event, stage);
    }

    /// Takes away all that moves until the next event. What was done stays on the screen.
    pub(crate) fn pause(&mut self, board: &Board) {
        self.one.finish(board);
        if let Some(many) = &mut self.many {
            many.pause();
        }
        let _ = self.multi.clear();
    }

    /// Leaves what was done on the screen and takes away the rest.
    pub(crate) fn finish(&mut self, board: &Board) {
        self.pause(board);
        if self.many.take().is_some() {
            let look = self.view.look;
            let table = summary::results(board, look.paint, Some(look.width));
            print(&self.multi, &[String::new(), table.trim_end().to_owned()]);
            let _ = self.multi.clear();
        }
    }
}

/// Prints lines above the bars. A terminal that has gone is no error.
pub(crate) fn print(multi: &MultiProgress, lines: &[String]) {
    if !lines.is_empty() {
        // With its own end, an empty last line is kept.
        let text: String = lines.iter().flat_map(|line| [line.as_str(), "\n"]).collect();
        let _ = multi.println(text);
    }
}

/// A template that is known to be right.
pub(crate) fn template(text: &str) -> ProgressStyle {
    ProgressStyle::with_template(text).unwrap_or_else(|_| ProgressStyle::default_spinner())
}

#[cfg(test)]
#[path = "bars_tests.rs"]
mod tests;
