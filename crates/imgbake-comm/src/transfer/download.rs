//! Files and folders of the machine to the host.

use std::fs::{self, File};
use std::io::{self, Write};
use std::sync::mpsc::{SyncSender, sync_channel};

use camino::Utf8Path;
use imgbake_types::event::Stream;

use super::unpack::{Pieces, unpack};
use super::{LIMIT, absolute, failed, host_failed};
use crate::shell::quote;
use crate::{CommError, CommErrorKind, Communicator, Exec};

/// Pieces of at most 32 KiB that wait between the connection and the host's disk.
const WAITING: usize = 64;
/// Bytes of the machine's error output that are kept.
const MOST_ERROR: usize = 8 << 10;

/// Copies a file of the machine to a file of the host, over what is there. Give it a name in the job's
/// folder and rename that: a failed copy removes it, a killed one leaves a part. The host's folder must
/// be there.
///
/// # Errors
/// A file that is not there or is none, a host path that cannot be written, a lost connection.
pub async fn download_file(
    comm: &dyn Communicator,
    path: &str,
    host: &Utf8Path,
) -> Result<u64, CommError> {
    absolute(path)?;
    let doing = format!("cannot copy {path} of the machine to {host}");
    let unwritable = host_failed(&doing);
    let mut file = File::create(host).map_err(unwritable)?;
    let mut done =
        stream(comm, &format!("cat {}", quote(path)), &doing, |bytes| file.write_all(bytes)).await;
    if done.is_ok()
        && let Err(error) = file.sync_all()
    {
        done = Err(unwritable(error));
    }
    if done.is_err() {
        let _ = fs::remove_file(host);
    }
    done
}

/// Copies what is in a folder of the machine into a folder of the host, which is made if it is not
/// there. Files replace those of the same name; they belong to who runs imgbake.
///
/// # Errors
/// As [`download_file`]; anything in it that would leave the host's folder (an absolute path, `..`, a
/// link to elsewhere), or that is neither file, folder nor link.
pub async fn download_dir(
    comm: &dyn Communicator,
    path: &str,
    host: &Utf8Path,
) -> Result<u64, CommError> {
    absolute(path)?;
    let doing = format!("cannot copy {path} of the machine to {host}");
    let unwritable = host_failed(&doing);
    fs::create_dir_all(host).map_err(unwritable)?;

    let (sender, receiver) = sync_channel(WAITING);
    let root = host.to_owned();
    let unpacking = tokio::task::spawn_blocking(move || unpack(Pieces::new(receiver), &root));
    let command = format!("cd {} && tar -c -f - .", quote(path));
    let sent = send(comm, &command, &doing, sender).await;
    let unpacked = unpacking.await.map_err(io::Error::other).flatten();
    match (sent, unpacked) {
        (Ok(_), unpacked) => unpacked.map_err(unwritable),
        // The sender's only failure of this kind is that the reader stopped: that one knows why.
        (Err(error), Err(cause)) if error.kind() == CommErrorKind::Io => Err(unwritable(cause)),
        (Err(error), _) => Err(error),
    }
}

/// Runs a command and hands its output to a thread. The channel is closed when it returns.
async fn send(
    comm: &dyn Communicator,
    command: &str,
    doing: &str,
    sender: SyncSender<Vec<u8>>,
) -> Result<u64, CommError> {
    // The reader's own error is the one to show: what comes after it is dropped.
    let gone = |_| io::Error::from(io::ErrorKind::BrokenPipe);
    stream(comm, command, doing, |bytes| sender.send(bytes.to_vec()).map_err(gone)).await
}

/// Runs a command as root and hands on its standard output, until `take` fails.
async fn stream(
    comm: &dyn Communicator,
    command: &str,
    doing: &str,
    mut take: impl FnMut(&[u8]) -> io::Result<()> + Send,
) -> Result<u64, CommError> {
    let (mut bytes, mut err, mut refused) = (0, Vec::new(), None);
    let mut sink = |stream: Stream, piece: &[u8]| match stream {
        Stream::Stdout if refused.is_none() => match take(piece) {
            Ok(()) => bytes += piece.len() as u64,
            Err(error) => refused = Some(error),
        },
        Stream::Stdout => {}
        _ => err.extend_from_slice(&piece[..piece.len().min(MOST_ERROR.saturating_sub(err.len()))]),
    };
    let exit = comm
        .run(Exec::new(comm.as_root(command)).timeout(LIMIT), &mut sink)
        .await
        .map_err(|error| CommError::with(error.kind(), format!("{doing}: {error}"), error))?;
    if let Some(error) = refused {
        return Err(host_failed(doing)(error));
    }
    if exit.ok() { Ok(bytes) } else { Err(failed(doing, &exit, &String::from_utf8_lossy(&err))) }
}
