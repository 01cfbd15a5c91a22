//! Single display for every mode.

use std::io::Write;

use imgbake_types::event::{LayerAction, Level, Stream};
use imgbake_types::{Event, EventKind};
use indicatif::ProgressDrawTarget;

use crate::bars::Bars;
use crate::board::Board;
use crate::lines::Look;
use crate::paint::Paint;
use crate::plain;
use crate::summary;
use crate::view::View;

/// How a command shows what it does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Moving bars on standard error, which must be a terminal.
    Bars,
    /// Single line after another, without control codes unless colour is asked for.
    Plain,
    /// Warnings, fallbacks and failed tests alone.
    Quiet,
}

/// What a display is like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// The mode.
    pub mode: Mode,
    /// Whether there is colour.
    pub color: bool,
    /// The terminal's columns, where they are known. Default: 80.
    pub width: Option<u16>,
    /// The terminal's rows, where they are known. Default: 24.
    pub height: Option<u16>,
    /// Also what a stage is doing, and each seal operation.
    pub verbose: bool,
}

impl Options {
    /// A mode without colour, width or details.
    pub const fn new(mode: Mode) -> Self {
        Self { mode, color: false, width: None, height: None, verbose: false }
    }
}

/// Shows events as they come.
pub struct Display {
    board: Board,
    screen: Screen,
    options: Options,
}

enum Screen {
    Bars(Box<Bars>),
    Lines(Box<dyn Write + Send>),
}

impl std::fmt::Debug for Display {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Display").field("options", &self.options).finish_non_exhaustive()
    }
}

impl Display {
    /// A display. Lines go to `out`; bars go to standard error, and where that is no terminal, they
    /// become lines.
    pub fn new(options: Options, out: Box<dyn Write + Send>) -> Self {
        if options.mode == Mode::Bars {
            let display = Self::on(options, ProgressDrawTarget::stderr(), true);
            if matches!(&display.screen, Screen::Bars(bars) if !bars.is_hidden()) {
                return display;
            }
        }
        Self { board: Board::default(), screen: Screen::Lines(out), options }
    }

    /// Bars on a given target; a still picture unless they tick.
    pub(crate) fn on(options: Options, target: ProgressDrawTarget, tick: bool) -> Self {
        let width = usize::from(options.width.unwrap_or(80)).max(40);
        let height = usize::from(options.height.unwrap_or(24));
        let look = Look { paint: Paint::new(options.color), width };
        let bars = Bars::new(target, View { look, height, verbose: options.verbose, tick });
        Self { board: Board::default(), screen: Screen::Bars(Box::new(bars)), options }
    }

    /// Shows one event. Output that cannot be written is dropped: a reader that has gone must not
    /// end a build.
    pub fn handle(&mut self, event: &Event) {
        let stage = self.board.apply(event);
        if !self.options.verbose && is_console(event) {
            return;
        }
        match &mut self.screen {
            Screen::Bars(bars) => bars.show(&self.board, event, stage),
            Screen::Lines(out) => {
                if self.options.mode == Mode::Quiet && !is_grave(event) {
                    return;
                }
                let paint = Paint::new(self.options.color);
                let lines = plain::lines(&self.board, event, stage, self.options.verbose, paint);
                let text: String = lines.iter().flat_map(|line| [line.as_str(), "\n"]).collect();
                let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
            }
        }
    }

    /// Takes away all that moves, because somebody else needs the terminal; the next event shows it
    /// again. What was done stays.
    pub fn pause(&mut self) {
        if let Screen::Bars(bars) = &mut self.screen {
            bars.pause(&self.board);
        }
    }

    /// Ends the display: the finished stages stay, all that moves goes. Of several builds it shows
    /// the results as a table; why one failed, the command reports after it.
    pub fn finish(&mut self) {
        match &mut self.screen {
            Screen::Bars(bars) => bars.finish(&self.board),
            Screen::Lines(out) => {
                if self.options.mode == Mode::Plain && self.board.several() {
                    let paint = Paint::new(self.options.color);
                    let table = summary::results(&self.board, paint, None);
                    let _ = out.write_all(format!("\n{table}").as_bytes());
                    let _ = out.flush();
                }
            }
        }
    }
}

/// Whether it is a line of a machine's console: a boot prints hundreds.
fn is_console(event: &Event) -> bool {
    matches!(event.kind, EventKind::Output { stream: Stream::Console, .. })
}

/// Whether even a quiet user wants to see it.
fn is_grave(event: &Event) -> bool {
    match &event.kind {
        EventKind::Notice { level, .. } => *level == Level::Warning,
        EventKind::TestFinished { result } => !result.passed,
        EventKind::Layer { action, .. } => *action == LayerAction::Refused,
        EventKind::Machine { .. } => true,
        _ => false,
    }
}
