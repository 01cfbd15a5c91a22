//! What the fuzz targets share. Each target reads what others wrote: no panic, bounded memory, and what
//! it asserts of what it took.
#![expect(clippy::unwrap_used, reason = "a target that lacks its ground has failed")]

pub mod store;

use std::fs;
use std::path::Path;

use camino::{Utf8Path, Utf8PathBuf};
use imgbake_types::Digest;

/// Puts sound inputs into the corpus: the folder that libFuzzer was given, if it was given one.
pub fn seed(inputs: impl IntoIterator<Item = Vec<u8>>) {
    let Some(corpus) = std::env::args().skip(1).find(|argument| Path::new(argument).is_dir())
    else {
        return;
    };
    for input in inputs {
        let name = Digest::sha256(&input);
        fs::write(Path::new(&corpus).join(name.short()), input).unwrap();
    }
}

/// A sound input of one of several parsers in a target: see [`choose`].
pub fn tagged(choice: u8, input: impl AsRef<[u8]>) -> Vec<u8> {
    [&[choice], input.as_ref()].concat()
}

/// Which of `count` parsers an input is for, by its first byte, and what it is given.
pub fn choose(input: &[u8], count: u8) -> Option<(u8, &[u8])> {
    let (first, rest) = input.split_first()?;
    (*first < count).then_some((*first, rest))
}

/// A folder for as long as the process lives; what a run leaves, the system's temporary folder has.
pub fn folder() -> Utf8PathBuf {
    let folder = tempfile::Builder::new().prefix("imgbake-fuzz-").tempdir().unwrap().keep();
    Utf8PathBuf::from_path_buf(folder).unwrap()
}

/// The names in a folder, sorted.
pub fn names_in(folder: &Utf8Path) -> Vec<String> {
    let entries = folder.read_dir_utf8().unwrap();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().to_owned()).collect();
    names.sort();
    names
}
