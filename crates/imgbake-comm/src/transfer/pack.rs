//! A folder as a tar stream (POSIX ustar with GNU's long names, which busybox reads as well).

use std::fs::{self, File, Metadata};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};

use camino::{Utf8Path, Utf8PathBuf};
use tar::{Builder, EntryType, Header};

/// Something in a folder.
pub(super) struct Entry {
    host: Utf8PathBuf,
    name: Utf8PathBuf,
    metadata: Metadata,
}

impl Entry {
    /// Its path below the folder.
    pub(super) fn name(&self) -> &Utf8Path {
        &self.name
    }

    pub(super) fn is_folder(&self) -> bool {
        self.metadata.is_dir()
    }

    /// Its permission bits.
    pub(super) fn mode(&self) -> u32 {
        self.metadata.permissions().mode() & 0o7777
    }
}

/// A user's and a group's number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Owner {
    uid: u64,
    gid: u64,
}

impl Owner {
    /// Reads the numbers from a line of `ls -ln` (POSIX: mode, links, owner, group, …).
    pub(super) fn read(line: &str) -> Option<Self> {
        let mut words = line.split_whitespace().skip(2);
        Some(Self { uid: words.next()?.parse().ok()?, gid: words.next()?.parse().ok()? })
    }
}

/// All that is in a folder, each folder before what it holds, in the order of names.
pub(super) fn list(root: &Utf8Path) -> io::Result<Vec<Entry>> {
    let mut found = Vec::new();
    let mut waiting = vec![(root.to_owned(), Utf8PathBuf::new())];
    while let Some((host, name)) = waiting.pop() {
        let mut inside = read_folder(&host)?;
        inside.sort();
        for file in inside {
            let (host, name) = (host.join(&file), name.join(&file));
            let metadata = fs::symlink_metadata(&host).map_err(|error| at(&host, &error))?;
            check(&host, &name, &metadata)?;
            if metadata.is_dir() {
                waiting.push((host.clone(), name.clone()));
            }
            found.push(Entry { host, name, metadata });
        }
    }
    Ok(found)
}

fn read_folder(host: &Utf8Path) -> io::Result<Vec<String>> {
    let name = |entry: io::Result<fs::DirEntry>| {
        entry?
            .file_name()
            .into_string()
            .map_err(|name| io::Error::other(format!("the name {} is not UTF-8", name.display())))
    };
    let names: io::Result<Vec<String>> =
        fs::read_dir(host).and_then(|entries| entries.map(name).collect());
    names.map_err(|error| at(host, &error))
}

fn check(host: &Utf8Path, name: &Utf8Path, metadata: &Metadata) -> io::Result<()> {
    let kind = metadata.file_type();
    if !(kind.is_file() || kind.is_dir() || kind.is_symlink()) {
        return Err(at(
            host,
            &io::Error::other("it is neither a file, a folder nor a symbolic link"),
        ));
    }
    if kind.is_dir() && name.as_str().contains('\n') {
        return Err(at(host, &io::Error::other("a folder's name must not hold a line end")));
    }
    Ok(())
}

/// Writes files and links as a tar stream; gives the bytes of the files. `mode` replaces each file's
/// own.
pub(super) fn write(
    to: impl Write,
    entries: &[Entry],
    owner: Owner,
    mode: Option<u32>,
) -> io::Result<u64> {
    let mut tar = Builder::new(to);
    let mut bytes = 0;
    for entry in entries {
        let mut header = Header::new_gnu();
        header.set_uid(owner.uid);
        header.set_gid(owner.gid);
        header.set_mtime(u64::try_from(entry.metadata.mtime()).unwrap_or(0));
        if entry.metadata.is_symlink() {
            let target = fs::read_link(&entry.host).map_err(|error| at(&entry.host, &error))?;
            header.set_entry_type(EntryType::Symlink);
            header.set_mode(0o777);
            header.set_size(0);
            tar.append_link(&mut header, &entry.name, target)?;
        } else {
            bytes += append_file(&mut tar, header, entry, mode)?;
        }
    }
    tar.into_inner()?.flush()?;
    Ok(bytes)
}

/// Writes one file. It must keep its size while it is read: the stream's header has told it.
fn append_file(
    tar: &mut Builder<impl Write>,
    mut header: Header,
    entry: &Entry,
    mode: Option<u32>,
) -> io::Result<u64> {
    let size = entry.metadata.len();
    header.set_entry_type(EntryType::Regular);
    header.set_mode(mode.unwrap_or(entry.mode()));
    header.set_size(size);
    let file =
        imgbake_runtime::regular::open(&entry.host).map_err(|error| at(&entry.host, &error))?;
    let mut source = Exact { file, left: size, host: &entry.host };
    tar.append_data(&mut header, &entry.name, &mut source)?;
    Ok(size)
}

/// Reads so many bytes of a file and no other number.
struct Exact<'a> {
    file: File,
    left: u64,
    host: &'a Utf8Path,
}

impl Read for Exact<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let most = into.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        if most == 0 {
            return Ok(0);
        }
        let len = self.file.read(&mut into[..most]).map_err(|error| at(self.host, &error))?;
        if len == 0 {
            return Err(at(self.host, &io::Error::other("it became shorter while it was read")));
        }
        self.left -= len as u64;
        Ok(len)
    }
}

fn at(path: &Utf8Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{path}: {error}"))
}

#[cfg(test)]
mod tests {
    use super::Owner;

    #[test]
    fn reads_owners() {
        let gnu = "-rw------- 1 33 1000 0 Nov 23 10:00 ./.imgbake.x";
        assert_eq!(Owner::read(gnu), Some(Owner { uid: 33, gid: 1000 }));
        assert_eq!(
            Owner::read("-rw-------    1 0        5             0 Nov 23"),
            Some(Owner { uid: 0, gid: 5 })
        );
        for bad in ["", "-rw 1", "-rw 1 root root 0"] {
            assert_eq!(Owner::read(bad), None, "{bad}");
        }
    }
}
