//! Saving a machine that runs: its disk is frozen under a new overlay, its memory and devices go to a
//! file, and it resumes.
//!
//! The overlay is put on top live (QMP `blockdev-snapshot`, QEMU `qapi/block-core.json`), while the
//! guest is paused; QEMU then has the frozen image open read only, as anybody else may.

use std::fs;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};

use async_trait::async_trait;
use camino::{Utf8Path, Utf8PathBuf};
use imgbake_build::{BuildError, FreezeDisk, SaveMachine};
use imgbake_disk::{DiskFormat, overlay};
use imgbake_runtime::error::io_at;
use imgbake_runtime::{job, space};
use serde_json::json;

use crate::argv::overlay_node;
use crate::disks::{self, LiveDisk};
use crate::error::QemuError;
use crate::machine::QemuMachine;
use crate::migrate::Migration;
use crate::saves::saves;
use crate::start::{CLUSTER_BITS, disk_error};
use crate::state::State;
use crate::watch::wait_for;

/// The C library's message for `ENOSPC`, which QEMU passes on.
const FULL: &str = "No space left on device";

#[async_trait]
impl FreezeDisk for QemuMachine {
    async fn freeze_to(&mut self, disk: &Utf8Path) -> Result<(), BuildError> {
        Ok(self.save_paused(disk, None).await.map(drop)?)
    }
}

#[async_trait]
impl SaveMachine for QemuMachine {
    async fn save_to(
        &mut self,
        disk: &Utf8Path,
        state: &Utf8Path,
    ) -> Result<Result<(), String>, BuildError> {
        let saved = self.save_paused(disk, Some(state)).await?;
        Ok(saved.map_err(|error| error.reason()))
    }
}

/// Whether the state of a machine whose disk was frozen was written, or why not.
type StateWritten = Result<(), QemuError>;

impl QemuMachine {
    /// Pauses the machine and saves it, without its memory unless `state` names a file for it.
    async fn save_paused(
        &mut self,
        disk: &Utf8Path,
        state: Option<&Utf8Path>,
    ) -> Result<StateWritten, QemuError> {
        saves(&self.spec).map_err(|error| self.not_saved(error))?;
        let frozen = disks::frozen_to(disk, self.disks.len());
        let overlays: Vec<LiveDisk> =
            self.disks.iter().map(|disk| disk.next(&self.files)).collect();
        let (made, below) = (overlays.clone(), frozen.clone());
        let made = tokio::task::spawn_blocking(move || {
            made.iter().zip(&below).try_for_each(|(LiveDisk { path, virtual_size, .. }, below)| {
                overlay::create_overlay(path, below, DiskFormat::Qcow2, *virtual_size, CLUSTER_BITS)
                    .map_err(|error| disk_error(error, path))
            })
        });
        made.await.map_err(|source| {
            self.not_saved(QemuError::Stopped { what: "making its overlay", source })
        })??;

        self.allowed.pause = true;
        let saved = match self.pause().await {
            Ok(()) => self.freeze_and_write(&frozen, overlays, state).await,
            Err(error) => Err(error),
        };
        let resumed = match self.state().off {
            // It went off before it was paused: whoever waits for that finds out.
            Some(_) => Ok(()),
            None => self.launched.resume().await,
        };
        self.allowed.pause = false;
        let saved = saved?;
        resumed.map_err(|error| {
            self.error(format!("it cannot be resumed after a save: {error}"), Some(error))
        })?;
        self.job.cancel().check()?;
        Ok(saved)
    }

    /// Pauses the guest.
    async fn pause(&self) -> Result<(), QemuError> {
        self.command("stop", json!({})).await?;
        let over = |state: &State| state.paused || state.off.is_some() || state.exit.is_some();
        let state = wait_for(&self.launched.state, over).await;
        match state.unasked(self.allowed) {
            Some(what) => Err(self.error(what, None)),
            None if state.paused => Ok(()),
            None => Err(self.not_saved(QemuError::Unsavable("it went off".to_owned()))),
        }
    }

    async fn freeze_and_write(
        &mut self,
        frozen: &[Utf8PathBuf],
        overlays: Vec<LiveDisk>,
        state: Option<&Utf8Path>,
    ) -> Result<StateWritten, QemuError> {
        for (index, (frozen, overlay)) in frozen.iter().zip(overlays).enumerate() {
            self.put_overlay(index, frozen, overlay).await?;
        }
        Ok(match state {
            Some(path) => self.save_state(path).await,
            None => Ok(()),
        })
    }

    /// Puts the overlay on top of a disk, whose file gets its new name. The old name goes last: QEMU
    /// opens the file anew, to read only.
    async fn put_overlay(
        &mut self,
        index: usize,
        to: &Utf8Path,
        overlay: LiveDisk,
    ) -> Result<(), QemuError> {
        let below = self.disks[index].clone();
        let from = &below.path;
        let private = fs::Permissions::from_mode(0o600);
        fs::set_permissions(from, private).map_err(io_at("make private", from))?;
        fs::hard_link(from, to).map_err(io_at("move the disk to", to))?;
        if let Err(error) = self.put_on_top(&below, &overlay).await {
            let _ = job::remove_path(to);
            let _ = job::remove_path(&overlay.path);
            return Err(error);
        }
        self.disks[index] = overlay;
        // It is in the job's folder, and goes with that.
        let _ = fs::remove_file(from);
        Ok(())
    }

    async fn put_on_top(&self, below: &LiveDisk, overlay: &LiveDisk) -> Result<(), QemuError> {
        let node = overlay.topmost();
        let mut options = overlay_node(&node, &overlay.path);
        // Its backing file is the very node that it is put on.
        options["backing"] = serde_json::Value::Null;
        self.command("blockdev-add", options).await?;
        let snapshot = json!({"node": below.topmost(), "overlay": node});
        let put = self.command("blockdev-snapshot", snapshot).await;
        if put.is_err() {
            let _ = self.launched.qmp.execute("blockdev-del", json!({"node-name": node})).await;
        }
        put
    }

    /// Writes memory and devices to a new file that only this user can read.
    async fn save_state(&self, path: &Utf8Path) -> Result<(), QemuError> {
        let made = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
        drop(made.map_err(io_at("make the file", path))?);
        let migration = Migration {
            qmp: &self.launched.qmp,
            state: &self.launched.state,
            version: &self.version,
            memory: self.spec.memory().as_bytes(),
        };
        let written = self.job.cancel().run(migration.write(path)).await;
        let written = written.map_err(QemuError::from).and_then(|written| written);
        if written.is_err() {
            let _ = job::remove_path(path);
        }
        written.map_err(|error| {
            if error.to_string().contains(FULL) { space::full(path, None).into() } else { error }
        })
    }

    async fn command(&self, command: &str, arguments: serde_json::Value) -> Result<(), QemuError> {
        let answer = self.launched.qmp.execute(command, arguments).await;
        answer.map(drop).map_err(|error| self.not_saved(error.into()))
    }

    fn not_saved(&self, error: QemuError) -> QemuError {
        QemuError::NotSaved { machine: self.name.clone(), source: Box::new(error) }
    }
}
