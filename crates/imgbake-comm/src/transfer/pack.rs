//! A folder as a tar stream (POSIX ustar with GNU's long names, which busybox reads as well).

use std::collections::HashMap;
use std::fs::{self, File, Metadata};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};

use camino::{Utf8Path, Utf8PathBuf};
use imgbake_runtime::attributes::{self, Attributes};
use tar::{Builder, EntryType, Header};

/// A file of fewer bytes is not reported as sparse.
const LEAST_SPARSE: u64 = 1 << 20;

/// Something in a folder.
pub(super) struct Entry {
    host: Utf8PathBuf,
    name: Utf8PathBuf,
    metadata: Metadata,
    attributes: Attributes,
    /// The entry before it that is the same file under another name.
    same_as: Option<Utf8PathBuf>,
}

impl Entry {
    /// Its path below the folder.
    pub(super) fn name(&self) -> &Utf8Path {
        &self.name
    }

    /// Its extended attributes.
    pub(super) fn attributes(&self) -> &Attributes {
        &self.attributes
    }

    /// Whether it takes less room than it has bytes: the copy has no holes.
    pub(super) fn is_sparse(&self) -> bool {
        self.metadata.is_file()
            && self.same_as.is_none()
            && self.metadata.len() >= LEAST_SPARSE
            && self.metadata.blocks() * 512 < self.metadata.len() / 2
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
    let mut linked: HashMap<(u64, u64), Utf8PathBuf> = HashMap::new();
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
            let file = (metadata.dev(), metadata.ino());
            let is_linked = metadata.is_file() && metadata.nlink() > 1;
            let same_as = linked.get(&file).filter(|_| is_linked).cloned();
            if is_linked && same_as.is_none() {
                linked.insert(file, name.clone());
            }
            let attributes = attributes::read(&host).map_err(|error| at(&host, &error))?;
            found.push(Entry { host, name, metadata, attributes, same_as });
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
/// own. With `attributes`, extended attributes are in it, in the way of GNU tar (pax records `SCHILY.xattr.NAME`).
pub(super) fn write(
    to: impl Write,
    entries: &[Entry],
    owner: Owner,
    mode: Option<u32>,
    attributes: bool,
) -> io::Result<u64> {
    let mut tar = Builder::new(to);
    let mut bytes = 0;
    for entry in entries {
        let carried = entry.attributes.carried.iter();
        if attributes && entry.same_as.is_none() && carried.len() > 0 {
            let names: Vec<String> =
                carried.clone().map(|(name, _)| format!("SCHILY.xattr.{name}")).collect();
            let values = carried.map(|(_, value)| value.as_slice());
            tar.append_pax_extensions(names.iter().map(String::as_str).zip(values))?;
        }
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
        } else if let Some(first) = &entry.same_as {
            header.set_entry_type(EntryType::Link);
            header.set_mode(mode.unwrap_or(entry.mode()));
            header.set_size(0);
            tar.append_link(&mut header, &entry.name, first)?;
        } else {
            bytes += append_file(&mut tar, header, entry, mode)?;
        }
    }
    tar.into_inner()?.flush()?;
    Ok(bytes)
}

/// Writes one file. It must keep its size while it is read: the stream's header has reported it.
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
