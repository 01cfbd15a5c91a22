//! What a guest does before it is saved and after it is resumed: its disk is written; later its clock is
//! set, it gets fresh entropy, and the connections of the build that saved it are closed.

use std::time::Duration;

use imgbake_comm::{Communicator, Exec, Exit};
use imgbake_types::event::Stream;
use tokio::io::AsyncWriteExt;
use tokio::sync::Notify;
use uuid::Uuid;

use crate::BuildError;

/// How long a guest may take to write its disk.
const SETTLE_LIMIT: Duration = Duration::from_secs(120);

/// How far a guest's clock may seem off once it was set, in seconds: one that it may be off, and one
/// that its answer, in whole seconds, may hide.
const CLOCK_OFF: f64 = 2.0;

/// Bytes of its message that are kept, at least.
const MOST: usize = 16 << 10;

/// What a guest says when it waits for the time.
const READY: &str = "imgbake: what time is it?";

/// Writes what the guest holds back to its disk. Without perl or python3 nothing in the guest can credit
/// entropy later: then the memory must not be saved, and the words say so.
const SETTLE: &str = "sync\n\
    command -v perl >/dev/null || command -v python3 >/dev/null || echo no-reseed\n";

/// Gives the page cache back, so that the saved memory is small.
const DROP_CACHES: &str = "{ echo 3 >/proc/sys/vm/drop_caches; } 2>/dev/null || :\n";

/// Makes a guest ready to be saved. With `small`, its page cache is dropped first: not where what
/// follows at once would only read it again.
///
/// # Errors
/// The guest did not write its disk. `Ok(Err(reason))`: its memory must not be saved.
pub(crate) async fn settle(
    comm: &dyn Communicator,
    small: bool,
) -> Result<Result<(), String>, BuildError> {
    let script = format!("{SETTLE}{}", if small { DROP_CACHES } else { "" });
    let exec = comm.script("root", None, script).timeout(SETTLE_LIMIT);
    let report = comm.check(exec).await?;
    Ok(if report.contains("no-reseed") {
        Err("the guest has neither perl nor python3 to take fresh entropy with".to_owned())
    } else {
        Ok(())
    })
}

/// Brings a guest that goes on up to date: fresh entropy, no stale connections, the time.
///
/// # Errors
/// Any of it failed: the machine must not be used.
pub(crate) async fn wake(comm: &dyn Communicator, limit: Duration) -> Result<(), BuildError> {
    let (mut answer, stdin) = tokio::io::duplex(16 << 10);
    let broken = |error| BuildError::failed("cannot speak to the machine").because(error);
    answer.write_all(script().as_bytes()).await.map_err(broken)?;
    let asked = Notify::new();
    let mut report = GuestReport::default();
    let mut sink = |stream, bytes: &[u8]| {
        report.take(stream, bytes);
        if report.out.contains(READY) {
            asked.notify_one();
        }
    };
    let exec = Exec::new(comm.as_root("sh -s")).stdin(stdin).timeout(limit);
    let reporting = async {
        asked.notified().await;
        // The time of this moment, not of when the script was sent: an emulated guest takes a while.
        let now = now();
        let _ = answer.write_all(format!("{now:.3} {now:.0}\n").as_bytes()).await;
    };
    let ran = {
        let running = comm.run(exec, &mut sink);
        tokio::pin!(running);
        tokio::select! {
            biased;
            ran = &mut running => ran,
            () = reporting => running.await,
        }
    };
    report.judge(&ran?)
}

/// What a guest said while it was woken.
#[derive(Default)]
struct GuestReport {
    out: String,
    err: String,
}

impl GuestReport {
    fn take(&mut self, stream: Stream, bytes: &[u8]) {
        let text = if stream == Stream::Stdout { &mut self.out } else { &mut self.err };
        if text.len() < MOST {
            text.push_str(&String::from_utf8_lossy(bytes));
        }
    }

    fn judge(&self, exit: &Exit) -> Result<(), BuildError> {
        let clock =
            self.out.lines().find_map(|line| line.strip_prefix("clock ")?.trim().parse().ok());
        match clock.map(|clock: f64| clock - now()) {
            Some(off) if exit.ok() && off.abs() <= CLOCK_OFF => Ok(()),
            Some(off) if exit.ok() => {
                Err(BuildError::failed(format!("its clock is {off:.1} s off")))
            }
            _ => Err(BuildError::failed(format!(
                "it could not be brought up to date: {exit}: {}",
                self.err.trim()
            ))),
        }
    }
}

fn now() -> f64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0.0, |since| since.as_secs_f64())
}

/// The script that wakes a guest. The entropy is credited (`RNDADDENTROPY`) and the generator made to
/// take it at once (`RNDRESEEDCRNG`; both in Linux, `include/uapi/linux/random.h`): two machines that
/// go on from one state would else print the same random numbers.
fn script() -> String {
    let entropy: String = (0..4).map(|_| Uuid::new_v4().simple().to_string()).collect();
    include_str!("wake.sh").replace("@ENTROPY@", &entropy).replace("@READY@", READY)
}
