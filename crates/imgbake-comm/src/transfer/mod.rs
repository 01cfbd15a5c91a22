//! Files into and out of a machine, as root, through its shell: no sftp subsystem is needed, and a
//! busybox userland will do (`sh`, `cat`, `tar`, `mkdir`, `chmod`, `chown`, `mv`, `mktemp`, `wc`, `ls`; `cmp` and
//! `stat` where they are there).
//!
//! Paths in the machine are absolute. A mode is the permission bits, `0o644`; an owner is `user` or
//! `user:group`, each a name or number that the machine knows. All functions give the bytes that they
//! moved. Their errors name both paths where there are two.

mod download;
mod folder;
mod pack;
mod unpack;

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use camino::Utf8Path;
use imgbake_runtime::attributes;
use tokio::io::AsyncReadExt;

pub use download::{download_dir, download_file};
pub use folder::upload_dir;

use crate::shell::quote;
use crate::{CommError, CommErrorKind, Communicator, Exec};

/// How long one transfer may take. A machine that is gone is noticed long before.
const LIMIT: Duration = Duration::from_secs(4 * 3600);

/// What an upload wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Uploaded {
    /// Bytes that were moved.
    pub bytes: u64,
    /// Each file, in order.
    pub files: Vec<UploadedFile>,
    /// What of them could not be carried over, in words.
    pub warnings: Vec<String>,
}

/// One file that an upload wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UploadedFile {
    /// Its path in the machine.
    pub path: String,
    /// Whether it was not there before with the same bytes, mode and owner. Of a folder's files that
    /// is not known, and said of each.
    pub changed: bool,
}

impl Uploaded {
    /// One file, by what the script of [`write_script`] says.
    fn one(path: &str, bytes: u64, said: &str) -> Self {
        let changed = said.trim() != UNCHANGED;
        let files = vec![UploadedFile { path: path.to_owned(), changed }];
        Self { bytes, files, warnings: Vec::new() }
    }
}

/// What the script of [`write_script`] says of a file that was there already.
const UNCHANGED: &str = "unchanged";

/// Writes bytes to a file in the machine, in place of what was there: whole or not at all. Folders on
/// the way are made.
///
/// # Errors
/// A path that is not absolute or is a folder, an owner that the machine does not know, a full disk.
pub async fn upload_bytes(
    comm: &dyn Communicator,
    path: &str,
    mode: u32,
    owner: &str,
    bytes: impl Into<Vec<u8>>,
) -> Result<Uploaded, CommError> {
    let bytes = bytes.into();
    let size = bytes.len() as u64;
    let exec = Exec::new(comm.as_root(&write_script(path, mode, owner, size)?)).stdin_bytes(bytes);
    let said = checked(comm, exec, &format!("cannot write {path} in the machine")).await?;
    Ok(Uploaded::one(path, size, &said))
}

/// Copies a file of the host to a file in the machine, in place of what was there: whole or not at
/// all. Folders on the way are made. Without `mode`, the file keeps its own.
///
/// # Errors
/// As [`upload_bytes`]; a host file that cannot be read, or that gets shorter meanwhile.
pub async fn upload_file(
    comm: &dyn Communicator,
    host: &Utf8Path,
    path: &str,
    mode: Option<u32>,
    owner: &str,
) -> Result<Uploaded, CommError> {
    let unreadable =
        |source| CommError::with(CommErrorKind::Io, format!("cannot read {host}"), source);
    let file = tokio::fs::File::open(host).await.map_err(unreadable)?;
    let metadata = file.metadata().await.map_err(unreadable)?;
    if !metadata.is_file() {
        return Err(CommError::new(CommErrorKind::Io, format!("{host} is not a file")));
    }
    let (size, own) = (metadata.len(), metadata.permissions().mode() & 0o7777);
    let script = write_script(path, mode.unwrap_or(own), owner, size)?;
    let exec = Exec::new(comm.as_root(&script)).stdin(file.take(size));
    let said = checked(comm, exec, &format!("cannot copy {host} to {path} in the machine")).await?;
    let mut uploaded = Uploaded::one(path, size, &said);
    let attributes = attributes::read(host).map_err(unreadable)?;
    uploaded.warnings.extend(attributes::lost(&[(host.as_str(), &attributes)]));
    Ok(uploaded)
}

/// What a failure of the host is, while doing something.
fn host_failed(doing: &str) -> impl Fn(io::Error) -> CommError + Copy {
    move |source| CommError::with(CommErrorKind::Io, format!("{doing}: {source}"), source)
}

/// The script that takes a file from its standard input: under another name beside its place first,
/// so that nobody sees half of it and a cut connection leaves the old one. One that is there with the
/// same bytes, mode and owner stays, and the script says so.
fn write_script(path: &str, mode: u32, owner: &str, size: u64) -> Result<String, CommError> {
    absolute(path)?;
    let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
    if name.is_empty() || name == "." || name == ".." {
        return Err(CommError::new(
            CommErrorKind::Failed,
            format!("{path} names a folder, not a file in the machine"),
        ));
    }
    Ok(format!(
        "set -e; umask 022; path={path}; dir={dir}\n\
         if [ -d \"$path\" ]; then echo 'there is a folder of that name' >&2; exit 1; fi\n\
         [ -d \"$dir\" ] || mkdir -p \"$dir\"\n\
         part=$(mktemp \"$dir/.imgbake.XXXXXX\")\n\
         trap 'rm -f \"$part\"' EXIT; trap 'exit 1' HUP INT TERM\n\
         cat > \"$part\"\n\
         got=$(wc -c < \"$part\")\n\
         [ \"$got\" -eq {size} ] || {{ echo \"only $got of {size} bytes came\" >&2; exit 1; }}\n\
         chown {owner} \"$part\"; chmod {mode:o} \"$part\"\n\
         facts() {{ stat -c '%a %u %g' \"$1\" 2>/dev/null || echo \"$1\"; }}\n\
         if [ -f \"$path\" ] && [ ! -L \"$path\" ] && cmp -s \"$part\" \"$path\" 2>/dev/null &&\n\
         [ \"$(facts \"$part\")\" = \"$(facts \"$path\")\" ]; then echo {UNCHANGED}; exit 0; fi\n\
         mv -f \"$part\" \"$path\"\n",
        path = quote(path),
        dir = quote(if folder.is_empty() { "/" } else { folder }),
        owner = quote(owner),
    ))
}

/// Refuses a path that is not absolute.
fn absolute(path: &str) -> Result<(), CommError> {
    if path.starts_with('/') && !path.contains('\0') {
        return Ok(());
    }
    let text = format!("`{path}` is not an absolute path: paths in the machine start with /");
    Err(CommError::new(CommErrorKind::Failed, text))
}

/// Runs a command that must succeed; `doing` begins its error.
async fn checked(comm: &dyn Communicator, exec: Exec, doing: &str) -> Result<String, CommError> {
    let (exit, out, err) = comm
        .capture(exec.timeout(LIMIT))
        .await
        .map_err(|error| CommError::with(error.kind(), format!("{doing}: {error}"), error))?;
    if exit.ok() { Ok(out) } else { Err(failed(doing, &exit, &err)) }
}

/// The error for a command that ended otherwise than well.
fn failed(doing: &str, exit: &crate::Exit, err: &str) -> CommError {
    let kind = if *exit == crate::Exit::Lost { CommErrorKind::Lost } else { CommErrorKind::Failed };
    let err = err.trim();
    let text = if err.is_empty() {
        format!("{doing}: {exit}")
    } else {
        format!("{doing}: {err} ({exit})")
    };
    CommError::new(kind, text)
}
