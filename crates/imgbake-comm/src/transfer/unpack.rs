//! A tar stream from a machine that need not mean well, into a folder.

use std::cell::Cell;
use std::io::{self, Read};
use std::path::{Component, Path};
use std::rc::Rc;
use std::sync::mpsc::Receiver;

use camino::Utf8Path;
use tar::{Archive, Entry, EntryType};

/// Most bytes between two files' contents: headers and long names. The `tar` crate holds them in
/// memory.
const MOST_HEADER: u64 = 1 << 20;

/// Unpacks a stream; gives the bytes of its files.
///
/// # Errors
/// Whatever would leave the folder, something that is neither file, folder nor link, a stream that
/// ends too soon.
pub(super) fn unpack(stream: impl Read, root: &Utf8Path) -> io::Result<u64> {
    let left = Rc::new(Cell::new(MOST_HEADER));
    let mut archive = Archive::new(Bounded { stream, left: Rc::clone(&left) });
    let mut bytes = 0;
    let mut entries = archive.entries()?;
    while let Some(entry) = entries.next().transpose()? {
        left.set(u64::MAX);
        bytes += unpack_one(entry, root)?;
        left.set(MOST_HEADER);
    }
    // What follows the archive's end is padding: it is read so that the machine's tar can end.
    let mut rest = archive.into_inner();
    left.set(u64::MAX);
    io::copy(&mut rest, &mut io::sink())?;
    Ok(bytes)
}

fn unpack_one(mut entry: Entry<impl Read>, root: &Utf8Path) -> io::Result<u64> {
    let path = entry.path()?.into_owned();
    let refused = |why: &str| {
        let text = format!("{} is refused: {why}", path.display());
        io::Error::new(io::ErrorKind::InvalidData, text)
    };
    if !path.components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir)) {
        return Err(refused("its path leaves the folder"));
    }
    if is_below_link(root, &path) {
        return Err(refused("a link is on its way"));
    }
    match entry.header().entry_type() {
        // Of a sparse file a few bytes show how many zeros it has: nobody asked for such a form.
        EntryType::Regular | EntryType::Continuous | EntryType::Directory => {}
        kind @ (EntryType::Symlink | EntryType::Link) => {
            let target = entry.link_name()?.ok_or_else(|| refused("it is a link to nothing"))?;
            let here = path.parent().unwrap_or(Path::new(""));
            let inside = if kind == EntryType::Symlink {
                leads_inside(here, &target)
            } else {
                // A hard link's target counts from the folder. One to a symbolic link is that link here.
                let same = root.as_std_path().join(&target).read_link();
                leads_inside(Path::new(""), &target)
                    && same.map_or(true, |target| leads_inside(here, &target))
            };
            if !inside {
                let target = target.display();
                return Err(refused(&format!(
                    "it is a link to {target}, which can lead out of the folder"
                )));
            }
        }
        EntryType::XGlobalHeader => return Ok(0),
        _ => return Err(refused("it is neither a file, a folder nor a link")),
    }
    let size = entry.size();
    // Beside our own checks, this one refuses to write through a link that leaves the folder.
    if entry.unpack_in(root)? { Ok(size) } else { Err(refused("its path leaves the folder")) }
}

/// Whether a folder on the way to `path` is a link: then a link there starts elsewhere than its path says.
/// No tar writes such an entry.
fn is_below_link(root: &Utf8Path, path: &Path) -> bool {
    let link = |folder: &Path| {
        root.as_std_path().join(folder).symlink_metadata().is_ok_and(|found| found.is_symlink())
    };
    path.ancestors().skip(1).filter(|folder| *folder != Path::new("")).any(link)
}

/// Whether a link from a folder leads to a place below where that folder's own path starts, whatever
/// links are on its way: it goes up first, and then only down. After a link, `..` leads elsewhere than
/// the words say.
fn leads_inside(from: &Path, target: &Path) -> bool {
    let mut depth = from.components().filter(|part| matches!(part, Component::Normal(_))).count();
    let mut parts = target.components().peekable();
    while let Some(up) =
        parts.next_if(|part| matches!(part, Component::ParentDir | Component::CurDir))
    {
        if up == Component::ParentDir {
            let Some(above) = depth.checked_sub(1) else { return false };
            depth = above;
        }
    }
    parts.all(|part| matches!(part, Component::Normal(_) | Component::CurDir))
}

/// Pieces from another task, as a reader.
pub(super) struct Pieces {
    receiver: Receiver<Vec<u8>>,
    piece: io::Cursor<Vec<u8>>,
}

impl Pieces {
    pub(super) fn new(receiver: Receiver<Vec<u8>>) -> Self {
        Self { receiver, piece: io::Cursor::default() }
    }
}

impl Read for Pieces {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        loop {
            let len = self.piece.read(into)?;
            if len > 0 || into.is_empty() {
                return Ok(len);
            }
            match self.receiver.recv() {
                Ok(piece) => self.piece = io::Cursor::new(piece),
                Err(_) => return Ok(0),
            }
        }
    }
}

/// A reader that fails once its allowance is used up.
struct Bounded<R> {
    stream: R,
    left: Rc<Cell<u64>>,
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let len = self.stream.read(into)?;
        let left = self.left.get().checked_sub(len as u64);
        self.left.set(left.ok_or_else(|| {
            io::Error::new(
                io::ErrorKind::InvalidData,
                format!("a name or header is over {MOST_HEADER} bytes"),
            )
        })?);
        Ok(len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tar::{Builder, Header};

    type Item<'a> = (&'a str, EntryType, &'a str);

    /// An archive that no well-meaning tar would write.
    fn archive(items: &[Item<'_>]) -> Vec<u8> {
        let mut tar = Builder::new(Vec::new());
        for (name, kind, body) in items {
            let mut header = Header::new_gnu();
            header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
            header.set_entry_type(*kind);
            header.set_mode(0o6755);
            let link = matches!(kind, EntryType::Symlink | EntryType::Link);
            if link {
                header.as_old_mut().linkname[..body.len()].copy_from_slice(body.as_bytes());
            }
            let size = if link { 0 } else { body.len() as u64 };
            header.set_size(size);
            if *kind == EntryType::GNUSparse {
                let sparse = header.as_gnu_mut().unwrap();
                sparse.set_real_size((1 << 30) + size);
                sparse.sparse[0].set_offset(1 << 30);
                sparse.sparse[0].set_length(size);
            }
            header.set_cksum();
            tar.append(&header, if link { &b""[..] } else { body.as_bytes() }).unwrap();
        }
        tar.into_inner().unwrap()
    }

    #[test]
    fn takes_what_stays_inside() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let root = Utf8Path::from_path(dir.path()).unwrap();
        let bytes = archive(&[
            ("./", EntryType::Directory, ""),
            ("a/", EntryType::Directory, ""),
            ("a/file", EntryType::Regular, "hello"),
            ("a/up", EntryType::Symlink, "../b"),
            ("same", EntryType::Link, "a/file"),
            ("b", EntryType::Regular, ""),
            ("a/same", EntryType::Link, "a/up"),
        ]);
        assert_eq!(unpack(&bytes[..], root).unwrap(), 5);
        assert_eq!(std::fs::read(root.join("same")).unwrap(), b"hello");
        // Set-uid bits do not come to the host.
        assert_eq!(root.join("a/file").metadata().unwrap().permissions().mode() & 0o7777, 0o755);
    }

    #[test]
    fn refuses_what_leaves() {
        let cases: &[&[Item<'_>]] = &[
            &[("/etc/passwd", EntryType::Regular, "x")],
            &[("../x", EntryType::Regular, "x")],
            &[("a/../x", EntryType::Regular, "x")],
            &[("l", EntryType::Symlink, "/etc")],
            &[("l", EntryType::Symlink, "..")],
            &[("a/l", EntryType::Symlink, "../../x")],
            &[("l", EntryType::Link, "../x")],
            &[("l", EntryType::Link, "/etc/passwd")],
            &[("d", EntryType::Symlink, "e/.."), ("d/../../x", EntryType::Regular, "x")],
            &[("e", EntryType::Symlink, "."), ("d", EntryType::Symlink, "e/e/../..")],
            &[("e", EntryType::Symlink, "."), ("e/l", EntryType::Symlink, "../x")],
            &[
                ("a/l", EntryType::Symlink, "../x"),
                ("x", EntryType::Regular, "x"),
                ("l", EntryType::Link, "a/l"),
            ],
            &[("e", EntryType::Symlink, "."), ("e/file", EntryType::Regular, "x")],
            &[("dev", EntryType::Char, "")],
            &[("pipe", EntryType::Fifo, "")],
            &[("sparse", EntryType::GNUSparse, "x")],
        ];
        for case in cases {
            let outer = tempfile::tempdir().unwrap();
            let root = Utf8Path::from_path(outer.path()).unwrap().join("in");
            std::fs::create_dir(&root).unwrap();
            let error = unpack(&archive(case)[..], &root).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{}: {error}", case[0].0);
            assert_eq!(std::fs::read_dir(outer.path()).unwrap().count(), 1, "{}", case[0].0);
        }
    }

    #[test]
    fn bounds_long_names_and_names_a_cut() {
        let dir = tempfile::tempdir().unwrap();
        let root = Utf8Path::from_path(dir.path()).unwrap();
        let mut header = Header::new_gnu();
        header.set_path("././@LongLink").unwrap();
        header.set_entry_type(EntryType::GNULongName);
        header.set_size(1 << 40);
        header.set_cksum();
        let endless = header.as_bytes().chain(io::repeat(b'n'));
        assert_eq!(unpack(endless, root).unwrap_err().kind(), io::ErrorKind::InvalidData);

        let whole = archive(&[("file", EntryType::Regular, "hello")]);
        for len in [10, 512, 514] {
            assert!(unpack(&whole[..len], root).is_err(), "{len}");
        }
    }
}
