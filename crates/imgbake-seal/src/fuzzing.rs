//! What the fuzz targets see of this crate beside its public interface.

use crate::report::PhaseReport;

/// What a report keeps of a phase's output and a console's text: the most paths of an operation, and
/// the notes.
pub fn kept_of_report(text: &str, nonce: &str) -> (usize, usize) {
    let mut report = PhaseReport::parse(text);
    report.merge(&PhaseReport::from_console(text, nonce));
    let paths = report.removals.iter().map(|removal| removal.paths.len());
    (paths.max().unwrap_or(0), report.notes.len())
}
