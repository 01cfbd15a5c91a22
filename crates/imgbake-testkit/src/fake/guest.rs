//! The guest: what it answers, and what becomes of its machine.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use imgbake_comm::Exit;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use uuid::Uuid;

use super::disk::FakeDisk;
use crate::lock::lock;

/// What a rule makes the guest answer.
#[derive(Debug, Clone)]
pub struct Answer {
    pub(super) stdout: String,
    pub(super) stderr: String,
    pub(super) exit: Exit,
    pub(super) effect: Effect,
}

/// What becomes of the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// It runs on.
    Nothing,
    /// The command never ends.
    Hang,
    /// The guest's kernel panics.
    Panic,
    /// The guest restarts.
    Restart,
    /// The guest powers off.
    PowerOff,
    /// The program that runs the machine is killed.
    Crash,
    /// The host has no space for what the guest writes.
    DiskFull,
}

impl Answer {
    /// Success, with these words.
    pub fn ok(stdout: &str) -> Self {
        Self {
            stdout: stdout.to_owned(),
            stderr: String::new(),
            exit: Exit::Code(0),
            effect: Effect::Nothing,
        }
    }

    /// An exit code, with words on standard error.
    pub fn fails(code: i32, stderr: &str) -> Self {
        Self { stderr: stderr.to_owned(), exit: Exit::Code(code), ..Self::ok("") }
    }

    /// Something happens to the machine, which cuts the connection.
    pub fn then(effect: Effect) -> Self {
        Self { effect, exit: Exit::Lost, ..Self::ok("") }
    }
}

/// An answer to every text that holds a word.
#[derive(Debug, Clone)]
pub(super) struct Rule {
    pub(super) word: String,
    pub(super) answer: Answer,
    /// How often it is given; for ever without a number.
    pub(super) times: Option<u32>,
}

/// What the guest's memory holds: it outlives a save and a resume, and no boot.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Memory {
    pub(super) boot_id: String,
}

/// What became of a machine.
#[derive(Debug, Clone, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each can be so beside the others")]
pub(super) struct State {
    pub(super) restarts: u32,
    pub(super) off: bool,
    pub(super) panicked: bool,
    pub(super) crashed: bool,
    pub(super) disk_full: bool,
}

impl State {
    /// Whether nothing runs any more.
    pub(super) fn is_gone(&self) -> bool {
        self.off || self.panicked || self.crashed
    }
}

/// A machine's inside, which its communicators share.
#[derive(Debug)]
pub(super) struct Guest {
    pub(super) name: String,
    pub(super) user: String,
    /// What distinguishes this machine from any other.
    pub(super) identity: Uuid,
    pub(super) state: watch::Sender<State>,
    pub(super) memory: Mutex<Memory>,
    pub(super) console: Mutex<String>,
    pub(super) disk: Mutex<FakeDisk>,
    pub(super) rules: Arc<Rules>,
}

impl Guest {
    pub(super) fn memory(&self) -> MutexGuard<'_, Memory> {
        lock(&self.memory)
    }

    pub(super) fn disk(&self) -> MutexGuard<'_, FakeDisk> {
        lock(&self.disk)
    }

    /// Shows a line on the console.
    pub(super) fn show(&self, line: &str) {
        let mut console = lock(&self.console);
        console.push_str(line);
        console.push('\n');
    }

    /// Makes something happen to the machine.
    pub(super) fn suffer(&self, effect: Effect) {
        match effect {
            Effect::Nothing | Effect::Hang => {}
            Effect::Panic => {
                self.show("Kernel panic - not syncing: as the test asked");
                self.state.send_modify(|state| state.panicked = true);
            }
            Effect::Restart => {
                self.memory().boot_id = Uuid::new_v4().to_string();
                self.state.send_modify(|state| state.restarts += 1);
            }
            Effect::PowerOff => self.state.send_modify(|state| state.off = true),
            Effect::Crash => self.state.send_modify(|state| state.crashed = true),
            Effect::DiskFull => self.state.send_modify(|state| state.disk_full = true),
        }
    }
}

/// The rules of a builder's guests, and what they ran.
#[derive(Debug, Default)]
pub(super) struct Rules {
    list: Mutex<Vec<Rule>>,
    ran: Mutex<Vec<String>>,
    counts: Mutex<BTreeMap<&'static str, usize>>,
}

impl Rules {
    pub(super) fn add(&self, rule: Rule) {
        lock(&self.list).push(rule);
    }

    /// The answer to a text, where a rule is about it: of the rules, the newest.
    pub(super) fn answer(&self, text: &str) -> Option<Answer> {
        let mut rules = lock(&self.list);
        let rule = rules
            .iter_mut()
            .rev()
            .find(|rule| rule.times != Some(0) && text.contains(&rule.word))?;
        if let Some(times) = &mut rule.times {
            *times -= 1;
        }
        Some(rule.answer.clone())
    }

    pub(super) fn note(&self, line: String) {
        lock(&self.ran).push(line);
    }

    pub(super) fn ran(&self) -> Vec<String> {
        lock(&self.ran).clone()
    }

    /// One more, or one less, of something; the most at once is kept beside it.
    pub(super) fn count(&self, more: bool) {
        let mut counts = lock(&self.counts);
        let running = counts.entry("running").or_default();
        *running = if more { *running + 1 } else { running.saturating_sub(1) };
        let running = *running;
        let most = counts.entry("most").or_default();
        *most = running.max(*most);
    }

    pub(super) fn counted(&self, what: &'static str) -> usize {
        lock(&self.counts).get(what).copied().unwrap_or_default()
    }
}
