//! Reading small files.

use std::io::{self, Read};

use camino::Utf8Path;
use imgbake_runtime::error::io_at;

use crate::{OciError, Result};

/// The largest file of logins or certificates that is read, in bytes.
const LARGEST: u64 = 8 << 20;

/// Reads a whole file; `None` where there is none.
pub(crate) fn read_small(path: &Utf8Path) -> Result<Option<Vec<u8>>> {
    let file = match imgbake_runtime::regular::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened.map_err(io_at("open", path))?,
    };
    let mut bytes = Vec::new();
    file.take(LARGEST + 1).read_to_end(&mut bytes).map_err(io_at("read", path))?;
    if bytes.len() as u64 > LARGEST {
        return Err(OciError::failed(format!("{path} is longer than {} MiB", LARGEST >> 20)));
    }
    Ok(Some(bytes))
}
