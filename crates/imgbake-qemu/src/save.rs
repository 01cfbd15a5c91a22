//! Saving a machine that runs: its disk is frozen under a new overlay, its memory and devices go to a
//! file, and it goes on.
//!
//! The overlay is put on top live (QMP `blockdev-snapshot`, QEMU `qapi/block-core.json`), while the
//! guest stands still; QEMU then has the frozen image open read only, as anybody else may.

use std::fs;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};

use camino::{Utf8Path, Utf8PathBuf};
use imgbake_build::{BuildError, BuildErrorKind, SaveRequest, Saved};
use imgbake_disk::{DiskFormat, overlay};
use imgbake_runtime::error::io_at;
use imgbake_runtime::{job, space};
use serde_json::json;

use crate::argv::{ROOT_NODE, overlay_node};
use crate::builder::{CLUSTER_BITS, disk_error};
use crate::machine::QemuMachine;
use crate::migrate::Migration;
use crate::saves::saves;
use crate::state::State;
use crate::watch::wait_for;

/// Words of the C library for `ENOSPC`, which QEMU passes on.
const FULL: &str = "No space left on device";

impl QemuMachine {
    /// Saves the machine; see [`imgbake_build::Machine::save`].
    pub(crate) async fn save_to(&mut self, request: &SaveRequest) -> Result<Saved, BuildError> {
        if let Err(reason) = saves(&self.spec) {
            return Err(self.refused(&reason));
        }
        let overlay = self.files.path(&format!("-{}.qcow2", self.frozen + 1));
        let (path, below, size) = (overlay.clone(), request.disk.clone(), self.virtual_size);
        let made = tokio::task::spawn_blocking(move || {
            overlay::create_overlay(&path, &below, DiskFormat::Qcow2, size, CLUSTER_BITS)
                .map_err(|error| disk_error(error, &path))
        });
        made.await.map_err(|error| self.refused("making its overlay stopped").because(error))??;

        self.allowed.hold = true;
        let saved = match self.hold().await {
            Ok(()) => self.save_held(request, overlay).await,
            Err(error) => Err(error),
        };
        let goes_on = match self.state().off {
            // It went off before it was held: whoever waits for that is told.
            Some(_) => Ok(()),
            None => self.launched.go_on().await,
        };
        self.allowed.hold = false;
        let saved = saved?;
        goes_on.map_err(|error| {
            self.error(BuildErrorKind::Machine, &format!("it does not go on after a save: {error}"))
        })?;
        self.job.cancel().check()?;
        Ok(saved)
    }

    /// Makes the guest stand still.
    async fn hold(&self) -> Result<(), BuildError> {
        self.command("stop", json!({})).await?;
        let over = |state: &State| state.held || state.off.is_some() || state.exit.is_some();
        let state = wait_for(&self.launched.state, over).await;
        match state.unasked(self.allowed) {
            Some(what) => Err(self.error(BuildErrorKind::Machine, &what)),
            None if state.held => Ok(()),
            None => Err(self.refused("it went off")),
        }
    }

    async fn save_held(
        &mut self,
        request: &SaveRequest,
        overlay: Utf8PathBuf,
    ) -> Result<Saved, BuildError> {
        self.freeze(&request.disk, overlay).await?;
        let state = match &request.state {
            Some(path) => self.save_state(path).await,
            None => Ok(()),
        };
        Ok(Saved { virtual_size: self.virtual_size, state })
    }

    /// Puts the overlay on top of the disk, whose file gets its new name. The old name goes last: QEMU
    /// opens the file anew, to read only.
    async fn freeze(&mut self, to: &Utf8Path, overlay: Utf8PathBuf) -> Result<(), BuildError> {
        let (from, number) = (self.disk.clone(), self.frozen + 1);
        let private = fs::Permissions::from_mode(0o600);
        fs::set_permissions(&from, private).map_err(io_at("make private", &from))?;
        fs::hard_link(&from, to).map_err(io_at("move the disk to", to))?;
        let node = format!("{ROOT_NODE}-{number}");
        if let Err(error) = self.put_on_top(&node, &overlay).await {
            let _ = job::remove_path(to);
            let _ = job::remove_path(&overlay);
            return Err(error);
        }
        (self.disk, self.frozen, self.node) = (overlay, number, node);
        // It is in the job's folder, and goes with that.
        let _ = fs::remove_file(&from);
        Ok(())
    }

    async fn put_on_top(&self, node: &str, overlay: &Utf8Path) -> Result<(), BuildError> {
        let mut options = overlay_node(node, overlay);
        // Its backing file is the very node that it is put on.
        options["backing"] = serde_json::Value::Null;
        self.command("blockdev-add", options).await?;
        let snapshot = json!({"node": self.node, "overlay": node});
        let put = self.command("blockdev-snapshot", snapshot).await;
        if put.is_err() {
            let _ = self.launched.qmp.execute("blockdev-del", json!({"node-name": node})).await;
        }
        put
    }

    /// Writes memory and devices to a new file that only this user can read; why not, in words.
    async fn save_state(&self, path: &Utf8Path) -> Result<(), String> {
        let made = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
        drop(made.map_err(|error| io_at("make the file", path)(error).to_string())?);
        let migration = Migration {
            qmp: &self.launched.qmp,
            state: &self.launched.state,
            version: &self.version,
            memory: self.spec.memory().as_bytes(),
        };
        let written = self.job.cancel().run(migration.write(path)).await;
        let written = written.map_err(|error| error.to_string()).and_then(|written| written);
        if written.is_err() {
            let _ = job::remove_path(path);
        }
        written.map_err(|reason| {
            if reason.contains(FULL) { space::full(path, None).to_string() } else { reason }
        })
    }

    async fn command(&self, command: &str, arguments: serde_json::Value) -> Result<(), BuildError> {
        let answer = self.launched.qmp.execute(command, arguments).await;
        answer.map(drop).map_err(|error| self.refused(&error.to_string()))
    }

    fn refused(&self, why: &str) -> BuildError {
        BuildError::failed(format!("machine `{}` cannot be saved: {why}", self.name))
    }
}
