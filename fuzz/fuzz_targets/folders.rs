//! What a machine sends for a folder: a tar stream that would write elsewhere.
#![no_main]
#![expect(clippy::unwrap_used, reason = "a target that lacks its ground has failed")]

use std::collections::BTreeSet;
use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::sync::LazyLock;

use async_trait::async_trait;
use camino::Utf8PathBuf;
use imgbake_comm::exec::OutputSink;
use imgbake_comm::transfer::download_dir;
use imgbake_comm::{CommError, Communicator, Exec, Exit};
use imgbake_fuzz::{choose, folder, names_in, seed, tagged};
use imgbake_types::event::Stream;
use libfuzzer_sys::fuzz_target;
use tar::{Builder, EntryType, Header};
use tokio::runtime::Runtime;

static OUTER: LazyLock<Utf8PathBuf> = LazyLock::new(folder);
static RUNTIME: LazyLock<Runtime> =
    LazyLock::new(|| tokio::runtime::Builder::new_current_thread().build().unwrap());

/// A machine that answers with these bytes, whatever it is asked.
struct Machine(Vec<u8>);

#[async_trait]
impl Communicator for Machine {
    fn user(&self) -> &'static str {
        "root"
    }

    async fn run(&self, _: Exec, output: OutputSink<'_>) -> Result<Exit, CommError> {
        self.0.chunks(700).for_each(|piece| output(Stream::Stdout, piece));
        Ok(Exit::Code(0))
    }
}

/// Archives with each kind of entry.
fn sound() -> Vec<Vec<u8>> {
    let long = "n".repeat(150);
    let all: &[&[(&str, EntryType, &str)]] = &[
        &[("./", EntryType::Directory, ""), ("a/", EntryType::Directory, "")],
        &[("a/file", EntryType::Regular, "hello"), ("same", EntryType::Link, "a/file")],
        &[("a/l", EntryType::Symlink, "../b"), ("a/l/x", EntryType::Regular, "x")],
        &[("d", EntryType::Symlink, "."), ("d/l", EntryType::Symlink, "e/e/x")],
        &[(&long, EntryType::Regular, "long")],
        &[("s", EntryType::GNUSparse, "sparse")],
        &[("d", EntryType::Symlink, "."), ("e", EntryType::Symlink, "d/d")],
        &[
            ("a/l", EntryType::Symlink, "../b"),
            ("b", EntryType::Regular, ""),
            ("a/h", EntryType::Link, "a/l"),
        ],
        &[("p", EntryType::XHeader, "18 path=elsewhere\n"), ("f", EntryType::Regular, "x")],
    ];
    all.iter().map(|entries| tagged(1, archive(entries))).collect()
}

fn archive(entries: &[(&str, EntryType, &str)]) -> Vec<u8> {
    let mut tar = Builder::new(Vec::new());
    for (name, kind, body) in entries {
        let mut header = Header::new_gnu();
        header.set_entry_type(*kind);
        header.set_mode(0o644);
        if matches!(kind, EntryType::Symlink | EntryType::Link) {
            header.set_size(0);
            tar.append_link(&mut header, name, body).unwrap();
        } else {
            let size = body.len() as u64;
            header.set_size(size);
            if *kind == EntryType::GNUSparse {
                let sparse = header.as_gnu_mut().unwrap();
                sparse.set_real_size((1 << 20) + size);
                sparse.sparse[0].set_offset(1 << 20);
                sparse.sparse[0].set_length(size);
            }
            tar.append_data(&mut header, name, body.as_bytes()).unwrap();
        }
    }
    tar.into_inner().unwrap()
}

/// Gives headers checksums that hold, so that what lies behind them is reached.
fn seal(mut stream: &mut [u8]) {
    while let Some((block, rest)) = stream.split_at_mut_checked(512) {
        let mut header = Header::new_old();
        header.as_mut_bytes().copy_from_slice(block);
        header.set_cksum();
        block.copy_from_slice(header.as_bytes());
        let body = header.entry_size().ok().and_then(|size| size.checked_next_multiple_of(512));
        let Some((_, next)) =
            body.and_then(|body| rest.split_at_mut_checked(usize::try_from(body).ok()?))
        else {
            return;
        };
        stream = next;
    }
}

/// Looks at all that was unpacked; gives the bytes of its files.
fn look(root: &Path, folder: &Path, seen: &mut BTreeSet<u64>) -> u64 {
    let mut bytes = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let found = path.symlink_metadata().unwrap();
        if found.is_dir() {
            // A machine may say that nobody can look into it.
            fs::set_permissions(&path, Permissions::from_mode(0o700)).unwrap();
            bytes += look(root, &path, seen);
        } else if found.is_symlink() {
            let leads = path.canonicalize();
            let inside = leads.is_ok_and(|leads| leads.starts_with(root));
            assert!(inside || !path.exists(), "{} leads elsewhere", path.display());
        } else {
            assert!(found.is_file(), "{} is neither file, folder nor link", path.display());
            bytes += if seen.insert(found.ino()) { found.len() } else { 0 };
        }
    }
    bytes
}

fuzz_target!(init: seed(sound()), |input: &[u8]| {
    let Some((sealed, stream)) = choose(input, 2) else { return };
    let mut stream = stream.to_vec();
    if sealed == 1 {
        seal(&mut stream);
    }
    let root = OUTER.join("in");
    let most = stream.len() as u64;
    let machine = Machine(stream);
    let _ = RUNTIME.block_on(download_dir(&machine, "/srv", &root));
    assert_eq!(names_in(&OUTER), ["in"], "nothing is written elsewhere");
    let root = root.canonicalize().unwrap();
    let bytes = look(&root, &root, &mut BTreeSet::new());
    assert!(bytes <= most, "{bytes} bytes came out of {most}");
    fs::remove_dir_all(root).unwrap();
});
