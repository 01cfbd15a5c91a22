//! The digest of a file of this host, remembered while the file does not change.

use std::os::unix::fs::MetadataExt;
use std::time::Duration;

use camino::Utf8Path;
use imgbake_build::{BuildError, SourceContext};
use imgbake_runtime::error::io_at;
use imgbake_types::{Algorithm, Digest};
use serde::{Deserialize, Serialize};

use crate::hash::Hasher;
use crate::location::open_file;
use crate::partial::hash_file;
use crate::store::Store;
use crate::{blocking, files};

/// A file changed as lately as this may change again without a new time: it is not remembered.
const FRESH: Duration = Duration::from_secs(2);

/// What tells a file's states apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct State {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

#[derive(Debug, Serialize, Deserialize)]
struct Memo {
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

/// The digest of the file at `path`, and whether it was remembered.
pub(crate) async fn digest(
    context: &SourceContext<'_>,
    store: &Store,
    path: &Utf8Path,
    algorithm: Algorithm,
) -> Result<(Digest, bool), BuildError> {
    let mut file = open_file(path)?;
    let metadata = file.metadata().map_err(io_at("read", path))?;
    let state = State::of(&metadata);
    let memo = Digest::sha256(format!("{}\0{path}", algorithm.name()));
    let memo = store.dir().join("memo").join(format!("{}.json", memo.hex()));
    if let Some(known) = files::read_json::<Memo>(&memo)
        && known.state == state
        && known.digest.algorithm() == algorithm
    {
        return Ok((known.digest, true));
    }
    context.stage.status("checking the file's digest");
    let place = path.to_owned();
    let hash = move |meter: &blocking::Meter| {
        let mut hasher = Hasher::new(algorithm);
        hash_file(&mut file, &place, &mut hasher, meter)?;
        let after = file.metadata().map_err(io_at("read", &place))?;
        Ok((hasher.finish(), State::of(&after)))
    };
    let (digest, after) =
        blocking::run(context.stage, context.job.cancel(), Some(state.size), hash).await?;
    if after != state {
        return Err(BuildError::failed(format!("{path} was changed while it was read")));
    }
    let settled = metadata.modified().is_ok_and(|time| time.elapsed().is_ok_and(|age| age > FRESH));
    if settled {
        let lock = files::lock(
            store.dir(),
            "memo",
            context.job.cancel(),
            context.stage,
            "waiting for the cache",
        );
        let _lock = lock.await?;
        files::write_json(&memo, &Memo { state, digest: digest.clone() })?;
    }
    Ok((digest, false))
}
