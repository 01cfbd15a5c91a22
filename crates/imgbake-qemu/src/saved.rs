//! Machines in files: a running one is saved and goes on, a saved one is loaded.
//!
//! The memory is written with the migration capability `mapped-ram` (QEMU 9.0 and later,
//! `docs/devel/migration/mapped-ram.rst`): each page has its place in the file, and pages of zeros are
//! holes.

use std::fs;
use std::os::unix::fs::OpenOptionsExt;
use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};
use imgbake_build::{BuildError, BuildErrorKind, SaveRequest, Saved};
use imgbake_disk::{DiskFormat, overlay};
use imgbake_runtime::error::io_at;
use imgbake_runtime::{Job, retry, space};
use serde_json::{Value, json};

use crate::argv::disk_node;
use crate::builder::{CLUSTER_BITS, disk_error};
use crate::launch::{Launched, answered, wait_for};
use crate::machine::QemuMachine;
use crate::qmp::Qmp;

/// How long writing or reading a machine may take: 4 GiB of memory on a slow disk.
const LIMIT: Duration = Duration::from_secs(120);

/// Threads that write and read memory; see docs/decisions/0006.
const CHANNELS: u32 = 2;

/// Bytes a second: QEMU's own limit is meant for networks.
const BANDWIDTH: u64 = 1 << 40;

/// Saves a machine and lets it go on.
pub(crate) async fn save(
    machine: &mut QemuMachine,
    request: &SaveRequest,
) -> Result<Saved, BuildError> {
    machine.launched.hold.send_modify(|state| state.held = true);
    command(&machine.launched.qmp, "stop", json!({})).await?;
    let frozen = freeze(machine, request).await;
    let state = match (&frozen, &request.state) {
        (Ok(()), Some(path)) => write(machine, path).await,
        _ => Err("it was not asked for".to_owned()),
    };
    command(&machine.launched.qmp, "cont", json!({})).await?;
    frozen?;
    Ok(Saved { virtual_size: machine.size, state })
}

/// Puts a new overlay on the machine's disk, and the file below it where it was asked for.
async fn freeze(machine: &mut QemuMachine, request: &SaveRequest) -> Result<(), BuildError> {
    let qmp = machine.launched.qmp.clone();
    let number = machine.overlays + 1;
    let path = machine.files.path(&format!("-{number}.qcow2"));
    overlay::create_overlay(&path, &request.disk, DiskFormat::Qcow2, machine.size, CLUSTER_BITS)
        .map_err(|error| disk_error(error, &path))?;
    let node = |number: u32| match number {
        0 => "root".to_owned(),
        number => format!("root-{number}"),
    };
    let (below, above) = (node(machine.overlays), node(number));
    let mut options = disk_node(&above, &path);
    options["backing"] = Value::Null;
    command(&qmp, "blockdev-add", options).await?;
    let snapshot = json!({"node": below, "overlay": above});
    if let Err(error) = command(&qmp, "blockdev-snapshot", snapshot).await {
        // The machine goes on as it was; the node would be in the way of the next try.
        let _ = command(&qmp, "blockdev-del", json!({"node-name": above})).await;
        return Err(error);
    }
    machine.overlays = number;
    let frozen = std::mem::replace(&mut machine.disk, path);
    Ok(fs::rename(&frozen, &request.disk).map_err(io_at("move", &frozen))?)
}

/// Writes memory and devices; why not, where that failed: then there is no file.
async fn write(machine: &QemuMachine, path: &Utf8PathBuf) -> Result<(), String> {
    let written = match prepare(&machine.launched.qmp, path).await {
        Ok(()) => migrate(&machine.job, &machine.launched, "migrate", path).await,
        Err(error) => Err(error),
    };
    written.map_err(|error| {
        let _ = fs::remove_file(path);
        match space::free_bytes(path) {
            Some(free) if free < 1 << 20 => space::full(path, None).to_string(),
            _ => error.to_string(),
        }
    })
}

/// Makes the file, for this user alone.
async fn prepare(qmp: &Qmp, path: &Utf8Path) -> Result<(), BuildError> {
    let known = command(qmp, "query-migrate-capabilities", json!({})).await?;
    let known = known
        .as_array()
        .is_some_and(|all| all.iter().any(|capability| capability["capability"] == "mapped-ram"));
    if !known {
        let words =
            "this QEMU cannot write a machine's memory to a file that is read in place; 9.0 can";
        return Err(BuildError::failed(words));
    }
    fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .map_err(io_at("make", path))?;
    Ok(())
}

/// Loads a saved machine into one that was just made like it.
pub(crate) async fn load(
    job: &Job,
    launched: &Launched,
    path: &Utf8Path,
) -> Result<(), BuildError> {
    migrate(job, launched, "migrate-incoming", path).await
}

/// Moves a machine to or from a file, and waits until that is done.
async fn migrate(
    job: &Job,
    launched: &Launched,
    how: &str,
    path: &Utf8Path,
) -> Result<(), BuildError> {
    let qmp = &launched.qmp;
    let capabilities: Vec<Value> = ["events", "mapped-ram", "multifd"]
        .into_iter()
        .map(|name| json!({"capability": name, "state": true}))
        .collect();
    command(qmp, "migrate-set-capabilities", json!({"capabilities": capabilities})).await?;
    let parameters = json!({"multifd-channels": CHANNELS, "max-bandwidth": BANDWIDTH});
    command(qmp, "migrate-set-parameters", parameters).await?;
    launched.hold.send_modify(|state| state.migration = None);
    let address = json!({"transport": "file", "filename": path, "offset": 0});
    let channels = json!({"channels": [{"channel-type": "main", "addr": address}]});
    command(qmp, how, channels).await?;
    let over = wait_for(&launched.state, |state| state.has_migrated() || state.exit.is_some());
    let waited = job.cancel().run(tokio::time::timeout(LIMIT, over)).await?;
    let failed =
        |why: String| BuildError::new(BuildErrorKind::Machine, format!("its state {path} {why}"));
    let state = waited.map_err(|_| failed(format!("was not done within {} s", LIMIT.as_secs())))?;
    match (state.migration.as_deref(), state.exit) {
        (Some("completed"), _) => finalized(job, qmp).await,
        (_, Some(exit)) => Err(failed(format!("ended QEMU: {}", exit.words.trim()))),
        _ => {
            let why = command(qmp, "query-migrate", json!({})).await?;
            Err(failed(format!(
                "failed: {}",
                why["error-desc"].as_str().unwrap_or("QEMU says no more")
            )))
        }
    }
}

/// QEMU tells that a migration is done a moment before it lets the machine go on.
async fn finalized(job: &Job, qmp: &Qmp) -> Result<(), BuildError> {
    let busy = ["finish-migrate", "inmigrate"];
    let settled = || async {
        let status = command(qmp, "query-status", json!({})).await.ok()?;
        let status = status["status"].as_str()?.to_owned();
        (!busy.contains(&status.as_str())).then_some(())
    };
    Ok(retry::poll(job.cancel(), LIMIT, "QEMU to finish its migration", settled).await?)
}

async fn command(qmp: &Qmp, name: &str, arguments: Value) -> Result<Value, BuildError> {
    answered(qmp.execute(name, arguments)).await
}
