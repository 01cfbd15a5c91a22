//! A terminal's screen: what happened scrolls above, what goes on stands below and moves.

use imgbake_types::Event;
use indicatif::{MultiProgress, ProgressDrawTarget};

use crate::board::Board;
use crate::many::Many;
use crate::single::Single;
use crate::summary;
use crate::view::{View, print};

/// The screen: the stages of one build, or the builds once there are several.
#[derive(Debug)]
pub(crate) struct Bars {
    multi: MultiProgress,
    view: View,
    one: Single,
    many: Option<Many>,
}

impl Bars {
    /// A screen at `target`.
    pub(crate) fn new(target: ProgressDrawTarget, view: View) -> Self {
        let multi = MultiProgress::with_draw_target(target);
        let one = Single::new(multi.clone(), view);
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

#[cfg(test)]
#[path = "bars_tests.rs"]
mod tests;
