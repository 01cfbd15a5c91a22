//! What a screen is like, and what every picture on it is drawn with.

use std::time::Duration;

use indicatif::{MultiProgress, ProgressStyle};

use crate::lines::Look;

/// The spinner's pictures, in turn.
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
