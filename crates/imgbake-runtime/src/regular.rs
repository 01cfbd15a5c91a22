//! Opening files that somebody else may have put there.

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileTypeExt as _, OpenOptionsExt as _};
use std::path::Path;

use rustix::fs::OFlags;

/// Opens a regular file to read it.
///
/// # Errors
/// It is something else: a folder, or a FIFO or device, whose opening would wait for somebody.
pub fn open(path: impl AsRef<Path>) -> io::Result<File> {
    let flags = i32::try_from(OFlags::NONBLOCK.bits()).map_err(io::Error::other)?;
    let file = File::options().read(true).custom_flags(flags).open(path)?;
    let kind = file.metadata()?.file_type();
    let what = match kind {
        kind if kind.is_file() => return Ok(file),
        kind if kind.is_dir() => "a folder",
        kind if kind.is_fifo() => "a FIFO",
        kind if kind.is_socket() => "a socket",
        _ => "a device",
    };
    Err(io::Error::new(io::ErrorKind::InvalidInput, format!("it is {what}, and no file")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_files_are_opened() {
        let dir = tempfile::tempdir().unwrap();
        let fifo = dir.path().join("fifo");
        rustix::fs::mknodat(
            rustix::fs::CWD,
            &fifo,
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::RUSR,
            0,
        )
        .unwrap();
        std::fs::write(dir.path().join("file"), "x").unwrap();
        assert!(open(dir.path().join("file")).is_ok());
        for (path, what) in [
            (fifo.as_path(), "a FIFO"),
            (dir.path(), "a folder"),
            (Path::new("/dev/null"), "a device"),
        ] {
            let error = open(path).unwrap_err().to_string();
            assert!(error.contains(what), "{error}");
        }
        assert_eq!(open("/none").unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
