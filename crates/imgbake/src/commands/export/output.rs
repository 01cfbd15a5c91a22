//! Where a disk is written: a new file, or what is there already.

use std::fs::{self, FileType};
use std::os::unix::fs::FileTypeExt as _;

use camino::{Utf8Path, Utf8PathBuf};
use imgbake_disk::ExportFormat;
use imgbake_runtime::error::io_at;

use super::file::{Durable, OutputFile};
use super::target::{Kind, Target};
use crate::failure::Failure;

/// The name of standard output.
const STDOUT: &str = "-";

/// Where a disk goes.
pub(in crate::commands) enum Output {
    /// A file, which is made or replaced.
    File(OutputFile),
    /// What is there already.
    Target(Target),
}

impl Output {
    /// Finds out what a name means. A link leads to what it names.
    ///
    /// # Errors
    /// A folder, a character device or a socket: nothing can be written there. A block device that is in use
    /// or holds data, without `force`.
    pub(in crate::commands) fn of(
        output: &Utf8Path,
        durable: Durable,
        force: bool,
    ) -> Result<Self, Failure> {
        if output == STDOUT {
            return Ok(Self::Target(Target::new(STDOUT.into(), Kind::Stdout)));
        }
        let linked = output.is_symlink().then(|| output.canonicalize_utf8());
        let linked = linked.transpose().map_err(io_at("follow the link", output))?;
        let output = linked.as_deref().unwrap_or(output);
        let kind = match fs::symlink_metadata(output).map(|metadata| metadata.file_type()) {
            Ok(kind) if kind.is_block_device() => Kind::Device { force },
            Ok(kind) if kind.is_fifo() => Kind::Fifo,
            Ok(kind) if !kind.is_file() => {
                let what = kind_of(kind);
                return Err(Failure::usage(format!(
                    "`{output}` is {what}: give a file, which is made or replaced, a block device, a FIFO or `-`"
                )));
            }
            _ => return Ok(Self::File(OutputFile::of(output, durable)?)),
        };
        let target = Target::new(output.to_owned(), kind);
        if let Kind::Device { force: false } = kind {
            target.refuse_used()?;
        }
        Ok(Self::Target(target))
    }

    /// Refuses outputs of which one would write over another, or over its checksum.
    pub(in crate::commands) fn refuse_same(outputs: &[Utf8PathBuf]) -> Result<(), Failure> {
        // `./a` and `a` are one, and so are two links to it.
        let full = |path: &Utf8Path| {
            let found = path.canonicalize_utf8().or_else(|_| camino::absolute_utf8(path));
            found.unwrap_or_else(|_| path.to_owned())
        };
        let sums = |path: &Utf8Path| Utf8PathBuf::from(format!("{path}.sha256"));
        let all: Vec<Utf8PathBuf> = outputs.iter().map(|path| full(path)).collect();
        for (at, path) in all.iter().enumerate() {
            if all[..at].contains(path) || all.contains(&sums(path)) {
                let words = format!(
                    "`{path}` and its checksum are written, and another output is one of them"
                );
                return Err(Failure::usage(words));
            }
        }
        Ok(())
    }

    /// The format: the one that was given, else that of a file's extension; raw for all that is no file.
    pub(in crate::commands) fn format(
        &self,
        given: Option<ExportFormat>,
    ) -> Result<ExportFormat, Failure> {
        match (given, self) {
            (Some(format), _) => Ok(format),
            (None, Self::File(file)) => format_of(&file.path()),
            (None, Self::Target(_)) => Ok(ExportFormat::Raw),
        }
    }
}

/// What a path names that cannot be written.
fn kind_of(kind: FileType) -> &'static str {
    if kind.is_dir() {
        "a folder"
    } else if kind.is_char_device() {
        "a character device"
    } else {
        "a socket"
    }
}

/// The format that a file's extension names.
fn format_of(output: &Utf8Path) -> Result<ExportFormat, Failure> {
    let known = || ExportFormat::ALL.map(|format| format.to_string()).join(", ");
    let extension = output.extension().unwrap_or_default();
    extension.parse().map_err(|_| {
        Failure::usage(format!(
            "`{output}` has no known extension: end it in one of {}, or give --format",
            known()
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outputs_do_not_write_over_each_other() {
        let refused = |paths: &[&str]| {
            Output::refuse_same(&paths.iter().map(|path| (*path).into()).collect::<Vec<_>>())
                .is_err()
        };
        assert!(!refused(&["a.raw", "a.qcow2", "b/a.raw"]));
        for same in [&["a.raw", "a.raw"][..], &["a.raw", "./a.raw"], &["a.raw.sha256", "a.raw"]] {
            assert!(refused(same), "{same:?}");
        }
        // The checksum has a place, or nothing is begun.
        let temp = tempfile::tempdir().unwrap();
        let dir = Utf8Path::from_path(temp.path()).unwrap();
        fs::create_dir(dir.join("a.raw.sha256")).unwrap();
        let failure = Output::of(&dir.join("a.raw"), Durable::No, false).err().unwrap();
        assert!(failure.summary().contains("a.raw.sha256` is no file"), "{}", failure.summary());
    }

    #[test]
    fn what_is_no_file_is_not_replaced() {
        let temp = tempfile::tempdir().unwrap();
        let dir = Utf8Path::from_path(temp.path()).unwrap().canonicalize_utf8().unwrap();
        let of = |path: &Utf8Path| Output::of(path, Durable::No, false);
        let _listening = std::os::unix::net::UnixListener::bind(dir.join("s.raw")).unwrap();
        fs::create_dir(dir.join("d.raw")).unwrap();
        std::os::unix::fs::symlink("/dev/null", dir.join("n.raw")).unwrap();
        for (name, what) in
            [("s.raw", "a socket"), ("d.raw", "a folder"), ("n.raw", "a character device")]
        {
            let failure = of(&dir.join(name)).err().unwrap();
            assert!(failure.summary().contains(what), "{}", failure.summary());
        }
        fs::create_dir(dir.join("there")).unwrap();
        fs::write(dir.join("there/t.raw"), "old").unwrap();
        std::os::unix::fs::symlink("there/t.raw", dir.join("link.raw")).unwrap();
        for (given, meant) in [
            ("link.raw", "there/t.raw"),
            ("there/t.raw", "there/t.raw"),
            ("new/n.raw", "new/n.raw"),
        ] {
            let Ok(Output::File(file)) = of(&dir.join(given)) else { panic!("{given} is a file") };
            assert_eq!(file.path(), dir.join(meant));
        }
    }
}
