//! What every clone must show, whatever its template tests.

use std::time::Duration;

use imgbake_comm::{Communicator, Exec, Exit};

use super::outcome::Checked;
use crate::BuildError;

/// Words with which a machine asks somebody at its console: a first boot must be unattended.
const QUESTIONS: &[&str] = &[
    "Press any key",
    "-- Press",
    "Give root password for maintenance",
    "Press Enter for maintenance",
    "Welcome to your new installation",
    "Please enter",
    "Please select",
    "Enter passphrase",
    "(y/N)",
    "[y/N]",
    "[Y/n]",
    "grub>",
    "grub rescue>",
    "Shell>",
    "(initramfs)",
    "dracut:/#",
];

/// A boot that takes longer shows what took longest.
const SLOW: Duration = Duration::from_secs(60);

/// Waits for the end of the first boot and reads how it went: lines of `name value`. systemd wakes
/// this up once its boot jobs are done, of which cloud-init's last is one; cloud-init's own waiting is a
/// loop in Python, dear in an emulated machine. Other inits have neither.
const SETTLED: &str = r#"
if [ -d /run/systemd/system ]; then
  systemctl is-system-running --wait >/dev/null 2>&1
  echo init systemd
  finished=$(systemctl show --property=FinishTimestampMonotonic --value)
  echo "finished $finished"
  if [ "${finished:-0}" -ge @SLOW@ ]; then
    systemd-analyze --no-pager blame 2>/dev/null | head -n 3 | sed 's/^ */slow /'
  fi
  systemctl list-units --failed --plain --no-legend --no-pager | cut -d' ' -f1 | sed 's/^/failed /'
fi
if command -v cloud-init >/dev/null 2>&1; then
  said=$(cloud-init status --wait --long 2>&1)
  echo "exit $?"
  printf '%s\n' "$said" | sed 's/^/said /'
fi
true
"#;

/// A machine whose first boot is over.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Settled {
    systemd: bool,
    failed: Vec<String>,
    /// When systemd's boot was over, in microseconds since the kernel's start.
    finished: Option<u64>,
    /// What took longest in a boot that was slow: `1min 2.1s a.service`.
    slow: Vec<String>,
    /// cloud-init's exit code and what it printed.
    cloud_init: Option<(String, String)>,
}

/// Waits until a machine's first boot is over, in one round trip.
pub(super) async fn settle(comm: &dyn Communicator, limit: Duration) -> Result<Settled, String> {
    let script = SETTLED.replace("@SLOW@", &SLOW.as_micros().to_string());
    let exec = comm.script("root", None, &script).timeout(limit);
    Ok(Settled::parse(&comm.check(exec).await.map_err(|error| error.to_string())?))
}

impl Settled {
    fn parse(out: &str) -> Self {
        let mut settled = Self::default();
        for line in out.lines() {
            match line.split_once(' ').unwrap_or((line, "")) {
                ("init", _) => settled.systemd = true,
                ("failed", unit) => settled.failed.push(unit.trim().to_owned()),
                ("finished", time) => settled.finished = time.parse().ok().filter(|time| *time > 0),
                ("slow", unit) => settled.slow.push(unit.trim().to_owned()),
                ("exit", code) => settled.cloud_init = Some((code.to_owned(), String::new())),
                ("said", text) => {
                    if let Some((_, all)) = &mut settled.cloud_init {
                        all.push_str(text);
                        all.push('\n');
                    }
                }
                _ => {}
            }
        }
        settled
    }

    /// cloud-init has finished, and says that it went well. A machine without cloud-init has no first
    /// boot to wait for.
    pub(super) fn first_boot(&self) -> Checked {
        let Some((code, said)) = &self.cloud_init else {
            return Ok(format!("no cloud-init in this image{}", self.time()));
        };
        let said = said.trim();
        match code.as_str() {
            "0" => Ok(format!("{}{}", said.lines().next().unwrap_or_default(), self.time())),
            // Finished, with errors that it recovered from (cloud-init, "exit codes", since 23.4).
            "2" => Err(format!("cloud-init finished with errors: {said}")),
            code => Err(format!("cloud-init status: exit code {code}: {said}")),
        }
    }

    /// How long the boot took, and what took longest where that was long.
    fn time(&self) -> String {
        let Some(finished) = self.finished else { return String::new() };
        let took = Duration::from_micros(finished).as_secs_f64();
        let slow = self.slow.join(", ");
        let slow = if slow.is_empty() { slow } else { format!("; what took longest: {slow}") };
        format!("; booted in {took:.1}s{slow}")
    }

    /// Failed units that the template does not list.
    pub(super) fn unlisted<'a>(&'a self, allowed: &[String]) -> Vec<&'a str> {
        let unlisted = self.failed.iter().filter(|unit| !allowed.contains(unit));
        unlisted.map(String::as_str).collect()
    }
}

/// No systemd unit has failed, but those that the template lists. Other inits have no units.
pub(super) async fn units(
    comm: &dyn Communicator,
    settled: &Settled,
    allowed: &[String],
) -> Checked {
    let unlisted = settled.unlisted(allowed);
    if let Some(first) = unlisted.first() {
        let log = journal_of(comm, first).await;
        return Err(format!("failed: {}\n{log}", unlisted.join(", ")));
    }
    if !settled.systemd {
        return Ok("no systemd in this image".to_owned());
    }
    let failed = settled.failed.join(", ");
    Ok(if failed.is_empty() { failed } else { format!("allowed: {failed}") })
}

async fn journal_of(comm: &dyn Communicator, unit: &str) -> String {
    let unit = imgbake_comm::shell::quote(unit);
    let script = format!("journalctl --no-pager -n 8 -o cat -u {unit}");
    comm.check(Exec::new(script)).await.unwrap_or_default().trim_end().to_owned()
}

/// Nothing on the console is a question.
pub(super) fn console(shown: &str) -> Checked {
    let asked = shown.lines().find(|line| QUESTIONS.iter().any(|question| line.contains(question)));
    match asked {
        Some(line) => Err(format!("the console shows: {}", line.trim())),
        None => Ok(String::new()),
    }
}

/// Asks the machine to restart, detached from the connection that it cuts: where no systemd takes the
/// order, a process that outlives its shell and its connection gives it.
pub(super) async fn restart(comm: &dyn Communicator) -> Result<(), BuildError> {
    let script = "if [ -d /run/systemd/system ]; then systemctl --no-block reboot; \
                  else (trap '' HUP; exec reboot) >/dev/null 2>&1 </dev/null & fi";
    match comm.capture(Exec::new(comm.as_root(script))).await {
        Ok((Exit::Code(0) | Exit::Lost, _, _)) => Ok(()),
        Ok((exit, _, err)) => {
            Err(BuildError::failed(format!("the clone cannot restart: {exit}: {}", err.trim())))
        }
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::{Settled, console};

    #[test]
    fn a_login_prompt_is_no_question() {
        assert!(console("Debian GNU/Linux 12 localhost ttyS0\n\nlocalhost login: ").is_ok());
        assert!(console("\n-- Press any key to proceed --").is_err());
        assert!(console("error: no such device\ngrub rescue> ").is_err());
    }

    #[test]
    fn a_first_boot_is_judged_by_what_cloud_init_says() {
        for (out, judged) in [
            ("", Ok("no cloud-init in this image")),
            ("init systemd\nexit 0\nsaid status: done\nsaid detail: NoCloud\n", Ok("status: done")),
            (
                "init systemd\nfinished 41250000\nexit 0\nsaid status: done\n",
                Ok("status: done; booted in 41.2s"),
            ),
            (
                "finished 122000000\nslow 2min 1s a.service\nslow 3s b.service\n",
                Ok(
                    "no cloud-init in this image; booted in 122.0s; what took longest: 2min 1s a.service, 3s b.service",
                ),
            ),
            ("finished 0\nexit 0\nsaid status: done\n", Ok("status: done")),
            ("exit 1\nsaid status: error\n", Err("cloud-init status: exit code 1: status: error")),
            ("exit 2\nsaid degraded\n", Err("cloud-init finished with errors: degraded")),
        ] {
            let judged = judged.map(str::to_owned).map_err(str::to_owned);
            assert_eq!(Settled::parse(out).first_boot(), judged, "{out}");
        }
    }

    #[test]
    fn only_listed_units_may_have_failed() {
        let settled = Settled::parse("init systemd\nfailed a.service\nfailed b.service\n");
        assert_eq!(settled.unlisted(&["b.service".to_owned()]), ["a.service"]);
        assert!(settled.unlisted(&["a.service".to_owned(), "b.service".to_owned()]).is_empty());
    }
}
