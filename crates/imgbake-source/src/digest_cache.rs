//! The digest of a file of this host, cached while the file does not change.

use std::os::unix::fs::MetadataExt;
use std::time::Duration;

use camino::Utf8Path;
use imgbake_build::SourceContext;
use imgbake_runtime::error::io_at;
use imgbake_types::{Algorithm, Digest};
use serde::{Deserialize, Serialize};

use crate::error::SourceError;
use crate::hash::Hasher;
use crate::location::open_file;
use crate::partial::hash_file;
use crate::store::Store;
use crate::{blocking, files};

/// A file changed as lately as this may change again without a new time: its digest is not cached.
const FRESH: Duration = Duration::from_secs(2);

/// What distinguishes a file's states.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct State {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

/// A file's digest, and the state that it is of.
#[derive(Debug, Serialize, Deserialize)]
struct CachedDigest {
    state: State,
    digest: Digest,
}

impl State {
    fn of(metadata: &std::fs::Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}

/// The digest of the file at `path`, and whether it was cached.
pub(crate) async fn digest(
    context: &SourceContext<'_>,
    store: &Store,
    path: &Utf8Path,
    algorithm: Algorithm,
) -> Result<(Digest, bool), SourceError> {
    let mut file = open_file(path)?;
    let metadata = file.metadata().map_err(io_at("read", path))?;
    let state = State::of(&metadata);
    let key = Digest::sha256(format!("{}\0{path}", algorithm.name()));
    let record = store.dir().join(Store::DIGESTS).join(format!("{}.json", key.hex()));
    if let Some(cached) = files::read_json::<CachedDigest>(&record)
        && cached.state == state
        && cached.digest.algorithm() == algorithm
    {
        return Ok((cached.digest, true));
    }
    context.stage.status("checking the file's digest");
    let owned = path.to_owned();
    let hash = move |meter: &blocking::Meter| {
        let mut hasher = Hasher::new(algorithm);
        hash_file(&mut file, &owned, &mut hasher, meter)?;
        let after = file.metadata().map_err(io_at("read", &owned))?;
        Ok((hasher.finish(), State::of(&after)))
    };
    let (digest, after) =
        blocking::run(context.stage, context.job.cancel(), Some(state.size), hash).await?;
    if after != state {
        return Err(SourceError::Changed(path.to_owned()));
    }
    let settled = metadata.modified().is_ok_and(|time| time.elapsed().is_ok_and(|age| age > FRESH));
    if settled {
        let lock = files::lock(
            store.dir(),
            Store::DIGESTS,
            context.job.cancel(),
            context.stage,
            "waiting for the cache",
        );
        let _lock = lock.await?;
        files::write_json(&record, &CachedDigest { state, digest: digest.clone() })?;
    }
    Ok((digest, false))
}
