//! A machine that is thrown away: made of a layer, of a draft in the job's folder, or of a version's
//! bytes. What it does changes none of them.

use std::sync::Arc;

use camino::Utf8Path;
use imgbake_comm::Communicator;
use imgbake_runtime::Job;
use imgbake_runtime::error::io_at;
use imgbake_types::spec::Firmware;
use imgbake_types::{Arch, MachineSpec};
use uuid::Uuid;

use crate::cache::Layer;
use crate::{
    BaseDisk, BuildError, BuildErrorKind, Builder, Machine, MachineRequest, Purpose, SavedMachine,
    Seed, guest,
};

/// What a machine was at one moment, and can be made of again.
#[derive(Debug, Clone)]
pub struct Snapshot {
    disk: BaseDisk,
    memory: Option<SavedMemory>,
    /// Keeps the layer's files.
    layer: Option<Layer>,
}

#[derive(Debug, Clone)]
struct SavedMemory {
    saved: SavedMachine,
    signature: String,
    seed: Seed,
    uuid: Uuid,
}

/// Who a running machine is: what a snapshot with its memory must remember.
#[derive(Debug, Clone, Copy)]
pub struct Identity<'a> {
    /// The keys that its login accepts.
    pub seed: &'a Seed,
    /// Its identity in SMBIOS.
    pub uuid: Uuid,
    /// The disk that it was booted from.
    pub booted_from: &'a BaseDisk,
    /// How many extra disks it has.
    pub extra_disks: usize,
}

impl Snapshot {
    /// A disk alone: a machine boots from it.
    pub fn of_disk(disk: BaseDisk) -> Self {
        Self { disk, memory: None, layer: None }
    }

    /// Files that a running machine was saved to: its disk, and its memory where there is one, with the
    /// signature of the builder that wrote it.
    ///
    /// # Errors
    /// The machine was booted from a native disk.
    pub fn of_files(
        identity: Identity<'_>,
        disk: &Utf8Path,
        memory: Option<(&Utf8Path, String)>,
    ) -> Result<Self, BuildError> {
        let disk = identity.booted_from.frozen_to(disk.to_owned(), identity.extra_disks)?;
        let memory = memory.map(|(state, signature)| SavedMemory {
            saved: SavedMachine {
                state: state.to_owned(),
                booted_from: identity.booted_from.clone(),
            },
            signature,
            seed: identity.seed.clone(),
            uuid: identity.uuid,
        });
        Ok(Self { disk, memory, layer: None })
    }

    /// A layer: its machine is resumed where that was saved.
    pub fn of_layer(layer: Layer) -> Self {
        let memory = layer.state().zip(layer.saved()).map(|(state, saved)| SavedMemory {
            saved,
            signature: state.signature.clone(),
            seed: state.seed.clone(),
            uuid: state.uuid,
        });
        Self { disk: layer.disk(), memory, layer: Some(layer) }
    }

    /// A draft: what a running machine is now. Its guest must have written its disk. It is in the job's
    /// folder, or a native snapshot where the machine's disk cannot be frozen to a file. The memory is kept where the builder can and its machines allow it; then the machine must be
    /// resumed by a builder of the same `signature`.
    ///
    /// # Errors
    /// The machine's disk can be neither frozen nor copied by its builder.
    pub async fn draft(
        job: &Job,
        name: &str,
        machine: &mut dyn Machine,
        identity: Identity<'_>,
        signature: Option<String>,
    ) -> Result<Self, BuildError> {
        if machine.freeze().is_none()
            && let Some(machine) = machine.snapshot()
        {
            let location = machine.snapshot_disk().await?.into();
            let parent = identity.booted_from.parent.clone();
            return Ok(Self::of_disk(BaseDisk { location, parent, bytes: 0, cached: true }));
        }
        let folder = job.work().join(format!("draft-{name}"));
        std::fs::create_dir(&folder).map_err(io_at("make the folder", &folder))?;
        let (path, state) = (folder.join("disk.qcow2"), folder.join("state"));
        let kept = save(machine, &path, signature.as_ref().map(|_| state.as_path())).await?;
        let memory =
            signature.filter(|_| kept.is_ok()).map(|signature| (state.as_path(), signature));
        Self::of_files(identity, &path, memory)
    }
}

impl Snapshot {
    /// Removes the memory's file of a draft: no further machine is made of it. A layer keeps its own.
    pub(crate) fn forget(&self) {
        if let Some(memory) = self.memory.as_ref().filter(|_| self.layer.is_none()) {
            // It is in the job's folder, and goes with that.
            let _ = std::fs::remove_file(&memory.saved.state);
        }
    }
}

/// Freezes a machine's disk, and saves its memory where `state` names a file for it. Gives why the memory
/// could not be saved.
pub(crate) async fn save(
    machine: &mut dyn Machine,
    disk: &Utf8Path,
    state: Option<&Utf8Path>,
) -> Result<Result<(), String>, BuildError> {
    let mut saved = Ok(());
    if let Some(state) = state {
        match machine.save() {
            Some(machine) => return machine.save_to(disk, state).await,
            None => saved = Err("its builder keeps no memory".to_owned()),
        }
    }
    match machine.freeze() {
        Some(machine) => machine.freeze_to(disk).await.map(|()| saved),
        None => Err(BuildError::failed("its builder freezes no disk")),
    }
}

/// What a disposable machine shall be.
#[derive(Clone, Copy)]
pub struct DisposableRequest<'a> {
    /// The running job.
    pub job: &'a Job,
    /// Makes it.
    pub builder: &'a dyn Builder,
    /// Its name.
    pub name: &'a str,
    /// The architecture.
    pub arch: Arch,
    /// What it has.
    pub machine: &'a MachineSpec,
    /// The firmware that it boots from.
    pub firmware: Firmware,
    /// What it is for.
    pub purpose: Purpose,
    /// Who logs in.
    pub user: &'a str,
}

/// A machine that is thrown away. [`Disposable::end`] it.
pub struct Disposable {
    /// The machine.
    pub machine: Box<dyn Machine>,
    /// The connection, or why there is none.
    pub connected: Result<Arc<dyn Communicator>, BuildError>,
    /// Whether it was resumed; else it was booted.
    pub resumed: bool,
    /// Keeps the files that it is based on.
    _snapshot: Snapshot,
}

impl Disposable {
    /// Makes a machine of a snapshot: resumes it where it can be, else boots one from the disk, with
    /// keys of its own.
    ///
    /// # Errors
    /// None could be started.
    pub async fn start(
        request: DisposableRequest<'_>,
        snapshot: &Snapshot,
    ) -> Result<Self, BuildError> {
        if let Some(memory) = &snapshot.memory {
            match resume(request, &snapshot.disk, memory).await {
                Ok((machine, comm)) => {
                    return Ok(Self {
                        machine,
                        connected: Ok(comm),
                        resumed: true,
                        _snapshot: snapshot.clone(),
                    });
                }
                Err(error) if error.kind() == BuildErrorKind::Cancelled => return Err(error),
                Err(error) => {
                    let name = request.name;
                    request.job.events().info(format!("machine `{name}` boots: {error}"));
                }
            }
        }
        let lean = request.purpose == Purpose::Build;
        let seed = Seed::new(request.job.id(), request.name, request.user, lean);
        let key = seed.user_key.private_openssh();
        request.job.secrets().add("a disposable machine's ssh key", key.trim());
        let machine = machine_request(request, &snapshot.disk, seed, Uuid::new_v4(), None);
        let limit = request.machine.boot_timeout().duration();
        let (machine, connected) =
            crate::builder::start(request.builder, request.job, machine, limit).await?;
        Ok(Self { machine, connected, resumed: false, _snapshot: snapshot.clone() })
    }

    /// Ends it, whatever it does.
    pub async fn end(mut self) {
        self.machine.end().await;
    }
}

/// Resumes a saved machine and brings its guest up to date.
async fn resume(
    request: DisposableRequest<'_>,
    disk: &BaseDisk,
    memory: &SavedMemory,
) -> Result<(Box<dyn Machine>, Arc<dyn Communicator>), BuildError> {
    let DisposableRequest { job, builder, arch, machine, firmware, .. } = request;
    let now = builder.signature(job, arch, machine, firmware).await?;
    if now != memory.signature {
        let message = format!("it was saved by another builder ({})", memory.signature);
        return Err(BuildError::failed(message));
    }
    let saved = Some(memory.saved.clone());
    let wanted = machine_request(request, disk, memory.seed.clone(), memory.uuid, saved);
    let limit = machine.restore_timeout().duration();
    let (mut machine, connected) = crate::builder::start(builder, job, wanted, limit).await?;
    let awake = async {
        let comm = connected?;
        guest::wake(&*comm, limit).await?;
        Ok(comm)
    };
    match job.cancel().run(awake).await.map_err(BuildError::from).and_then(|awake| awake) {
        Ok(comm) => Ok((machine, comm)),
        Err(error) => {
            machine.end().await;
            Err(error)
        }
    }
}

fn machine_request(
    request: DisposableRequest<'_>,
    disk: &BaseDisk,
    seed: Seed,
    uuid: Uuid,
    saved: Option<SavedMachine>,
) -> MachineRequest {
    MachineRequest {
        name: request.name.to_owned(),
        arch: request.arch,
        machine: request.machine.clone(),
        firmware: request.firmware,
        purpose: request.purpose,
        disk: disk.clone(),
        seed,
        uuid,
        saved,
    }
}
