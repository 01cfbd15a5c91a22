//! Many builds at once: one line for each that runs or has ended, and one for all of them.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use imgbake_types::{Event, EventKind, Outcome};
use indicatif::{MultiProgress, ProgressBar, ProgressState};

use crate::board::{Board, BuildEnd, Doing, JobState};
use crate::lines::{Look, TIME, mark};
use crate::messages;
use crate::paint::Tone;
use crate::scrolled::scrolled_lines;
use crate::summary;
use crate::text::{cut, cut_middle, left, right, width};
use crate::units::{human_bytes, human_seconds};
use crate::view::{SPINNER, TICK, View, template};

/// Columns of `12/14`, the stage that a build has reached.
const REACHED: usize = 5;

/// The lines of many builds. They are one bar of several lines, so that they are drawn at once.
#[derive(Debug)]
pub(crate) struct Many {
    multi: MultiProgress,
    view: View,
    began: Instant,
    /// None while the terminal is somebody else's.
    bar: Option<ProgressBar>,
    lines: Arc<Mutex<Vec<Line>>>,
    /// The jobs that have ended and still have a line below, the first to end first.
    ended: Vec<String>,
}

/// Single line of the picture.
#[derive(Debug, Clone, PartialEq)]
enum Line {
    /// A line that does not move.
    Still(String),
    /// A line with a clock, with or without a spinner before it.
    Moving { spinner: bool, head: String, began: Instant, tail: String },
}

impl Many {
    /// A screen without lines yet.
    pub(crate) fn new(multi: MultiProgress, view: View) -> Self {
        let (lines, ended) = (Arc::default(), Vec::new());
        Self { multi, view, began: Instant::now(), bar: None, lines, ended }
    }

    /// Shows an event.
    pub(crate) fn show(&mut self, board: &Board, event: &Event, stage: Option<usize>) {
        let (look, verbose) = (self.view.look, self.view.verbose);
        let mut scrolled = scrolled_lines(look, board, event, stage, verbose);
        if let EventKind::BuildFinished { .. } = event.kind
            && let Some(job) = board.builds().find(|job| job.name == event.job)
        {
            self.ended.push(job.name.clone());
            scrolled.extend(closing(look, job, &event.kind, verbose));
        }
        if !matches!(event.kind, EventKind::Output { .. }) {
            scrolled.extend(self.draw(board));
        }
        let bar = self.bar.take().unwrap_or_else(|| self.bar());
        if !scrolled.is_empty() {
            bar.println(scrolled.join("\n"));
        } else if !self.view.tick {
            bar.force_draw();
        }
        self.bar = Some(bar);
    }

    /// Takes all lines away until the next event.
    pub(crate) fn pause(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
            self.multi.remove(&bar);
        }
    }

    fn bar(&self) -> ProgressBar {
        let (view, lines) = (self.view, Arc::clone(&self.lines));
        let style = template("{builds}").with_key(
            "builds",
            move |state: &ProgressState, out: &mut dyn std::fmt::Write| {
                let turn = usize::try_from(state.elapsed().as_millis() / TICK.as_millis());
                let _ = out.write_str(&picture(view, &lock(&lines), turn.unwrap_or_default()));
            },
        );
        let bar = self.multi.add(ProgressBar::new_spinner().with_style(style));
        if view.tick {
            bar.enable_steady_tick(TICK);
        }
        bar
    }

    /// Makes the picture anew; gives the lines of ended builds that the screen has no more lines for.
    fn draw(&mut self, board: &Board) -> Vec<String> {
        let View { look, height, .. } = self.view;
        let columns = Columns::new(look, board);
        let running: Vec<&JobState> = board.builds().filter(|job| is_running(job)).collect();
        // A line for all of them, and one for what scrolls by.
        let shown = running.len().min(height.saturating_sub(2).max(1));
        let height_left = (height / 2).saturating_sub(shown + 1);
        let ended = |name: &String| board.job(name).and_then(|job| ended_line(look, columns, job));
        let over = self.ended.len().saturating_sub(height_left);
        let scrolled = self.ended.drain(..over).filter_map(|name| ended(&name)).collect();
        let mut lines: Vec<Line> = self.ended.iter().filter_map(ended).map(Line::Still).collect();
        lines.extend(running.iter().take(shown).map(|job| running_line(look, columns, job)));
        lines.push(total_line(look, columns, board, self.began, running.len() - shown));
        *lock(&self.lines) = lines;
        scrolled
    }
}

fn lock(lines: &Mutex<Vec<Line>>) -> MutexGuard<'_, Vec<Line>> {
    lines.lock().unwrap_or_else(PoisonError::into_inner)
}

const fn is_running(job: &JobState) -> bool {
    job.began.is_some() && job.end.is_none()
}

/// What is printed above when a build has ended: message that its line has no height_left for.
fn closing(look: Look, job: &JobState, kind: &EventKind, verbose: bool) -> Vec<String> {
    match messages::closing(job) {
        Some((outcome @ Outcome::Skipped, message)) => vec![look.closing(outcome, &message)],
        Some((outcome @ (Outcome::Done | Outcome::Warning), message)) if verbose => {
            let mut lines = vec![String::new(), look.closing(outcome, &message)];
            lines.extend(summary::report(look, job, kind));
            lines.push(String::new());
            lines
        }
        _ => Vec::new(),
    }
}

/// The lines as they are now; `turn` counts the spinner's steps.
fn picture(view: View, lines: &[Line], turn: usize) -> String {
    let paint = view.look.paint;
    let lines: Vec<String> = lines
        .iter()
        .map(|line| match line {
            Line::Still(text) => text.clone(),
            Line::Moving { spinner, head, began, tail } => {
                let mark = if *spinner { SPINNER[turn % SPINNER.len()] } else { " " };
                let seconds = if view.tick { began.elapsed().as_secs_f64() } else { 0.0 };
                let time = right(&human_seconds(seconds), TIME);
                let line = format!("{} {head}  {time}  {tail}", paint.tone(Tone::Active, mark));
                line.trim_end().to_owned()
            }
        })
        .collect();
    lines.join("\n")
}

/// How wide the columns are.
#[derive(Debug, Clone, Copy)]
struct Columns {
    image: usize,
    stage: usize,
    /// What is behind the time.
    tail: usize,
}

impl Columns {
    /// Names are shown whole if they take no more than a third of the screen or so.
    fn new(look: Look, board: &Board) -> Self {
        let longest = board.builds().map(|job| width(&job.image)).max().unwrap_or_default();
        let image = longest.clamp(8, look.width * 3 / 10);
        let others = 2 + 2 + REACHED + 2 + 2 + TIME + 2;
        // With short names the counts of the last line are still shown.
        let stage = (look.width / 5).max(38_usize.saturating_sub(image));
        let stage = stage.min(look.width.saturating_sub(others + image));
        Self { image, stage, tail: look.width.saturating_sub(others + image + stage) }
    }

    /// What is between the mark and the time.
    const fn head(self) -> usize {
        self.image + 2 + REACHED + 2 + self.stage
    }

    fn image(self, job: &JobState) -> String {
        left(&cut_middle(&job.image, self.image), self.image)
    }
}

fn running_line(look: Look, columns: Columns, job: &JobState) -> Line {
    let reached = match job.reached() {
        0 => String::new(),
        reached => format!("{reached}/{}", job.planned),
    };
    let stage = job.now().map_or_else(String::new, |stage| match stage.title() {
        title if width(&title) > columns.stage && !stage.own_name().is_empty() => {
            stage.own_name().to_owned()
        }
        title => title,
    });
    let stage = left(&cut(&stage, columns.stage), columns.stage);
    let head = format!("{}  {}  {stage}", columns.image(job), left(&reached, REACHED));
    let tail = look.paint.dim(&cut(&doing(&job.doing), columns.tail));
    Line::Moving { spinner: true, head, began: job.began.unwrap_or_else(Instant::now), tail }
}

fn doing(doing: &Doing) -> String {
    match doing {
        Doing::Quiet => String::new(),
        Doing::Message(message) => message.clone(),
        Doing::Bytes(done, Some(total)) if *total > 0 => {
            let percent = u128::from(*done.min(total)) * 100 / u128::from(*total);
            format!("{percent}% of {}", human_bytes(*total))
        }
        Doing::Bytes(done, _) => human_bytes(*done),
    }
}

fn ended_line(look: Look, columns: Columns, job: &JobState) -> Option<String> {
    let end = job.end.as_ref()?;
    let (sign, tone) = mark(end.outcome);
    let height_left = columns.head() - columns.image - 2;
    let result = left(&cut(&result(job, end), height_left), height_left);
    let time = match end.outcome {
        Outcome::Skipped => String::new(),
        _ => human_seconds(end.seconds),
    };
    let detail = match end.outcome {
        Outcome::Cached => "nothing to do".to_owned(),
        Outcome::Failed | Outcome::Skipped => end.error.clone(),
        Outcome::Done | Outcome::Warning => end.channel.clone().unwrap_or_default(),
    };
    let detail = cut(&detail, columns.tail);
    let rest = format!("{}  {result}  {}  ", columns.image(job), right(&time, TIME));
    let paint = look.paint;
    let line = match end.outcome {
        Outcome::Cached | Outcome::Skipped => {
            paint.dim(format!("{sign} {rest}{detail}").trim_end())
        }
        Outcome::Failed => {
            format!("{} {rest}{}", paint.tone(tone, sign), paint.tone(tone, &detail))
        }
        _ => format!("{} {rest}{}", paint.tone(tone, sign), paint.dim(&detail)),
    };
    Some(line.trim_end().to_owned())
}

fn result(job: &JobState, end: &BuildEnd) -> String {
    match end.outcome {
        Outcome::Failed => messages::failed_at(job.failed()),
        Outcome::Skipped => "not started".to_owned(),
        Outcome::Done | Outcome::Cached | Outcome::Warning => end.version.clone(),
    }
}

/// How many builds there are of each kind; `hidden` of those that run have no line.
fn total_line(look: Look, columns: Columns, board: &Board, began: Instant, hidden: usize) -> Line {
    let ended = |wanted: &[Outcome]| {
        let is = |job: &&JobState| job.end.as_ref().is_some_and(|e| wanted.contains(&e.outcome));
        board.builds().filter(is).count()
    };
    let running = board.builds().filter(|job| is_running(job)).count();
    let waiting = board.builds().filter(|job| job.began.is_none() && job.end.is_none()).count();
    let counts = [
        (ended(&[Outcome::Done, Outcome::Cached, Outcome::Warning]), "done"),
        (ended(&[Outcome::Failed]), "failed"),
        (ended(&[Outcome::Skipped]), "skipped"),
        (running, "running"),
        (waiting, "waiting"),
    ];
    let counts: Vec<String> = counts
        .into_iter()
        .filter(|(number, _)| *number > 0)
        .map(|(number, word)| format!("{number} {word}"))
        .collect();
    let head = cut(&counts.join(", "), look.width.saturating_sub(2 + 2 + TIME));
    let head = look.paint.strong(&left(&head, columns.head()));
    let tail = if hidden > 0 { format!("{hidden} not shown") } else { String::new() };
    let tail = look.paint.dim(&cut(&tail, columns.tail));
    Line::Moving { spinner: false, head, began, tail }
}

#[cfg(test)]
#[path = "many_tests.rs"]
mod tests;
