//! What a machine did so far, and whether anybody asked for it.
//!
//! Event names and reasons: QEMU, `qapi/run-state.json`, `qapi/block-core.json` and
//! `qapi/migration.json`.

use serde_json::Value;

use crate::qmp::QmpEvent;

/// How a migration can end.
const ENDS: [&str; 3] = ["completed", "failed", "cancelled"];

/// What a machine did since it was started.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct State {
    /// Restarts that the guest itself made.
    pub resets: u32,
    /// Why the machine went off, in QEMU's word, once it did: `guest-shutdown`.
    pub off: Option<String>,
    /// The first thing that nobody can have asked for.
    pub fault: Option<Fault>,
    /// Whether QEMU has paused the guest's processors.
    pub paused: bool,
    /// Migrations that ended, well or not.
    pub migrations: u32,
    /// How QEMU ended, once it did.
    pub exit: Option<Exit>,
}

/// Something that no machine is meant to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// The guest's kernel panicked: its message.
    Panicked(String),
    /// The host could not read or write a disk.
    Disk {
        /// The disk's name in the argv.
        device: String,
        /// QEMU's message.
        reason: String,
        /// Whether the host's file system is full.
        full: bool,
    },
}

impl Fault {
    fn message(&self) -> String {
        match self {
            Self::Panicked(message) => message.clone(),
            Self::Disk { device, reason, .. } => format!("its disk `{device}` failed: {reason}"),
        }
    }
}

/// How QEMU ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exit {
    /// Whether with exit code 0.
    pub success: bool,
    /// How, as text.
    pub status: String,
    /// The last lines that it printed, redacted.
    pub output: String,
}

/// What somebody asked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Allowed {
    /// Restarts in all.
    pub resets: u32,
    /// Powering off.
    pub power_off: bool,
    /// Being paused, while it is saved.
    pub pause: bool,
}

impl State {
    /// Takes one of QEMU's events.
    pub fn apply(&mut self, event: &QmpEvent) {
        let text = |key: &str| event.data[key].as_str().unwrap_or_default().to_owned();
        let by_guest = event.data["guest"] == Value::Bool(true);
        match event.name.as_str() {
            "RESET" if by_guest => self.resets += 1,
            "SHUTDOWN" => self.off = Some(text("reason")),
            "GUEST_PANICKED" => {
                self.fail(Fault::Panicked("the guest's kernel panicked".to_owned()));
            }
            "BLOCK_IO_ERROR" if event.data["action"] != "ignore" => self.fail(Fault::Disk {
                // QEMU before 10 gives no path.
                device: disk_name(&text("qom-path")).unwrap_or_else(|| text("node-name")),
                reason: text("reason"),
                full: event.data["nospace"] == Value::Bool(true),
            }),
            "STOP" if self.off.is_none() => self.paused = true,
            "RESUME" => self.paused = false,
            "MIGRATION" if ENDS.contains(&text("status").as_str()) => self.migrations += 1,
            _ => {}
        }
    }

    /// Takes a fault, unless one came before: the first is the cause.
    pub fn fail(&mut self, fault: Fault) {
        self.fault.get_or_insert(fault);
    }

    /// What is new since an earlier state, as a message.
    pub fn news(&self, before: &Self) -> Option<String> {
        if self.fault != before.fault {
            return self.fault.as_ref().map(Fault::message);
        }
        // That it went off is asked for, or an error of its own.
        (self.resets > before.resets).then(|| "it restarted".to_owned())
    }

    /// Whether the machine went off as it should, its disk written.
    pub fn is_off(&self) -> bool {
        self.exit.as_ref().is_some_and(|exit| exit.success)
    }

    /// What happened that nobody asked for, as a message; `None` while all is well.
    pub fn unasked(&self, allowed: Allowed) -> Option<String> {
        if let Some(fault) = &self.fault {
            return Some(fault.message());
        }
        if self.resets > allowed.resets {
            return Some("it restarted by itself".to_owned());
        }
        if let Some(exit) = &self.exit
            && !exit.success
        {
            let output = exit.output.trim();
            let output = if output.is_empty() { String::new() } else { format!(":\n{output}") };
            return Some(format!("QEMU ended ({}){output}", exit.status));
        }
        if self.paused && !allowed.pause {
            return Some("QEMU stopped it".to_owned());
        }
        if allowed.power_off {
            return None;
        }
        match (&self.off, &self.exit) {
            (Some(reason), _) if reason == "guest-shutdown" => {
                Some("it powered off by itself".to_owned())
            }
            (Some(reason), _) => Some(format!("it went off ({reason})")),
            (None, Some(_)) => Some("QEMU ended".to_owned()),
            (None, None) => None,
        }
    }
}

/// A disk's name out of its device's path, `/machine/peripheral/disk-NAME/virtio-backend`.
fn disk_name(path: &str) -> Option<String> {
    path.split('/').find_map(|part| part.strip_prefix("disk-")).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn event(name: &str, data: Value) -> QmpEvent {
        QmpEvent { name: name.to_owned(), data }
    }

    const RESTARTS: Allowed = Allowed { resets: 1, power_off: false, pause: false };
    const GOES_OFF: Allowed = Allowed { resets: 0, power_off: true, pause: false };
    const IS_SAVED: Allowed = Allowed { resets: 0, power_off: false, pause: true };

    #[test]
    fn distinguishes_the_asked_from_the_unasked() {
        let reset = || event("RESET", json!({"guest": true, "reason": "guest-reset"}));
        let off = || event("SHUTDOWN", json!({"guest": true, "reason": "guest-shutdown"}));
        let full = || {
            json!({"device": "", "qom-path": "/machine/peripheral/disk-root/virtio-backend",
            "node-name": "root", "operation": "write", "action": "stop", "nospace": true,
            "reason": "No space left on device"})
        };
        let asked = Allowed::default();
        for (events, allowed, expected) in [
            (vec![], asked, None),
            (vec![event("RESUME", json!({}))], asked, None),
            (
                vec![event("RESET", json!({"guest": false, "reason": "host-qmp-system-reset"}))],
                asked,
                None,
            ),
            (vec![reset()], asked, Some("it restarted by itself")),
            (vec![reset()], RESTARTS, None),
            (vec![reset(), reset()], RESTARTS, Some("it restarted by itself")),
            (vec![off()], asked, Some("it powered off by itself")),
            (vec![off()], GOES_OFF, None),
            (
                vec![event("SHUTDOWN", json!({"guest": false, "reason": "host-signal"}))],
                asked,
                Some("it went off (host-signal)"),
            ),
            (
                vec![event("GUEST_PANICKED", json!({"action": "poweroff"})), off()],
                GOES_OFF,
                Some("the guest's kernel panicked"),
            ),
            (
                vec![event("BLOCK_IO_ERROR", full()), event("STOP", json!({}))],
                asked,
                Some("its disk `root` failed: No space left on device"),
            ),
            (
                vec![event(
                    "BLOCK_IO_ERROR",
                    json!({"node-name": "extra-1", "action": "stop", "reason": "bad"}),
                )],
                asked,
                Some("its disk `extra-1` failed: bad"),
            ),
            (vec![event("BLOCK_IO_ERROR", json!({"action": "ignore"}))], asked, None),
            (vec![event("STOP", json!({}))], asked, Some("QEMU stopped it")),
            (vec![event("STOP", json!({}))], GOES_OFF, Some("QEMU stopped it")),
            (vec![event("STOP", json!({}))], IS_SAVED, None),
            (vec![event("STOP", json!({})), event("RESUME", json!({}))], asked, None),
            (vec![off(), event("STOP", json!({}))], GOES_OFF, None),
            (
                vec![event("BLOCK_IO_ERROR", full()), event("STOP", json!({}))],
                IS_SAVED,
                Some("its disk `root` failed: No space left on device"),
            ),
        ] {
            let mut state = State::default();
            for event in &events {
                state.apply(event);
            }
            assert_eq!(state.unasked(allowed).as_deref(), expected, "{events:?}");
        }
    }

    #[test]
    fn counts_the_migrations_that_ended() {
        let mut state = State::default();
        for status in ["setup", "active", "completed", "setup", "failed", "setup", "cancelling"] {
            state.apply(&event("MIGRATION", json!({"status": status})));
        }
        assert_eq!((state.migrations, state.unasked(Allowed::default())), (2, None));
    }

    #[test]
    fn an_end_of_qemu_is_an_end_of_the_machine() {
        let exit = |success, output: &str| {
            let status = if success { "exit status: 0" } else { "signal: 9 (SIGKILL)" };
            Some(Exit { success, status: status.to_owned(), output: output.to_owned() })
        };
        let state = State { exit: exit(true, ""), ..State::default() };
        assert_eq!(state.unasked(Allowed::default()).as_deref(), Some("QEMU ended"));
        assert_eq!(state.unasked(GOES_OFF), None);
        assert!(state.is_off());
        let state = State { exit: exit(false, "bad\n"), ..State::default() };
        assert_eq!(
            state.unasked(GOES_OFF).as_deref(),
            Some("QEMU ended (signal: 9 (SIGKILL)):\nbad")
        );
        assert!(!state.is_off());
    }
}
