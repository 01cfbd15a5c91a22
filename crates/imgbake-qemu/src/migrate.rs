//! A machine's memory and devices, to a file and from it.
//!
//! Source: QEMU, `qapi/migration.json` and `docs/devel/migration/mapped-ram.rst`: each page of memory
//! has its own place in the file, and one of zeroes takes no room. The guest stands still meanwhile.

use std::time::Duration;

use camino::Utf8Path;
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::qmp::Qmp;
use crate::state::State;
use crate::watch::wait_for;

/// The capability without which a state would be a stream, as large as the memory that was ever used.
const MAPPED_RAM: &str = "mapped-ram";

/// Threads that write or read. Without such threads a save took three times as long (medians 1.3
/// and 0.4 s); one thread and two are alike. See `docs/decisions/0006-machine-state.md`.
const CHANNELS: u32 = 2;

/// Bytes a second: no limit. QEMU's own default is 128 MiB.
const BANDWIDTH: u64 = 1 << 50;

/// How long a migration may take beside its bytes.
const LEAST_LIMIT: Duration = Duration::from_secs(30);

/// Bytes a second of the slowest file system that a state is kept on.
const SLOWEST: u64 = 32 << 20;

/// A machine whose state goes to a file or comes from one. Errors are reasons, in words.
#[derive(Debug)]
pub(crate) struct Migration<'a> {
    pub(crate) qmp: &'a Qmp,
    pub(crate) state: &'a watch::Receiver<State>,
    /// The version of QEMU, for messages.
    pub(crate) version: &'a str,
    /// The machine's memory in bytes.
    pub(crate) memory: u64,
}

impl Migration<'_> {
    /// Writes a stopped machine's state into a file that exists.
    pub(crate) async fn write(&self, path: &Utf8Path) -> Result<(), String> {
        self.prepare().await?;
        self.ask("migrate", json!({ "channels": channels(path) })).await?;
        let ended = self.within_limit().await;
        if ended.is_err() {
            // What has ended cannot be cancelled, which is no error.
            let _ = self.qmp.execute("migrate_cancel", json!({})).await;
        }
        ended
    }

    /// Loads a state into a machine that waits for one.
    pub(crate) async fn load(&self, path: &Utf8Path) -> Result<(), String> {
        self.prepare().await?;
        self.ask("migrate-incoming", json!({ "channels": channels(path) })).await?;
        self.within_limit().await
    }

    async fn prepare(&self) -> Result<(), String> {
        let known = self.ask("query-migrate-capabilities", json!({})).await?;
        if !knows(&known, MAPPED_RAM) {
            return Err(format!(
                "QEMU {} cannot write a machine's memory to a file that can be mapped; 9.0 can",
                self.version
            ));
        }
        let on = ["events", MAPPED_RAM, "multifd"]
            .map(|capability| json!({"capability": capability, "state": true}));
        self.ask("migrate-set-capabilities", json!({ "capabilities": on })).await?;
        let parameters = json!({"max-bandwidth": BANDWIDTH, "multifd-channels": CHANNELS});
        self.ask("migrate-set-parameters", parameters).await?;
        Ok(())
    }

    async fn ask(&self, command: &str, arguments: Value) -> Result<Value, String> {
        self.qmp.execute(command, arguments).await.map_err(|error| error.to_string())
    }

    async fn within_limit(&self) -> Result<(), String> {
        let limit = LEAST_LIMIT + Duration::from_secs(self.memory / SLOWEST);
        match tokio::time::timeout(limit, self.ended()).await {
            Ok(ended) => ended,
            Err(_) => Err(format!("it was not done within {} s", limit.as_secs())),
        }
    }

    /// Asks how it goes, then waits for an end that is told after that.
    async fn ended(&self) -> Result<(), String> {
        loop {
            let seen = self.state.borrow().migrations;
            let answer = self.ask("query-migrate", json!({})).await?;
            match answer["status"].as_str() {
                Some("completed") => return Ok(()),
                Some("failed" | "cancelled") => return Err(reason(&answer)),
                _ => {}
            }
            let over = |state: &State| {
                state.migrations != seen || state.exit.is_some() || state.fault.is_some()
            };
            if wait_for(self.state, over).await.migrations == seen {
                return Err("the machine failed meanwhile".to_owned());
            }
        }
    }
}

/// Where a state is, told so that no character of a path means anything else.
fn channels(path: &Utf8Path) -> Value {
    json!([{"channel-type": "main",
        "addr": {"transport": "file", "filename": path, "offset": 0}}])
}

fn knows(capabilities: &Value, name: &str) -> bool {
    let all = capabilities.as_array().map_or(&[][..], Vec::as_slice);
    all.iter().any(|known| known["capability"] == name)
}

/// Why a migration failed, in QEMU's words where it has some.
fn reason(answer: &Value) -> String {
    answer["error-desc"].as_str().unwrap_or("QEMU does not tell why").to_owned()
}
