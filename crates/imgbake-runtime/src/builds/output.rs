//! One output of a record: two files, of which the older goes when the newer is full.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};

use camino::{Utf8Path, Utf8PathBuf};
use imgbake_types::event::Stream;
use imgbake_types::record::build::{OutputHeader, RecordedLine};

/// Bytes of one of the two files.
const PART: u64 = 256 * 1024;
/// Characters that are kept of one line.
const LINE: usize = 4096;

/// An output that is being written.
#[derive(Debug)]
pub(super) struct Output {
    path: Utf8PathBuf,
    header: OutputHeader,
    file: File,
    written: u64,
    number: u64,
}

impl Output {
    pub(super) fn begin(path: Utf8PathBuf, header: OutputHeader) -> io::Result<Self> {
        let (file, written) = begin_part(&path, &header)?;
        Ok(Self { path, header, file, written, number: 0 })
    }

    pub(super) fn line(&mut self, stream: Stream, line: &str) -> io::Result<()> {
        self.number += 1;
        let line = match line.char_indices().nth(LINE) {
            Some((end, _)) => format!("{}…", &line[..end]),
            None => line.to_owned(),
        };
        let bytes = json_line(&RecordedLine { number: self.number, stream, line })?;
        if self.written + bytes.len() as u64 > PART {
            fs::rename(&self.path, older(&self.path))?;
            (self.file, self.written) = begin_part(&self.path, &self.header)?;
        }
        self.written += bytes.len() as u64;
        self.file.write_all(&bytes)
    }
}

fn begin_part(path: &Utf8Path, header: &OutputHeader) -> io::Result<(File, u64)> {
    let mut file = OpenOptions::new().create(true).truncate(true).write(true).open(path)?;
    let bytes = json_line(header)?;
    file.write_all(&bytes)?;
    Ok((file, bytes.len() as u64))
}

/// The file of the lines before those of `path`.
pub(super) fn older(path: &Utf8Path) -> Utf8PathBuf {
    path.with_extension("old.jsonl")
}

/// A value as one line of JSON.
pub(super) fn json_line(value: &impl serde::Serialize) -> io::Result<Vec<u8>> {
    let mut line = serde_json::to_vec(value)?;
    line.push(b'\n');
    Ok(line)
}
