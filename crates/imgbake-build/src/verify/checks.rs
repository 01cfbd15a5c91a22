//! What every clone must show, whatever its template tests.

use std::time::Duration;

use imgbake_comm::{Communicator, Exec, Exit};

use super::clone::Checked;
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

/// cloud-init has finished, and says that it went well. A machine without cloud-init has no first boot
/// to wait for.
pub(super) async fn first_boot(comm: &dyn Communicator, limit: Duration) -> Checked {
    let script = "if command -v cloud-init >/dev/null 2>&1; then cloud-init status --wait --long; \
                  else echo 'no cloud-init in this image'; fi";
    let (exit, out, err) =
        comm.capture(Exec::new(script).timeout(limit)).await.map_err(|e| e.to_string())?;
    let said = words(&out, &err);
    match exit {
        Exit::Code(0) => Ok(first_line(&said)),
        // 2: finished, with errors that it recovered from (cloud-init, "exit codes", since 23.4).
        Exit::Code(2) => Err(format!("cloud-init finished with errors: {said}")),
        exit => Err(format!("cloud-init status: {exit}: {said}")),
    }
}

/// No systemd unit has failed, but those that the template lists. Other inits have no units.
pub(super) async fn units(comm: &dyn Communicator, allowed: &[String], limit: Duration) -> Checked {
    let script = "[ -d /run/systemd/system ] || { echo 'no systemd in this image'; exit 0; }\n\
                  systemctl is-system-running --wait >/dev/null 2>&1\n\
                  systemctl list-units --failed --plain --no-legend --no-pager | cut -d' ' -f1 | sed 's/^/failed /'";
    let out = comm.check(Exec::new(script).timeout(limit)).await.map_err(|e| e.to_string())?;
    let failed: Vec<&str> =
        out.lines().filter_map(|line| line.strip_prefix("failed ")).map(str::trim).collect();
    let unlisted: Vec<&str> =
        failed.iter().copied().filter(|unit| !allowed.iter().any(|a| a == unit)).collect();
    if !unlisted.is_empty() {
        let log = journal_of(comm, unlisted[0]).await;
        return Err(format!("failed: {}\n{log}", unlisted.join(", ")));
    }
    Ok(if failed.is_empty() { String::new() } else { format!("allowed: {}", failed.join(", ")) })
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

fn words(out: &str, err: &str) -> String {
    [out.trim(), err.trim()]
        .into_iter()
        .filter(|text| !text.is_empty())
        .collect::<Vec<_>>()
        .join("\n")
}

fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::console;

    #[test]
    fn a_login_prompt_is_no_question() {
        assert!(console("Debian GNU/Linux 12 localhost ttyS0\n\nlocalhost login: ").is_ok());
        assert!(console("\n-- Press any key to proceed --").is_err());
        assert!(console("error: no such device\ngrub rescue> ").is_err());
    }
}
