//! A blob's bytes from a file.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::ops::Range;

use bytes::Bytes;
use camino::Utf8PathBuf;
use futures::StreamExt;
use imgbake_types::Digest;
use sha2::{Digest as _, Sha256};

use crate::Result;
use crate::blob::{Blob, ByteStream};
use crate::files::{damaged, io_at};

/// Bytes that are read at a time.
const BUFFER: usize = 1 << 20;

/// A piece of a blob that is a file; the digest is proved where the piece is all of it. `owner` is what
/// needs it, for errors.
pub(crate) fn read(owner: &str, blob: &Blob, path: Utf8PathBuf, range: Range<u64>) -> ByteStream {
    let reader = Reader {
        owner: owner.to_owned(),
        blob: blob.clone(),
        hasher: (range.start == 0 && range.end == blob.size).then(Sha256::new),
        range,
        path,
        file: None,
    };
    futures::stream::try_unfold(reader, |reader| async move {
        run(move || {
            let mut reader = reader;
            Ok(reader.next()?.map(|bytes| (bytes, reader)))
        })
        .await
    })
    .boxed()
}

/// Runs what waits for files on a thread of its own.
pub(crate) async fn run<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|error| Err(damaged("a copy ended before it was done").because(error)))
}

/// A blob's file that is being read.
struct Reader {
    owner: String,
    blob: Blob,
    path: Utf8PathBuf,
    range: Range<u64>,
    file: Option<File>,
    /// Where the range is the whole blob.
    hasher: Option<Sha256>,
}

impl Reader {
    fn next(&mut self) -> Result<Option<Bytes>> {
        let left = self.range.end - self.range.start;
        if left == 0 {
            return Ok(None);
        }
        let mut file = match self.file.take() {
            Some(file) => file,
            None => self.open()?,
        };
        let mut bytes = vec![0; usize::try_from(left).unwrap_or(usize::MAX).min(BUFFER)];
        let broken =
            |why: &str| crate::blobs::broken(&self.owner, &self.blob.digest, &self.path, why);
        file.read_exact(&mut bytes).map_err(|error| broken("it is cut short").because(error))?;
        self.range.start += bytes.len() as u64;
        if let Some(hasher) = &mut self.hasher {
            hasher.update(&bytes);
            let ended = self.range.is_empty();
            if ended && Digest::from_sha256(&hasher.clone().finalize()) != self.blob.digest {
                return Err(broken("its bytes are not those of its name"));
            }
        }
        self.file = Some(file);
        Ok(Some(bytes.into()))
    }

    fn open(&self) -> Result<File> {
        let path = &self.path;
        let mut file =
            imgbake_runtime::regular::open(path).map_err(|error| match error.kind() {
                std::io::ErrorKind::NotFound => {
                    crate::blobs::missing(&self.owner, &self.blob.digest, path)
                }
                _ => io_at("open", path)(error),
            })?;
        file.seek(SeekFrom::Start(self.range.start)).map_err(io_at("read", path))?;
        Ok(file)
    }
}
