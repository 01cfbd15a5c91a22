//! Ending the processes of a killed job.

use std::collections::BTreeSet;
use std::fs;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::retry::Backoff;

/// The environment variable that marks a job's processes.
pub const MARK: &str = "IMGBAKE_JOB";

/// How long killed processes are waited for: one that writes to a slow disk ends when the write does.
pub const ENDING: Duration = Duration::from_secs(20);

/// What became of a job's processes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ended {
    /// How many were killed.
    pub killed: usize,
    /// Those that were still there when the time was over.
    pub left: Vec<i32>,
}

/// Kills every process that carries the job's mark, until none is left or the time is over.
///
/// A process is proved to be the job's by its own environment, which others cannot write; a process
/// id alone would prove nothing, since ids are used again.
pub fn end_marked(job: &str, limit: Duration) -> Ended {
    let mark = format!("{MARK}={job}");
    let limit = Instant::now() + limit;
    let mut backoff = Backoff::new(Duration::from_millis(1), Duration::from_millis(50));
    let mut killed = BTreeSet::new();
    // Each round ends what the last round's processes started.
    loop {
        let alive = marked(&mark);
        for pid in alive.iter().filter_map(|&pid| Pid::from_raw(pid)) {
            let _ = kill_process(pid, Signal::KILL);
        }
        killed.extend(alive.iter().copied());
        // A fork loop is not fought for ever.
        if alive.is_empty() || Instant::now() >= limit {
            return Ended { killed: killed.len(), left: alive };
        }
        backoff.block();
    }
}

fn marked(mark: &str) -> Vec<i32> {
    let Ok(processes) = fs::read_dir("/proc") else { return Vec::new() };
    let own = i32::try_from(std::process::id()).unwrap_or(0);
    processes
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok())
        .filter(|&pid| pid != own)
        .filter(|pid| {
            // A zombie's environment is empty: it holds nothing any more.
            fs::read(format!("/proc/{pid}/environ"))
                .is_ok_and(|environ| environ.split(|&b| b == 0).any(|var| var == mark.as_bytes()))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(clippy::disallowed_methods, reason = "a process of the test's own")]
    fn what_does_not_end_in_time_is_named() {
        let job = format!("ends-{}", std::process::id());
        let mut child =
            std::process::Command::new("sleep").arg("600").env(MARK, &job).spawn().unwrap();
        let pid = i32::try_from(child.id()).unwrap();
        // It has its environment a moment after it was started.
        let mark = format!("{MARK}={job}");
        while marked(&mark).is_empty() {
            std::thread::yield_now();
        }
        let ended = end_marked(&job, Duration::ZERO);
        assert_eq!(ended, Ended { killed: 1, left: vec![pid] }, "nobody waited");
        assert!(end_marked(&job, ENDING).left.is_empty());
        child.wait().unwrap();
    }
}
