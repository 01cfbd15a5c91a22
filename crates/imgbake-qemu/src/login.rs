//! How a machine accepts the build's login: by a NoCloud seed, which every image with cloud-init reads, or by systemd
//! credentials, which take half of that boot's time.
//!
//! Which of the two is no input of a step's key: seal takes out what either brings
//! (`docs/decisions/0025-boot-by-credentials.md`).

use std::time::Duration;

use camino::Utf8PathBuf;
use imgbake_build::{MachineRequest, Purpose};
use imgbake_comm::Communicator;
use imgbake_disk::gpt::{Patch, grow};
use imgbake_runtime::{Job, RuntimeError};
use imgbake_types::Arch;

use crate::credentials;
use crate::error::QemuError;
use crate::files::{Files, write_private};
use crate::system::{Account, account};
use crate::volumes::Volumes;

/// How long growing the root file system may take: a few calls of the kernel.
const GROW_LIMIT: Duration = Duration::from_secs(120);

/// Grows the root file system to its partition, which was made longer before the boot. `systemd-growfs`
/// (systemd-growfs@.service(8)) asks the kernel itself.
const GROW: &str = "for grow in /usr/lib/systemd/systemd-growfs /lib/systemd/systemd-growfs; do\n\
    [ ! -x \"$grow\" ] || exec \"$grow\" /\ndone\necho 'there is no systemd-growfs' >&2\nexit 1\n";

/// What a machine needs to accept the login by credentials.
#[derive(Debug)]
pub(crate) struct Login {
    account: Account,
    /// What makes the root partition as long as the disk lets it be.
    pub(crate) patches: Vec<Patch>,
    /// Whether the root file system is smaller than its partition then.
    pub(crate) grows: bool,
}

/// A file system that misses less than this of its partition is as long as it can be.
const LEAST_GAIN: u64 = 1 << 20;

/// Whether this building machine, whose kernel is loaded directly, accepts the login by credentials: without its
/// command line cloud-init could not be turned off. If not, an event says why. `virtual_size` is its disk's.
pub(crate) fn by_credentials(
    job: &Job,
    request: &MachineRequest,
    virtual_size: u64,
) -> Option<Login> {
    match find(request, virtual_size) {
        Ok(login) => Some(login),
        Err(error) => {
            let (name, reason) = (&request.name, error.reason());
            job.events().info(format!("machine `{name}` boots with a NoCloud seed: {reason}"));
            None
        }
    }
}

/// The login of a machine that has no datasource: there is no other way in.
pub(crate) fn bare(request: &MachineRequest, virtual_size: u64) -> Result<Login, QemuError> {
    let login =
        find(request, virtual_size).map_err(|error| QemuError::NoBareLogin(Box::new(error)))?;
    // Its disk is as it was published: only cloud-init would grow it.
    Ok(Login { patches: Vec::new(), grows: false, ..login })
}

fn find(request: &MachineRequest, virtual_size: u64) -> Result<Login, QemuError> {
    if request.arch != Arch::X86_64 && request.purpose == Purpose::Build {
        // Without firmware an aarch64 kernel finds no SMBIOS.
        let why = format!("credentials are not passed to {} machines", request.arch);
        return Err(QemuError::Unsuitable(why));
    }
    let disk = request
        .booted_from()
        .local()
        .ok_or_else(|| QemuError::unsuitable("it is no disk of this host"))?;
    let volumes = Volumes::open(&disk.path, disk.format)?;
    let (partition, root) =
        volumes.root().ok_or_else(|| QemuError::unsuitable("its root is no ext4 file system"))?;
    let account = account(root, &request.seed.user)?;
    let patches = grow(volumes.image(), partition.index, virtual_size)?.unwrap_or_default();
    let grows = !patches.is_empty() || partition.len() >= root.len() + LEAST_GAIN;
    Ok(Login { account, patches, grows })
}

impl Login {
    /// Writes the credentials' files, each readable by this user alone.
    pub(crate) fn write(
        &self,
        files: &Files,
        request: &MachineRequest,
    ) -> Result<Vec<Utf8PathBuf>, RuntimeError> {
        let strings = credentials::strings(&request.seed, &self.account);
        let numbered = strings.iter().zip(1..);
        numbered
            .map(|(string, number)| {
                let path = files.path(&format!("-credential-{number}"));
                write_private(&path, string)?;
                Ok(path)
            })
            .collect()
    }
}

/// Grows the root of a machine that just booted.
pub(crate) async fn grow_root(comm: &dyn Communicator) -> Result<(), QemuError> {
    let exec = comm.script("root", None, GROW).timeout(GROW_LIMIT);
    comm.check(exec).await?;
    Ok(())
}
