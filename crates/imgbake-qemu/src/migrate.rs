//! A machine's memory and devices, to a file and from it.
//!
//! Source: QEMU, `qapi/migration.json` and `docs/devel/migration/mapped-ram.rst`: each page of memory
//! has its own offset in the file, and one of zeroes takes no space. The guest is paused meanwhile.

use std::time::Duration;

use camino::Utf8Path;
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::error::QemuError;
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

/// A machine whose state goes to a file or comes from one.
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
    pub(crate) async fn write(&self, path: &Utf8Path) -> Result<(), QemuError> {
        self.prepare().await?;
        self.execute("migrate", json!({ "channels": channels(path) })).await?;
        let ended = self.within_limit().await;
        if ended.is_err() {
            // What has ended cannot be cancelled, which is no error.
            let _ = self.qmp.execute("migrate_cancel", json!({})).await;
        }
        ended
    }

    /// Loads a state into a machine that waits for one.
    pub(crate) async fn load(&self, path: &Utf8Path) -> Result<(), QemuError> {
        self.prepare().await?;
        self.execute("migrate-incoming", json!({ "channels": channels(path) })).await?;
        self.within_limit().await
    }

    async fn prepare(&self) -> Result<(), QemuError> {
        let capabilities = self.execute("query-migrate-capabilities", json!({})).await?;
        if !has(&capabilities, MAPPED_RAM) {
            return Err(QemuError::Unsavable(format!(
                "QEMU {} cannot write a machine's memory to a file that can be mapped; 9.0 can",
                self.version
            )));
        }
        let on = ["events", MAPPED_RAM, "multifd"]
            .map(|capability| json!({"capability": capability, "state": true}));
        self.execute("migrate-set-capabilities", json!({ "capabilities": on })).await?;
        let parameters = json!({"max-bandwidth": BANDWIDTH, "multifd-channels": CHANNELS});
        self.execute("migrate-set-parameters", parameters).await?;
        Ok(())
    }

    async fn execute(&self, command: &str, arguments: Value) -> Result<Value, QemuError> {
        Ok(self.qmp.execute(command, arguments).await?)
    }

    async fn within_limit(&self) -> Result<(), QemuError> {
        let limit = LEAST_LIMIT + Duration::from_secs(self.memory / SLOWEST);
        tokio::time::timeout(limit, self.ended()).await.unwrap_or_else(|_| {
            Err(QemuError::Migration(format!("it was not done within {} s", limit.as_secs())))
        })
    }

    /// Asks for its status, then waits for an end that is reported after that.
    async fn ended(&self) -> Result<(), QemuError> {
        loop {
            let seen = self.state.borrow().migrations;
            let answer = self.execute("query-migrate", json!({})).await?;
            match answer["status"].as_str() {
                Some("completed") => return Ok(()),
                Some("failed" | "cancelled") => return Err(QemuError::Migration(reason(&answer))),
                _ => {}
            }
            let over = |state: &State| {
                state.migrations != seen || state.exit.is_some() || state.fault.is_some()
            };
            if wait_for(self.state, over).await.migrations == seen {
                return Err(QemuError::Migration("the machine failed meanwhile".to_owned()));
            }
        }
    }
}

/// Where a state is, in a form in which no character of a path means anything else.
fn channels(path: &Utf8Path) -> Value {
    json!([{"channel-type": "main",
        "addr": {"transport": "file", "filename": path, "offset": 0}}])
}

fn has(capabilities: &Value, name: &str) -> bool {
    let all = capabilities.as_array().map_or(&[][..], Vec::as_slice);
    all.iter().any(|entry| entry["capability"] == name)
}

/// Why a migration failed: QEMU's message where there is one.
fn reason(answer: &Value) -> String {
    answer["error-desc"].as_str().unwrap_or("QEMU gives no reason").to_owned()
}
