//! A folder of the host into the machine.

use std::io;

use camino::Utf8Path;
use imgbake_runtime::attributes::{self, Attributes};
use tokio_util::io::SyncIoBridge;

use super::pack::{self, Entry, Owner};
use super::{Uploaded, UploadedFile, absolute, checked, failed, host_failed};
use crate::shell::quote;
use crate::{CommError, CommErrorKind, Communicator, Exec};

/// Bytes of the archive that wait between the host's disk and the connection.
const BUFFER: usize = 256 << 10;

/// What the machine says whose tar keeps extended attributes.
const KEEPS_ATTRIBUTES: &str = "keeps extended attributes";

/// Copies what is in a folder of the host into a folder of the machine, which is made if it is not
/// there. Files replace those of the same name; folders that are there keep their owner and mode.
/// `mode` is for each file; without it, files keep their own. New folders have the host's modes. Hard links
/// stay such; file capabilities and `user.` attributes are kept by a machine with GNU tar.
///
/// # Errors
/// A host file that cannot be read or is neither file, folder nor link; an owner that the machine
/// does not know; a full disk.
pub async fn upload_dir(
    comm: &dyn Communicator,
    host: &Utf8Path,
    path: &str,
    mode: Option<u32>,
    owner: &str,
) -> Result<Uploaded, CommError> {
    absolute(path)?;
    let doing = format!("cannot copy {host} to {path} in the machine");
    let unreadable = host_failed(&doing);

    let root = host.to_owned();
    let listed = tokio::task::spawn_blocking(move || pack::list(&root)).await;
    let (folders, rest): (Vec<Entry>, Vec<Entry>) = listed
        .map_err(io::Error::other)
        .flatten()
        .map_err(unreadable)?
        .into_iter()
        .partition(Entry::is_folder);

    let prepare =
        Exec::new(comm.as_root(&folders_script(path, owner))).stdin_bytes(folder_lines(&folders));
    let ids = checked(comm, prepare, &doing).await?;
    let (ids, keeps_attributes) = match ids.trim_end().strip_suffix(KEEPS_ATTRIBUTES) {
        Some(ids) => (ids, true),
        None => (ids.as_str(), false),
    };
    let owner = Owner::read(ids).ok_or_else(|| {
        CommError::new(
            CommErrorKind::Failed,
            format!("{doing}: the machine's `ls -ln` says {:?}", ids.trim()),
        )
    })?;

    let folder = Utf8Path::new(path);
    let files = rest.iter().map(|entry| folder.join(entry.name()).into_string());
    let files = files.map(|path| UploadedFile { path, changed: true }).collect();
    let warnings = warnings(&folders, &rest, keeps_attributes);
    let (reader, writer) = tokio::io::duplex(BUFFER);
    let packing = tokio::task::spawn_blocking(move || {
        pack::write(SyncIoBridge::new(writer), &rest, owner, mode, keeps_attributes)
    });
    let options = if keeps_attributes { "--xattrs --xattrs-include='*'" } else { "" };
    let extract = format!("cd {} && tar -x -p {options} -f -", quote(path));
    let exec = Exec::new(comm.as_root(&extract)).stdin(reader).timeout(super::LIMIT);
    let extracted = comm.capture(exec).await;
    let packed = packing.await.map_err(io::Error::other).flatten();
    let (exit, _, err) = extracted?;
    match packed {
        Ok(bytes) if exit.ok() => Ok(Uploaded { bytes, files, warnings }),
        // The machine's tar ended before all was written: it says why.
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(unreadable(error)),
        _ => Err(failed(&doing, &exit, &err)),
    }
}

/// What of a folder's files cannot be carried over.
fn warnings(folders: &[Entry], rest: &[Entry], keeps_attributes: bool) -> Vec<String> {
    let left = |entry: &Entry| {
        let mut attributes = entry.attributes().clone();
        if keeps_attributes && !entry.is_folder() {
            attributes.carried.clear();
        }
        attributes
    };
    let all: Vec<(&str, Attributes)> =
        folders.iter().chain(rest).map(|entry| (entry.name().as_str(), left(entry))).collect();
    let all: Vec<(&str, &Attributes)> = all.iter().map(|(name, left)| (*name, left)).collect();
    let sparse: Vec<&str> =
        rest.iter().filter(|entry| entry.is_sparse()).map(|entry| entry.name().as_str()).collect();
    let sparse = match sparse.as_slice() {
        [] => None,
        [first] => Some(format!("{first} is sparse here, and is written in full there")),
        [first, rest @ ..] => Some(format!(
            "{first} and {} more are sparse here, and are written in full there",
            rest.len()
        )),
    };
    attributes::lost(&all).into_iter().chain(sparse).collect()
}

/// The script that makes the folders that are missing, and prints the owner's numbers. The folder
/// itself comes first; the others come on standard input, as octal mode and path.
fn folders_script(path: &str, owner: &str) -> String {
    format!(
        "set -e; umask 022; path={path}; owner={owner}\n\
         made() {{ mkdir \"$2\"; chown \"$owner\" \"$2\"; chmod \"$1\" \"$2\"; }}\n\
         if [ ! -d \"$path\" ]; then mkdir -p \"$path\"; chown \"$owner\" \"$path\"; fi\n\
         cd \"$path\"\n\
         while IFS=' ' read -r mode name; do [ -d \"$name\" ] || made \"$mode\" \"$name\"; done\n\
         probe=$(mktemp ./.imgbake.XXXXXX); trap 'rm -f \"$probe\"' EXIT\n\
         chown \"$owner\" \"$probe\"; ls -ln \"$probe\"\n\
         if tar --help 2>&1 | grep -q -e --xattrs-include; then echo {KEEPS_ATTRIBUTES}; fi\n",
        path = quote(path),
        owner = quote(owner),
    )
}

fn folder_lines(folders: &[Entry]) -> String {
    let line = |folder: &Entry| format!("{:o} ./{}", folder.mode(), folder.name());
    let mut lines: Vec<String> = folders.iter().map(line).collect();
    lines.push(String::new());
    lines.join("\n")
}
