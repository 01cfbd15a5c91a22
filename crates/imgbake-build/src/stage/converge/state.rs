//! What a machine is, as far as a run of a step may change it: its files, packages, units, users and groups.

use std::collections::BTreeMap;
use std::time::Duration;

use imgbake_comm::shell::quote;
use imgbake_comm::{Communicator, Exec};
use imgbake_runtime::Job;
use imgbake_types::event::Stream;
use imgbake_types::glob;

use crate::BuildError;

/// How long one list may take.
const LIMIT: Duration = Duration::from_secs(1800);
/// Bytes of a list: a million files take about a fifth of it.
const MOST: usize = 512 << 20;
/// Bytes of a file that a diff shows.
const SHOWN: usize = 64 << 10;
/// Begins a record of a file.
const RECORD: u8 = 2;

/// Lists files.
const FIND: &str = include_str!("find.sh");
/// Lists the rest.
const LIST: &str = include_str!("list.sh");
/// Reads regular files: lines as `sha256sum` writes them.
const DIGESTS: &str = "sha256sum -- \"$@\" 2>/dev/null || :";
/// Reads links: records of name and target.
const TARGETS: &str =
    "for name do printf '\\002%s\\003%s' \"$name\" \"$(readlink \"$name\")\"; done";
/// Reads extended attributes, and with them file capabilities: records of name and attributes. A machine that has
/// nothing to read them with gives one of no name.
const ATTRIBUTES: &str = r#"
if command -v getfattr >/dev/null; then
    for name do printf '\002%s\003' "$name"; getfattr -h -d -m - -e hex --absolute-names -- "$name" | tail -n +2; done
elif command -v python3 >/dev/null; then
    exec python3 -c 'import os, sys
for name in map(os.fsencode, sys.argv[1:]):
    try:
        keys = sorted(os.listxattr(name, follow_symlinks=False))
        texts = ["%s=%s" % (key, os.getxattr(name, key, follow_symlinks=False).hex()) for key in keys]
    except OSError:
        continue
    sys.stdout.buffer.write(b"\2%s\3%s" % (name, "\n".join(texts).encode()))' "$@"
elif tar --version 2>/dev/null | grep -q GNU; then
    for name do
        printf '\002%s\003' "$name"
        tar -cPf - --format=posix --xattrs --xattrs-include='*' --no-recursion --numeric-owner --mtime=@0 \
            --pax-option='exthdr.name=x,exthdr.mtime=0,delete=atime,delete=ctime,delete=mtime' -- "$name" |
            head -c 16384 | sha256sum
    done
else
    printf '\002\003'
fi 2>/dev/null || :"#;
/// What [`Inspector::contents`] has a text for where the machine has nothing to read extended attributes with.
pub(super) const NO_ATTRIBUTES: &[u8] = b"";

/// A file's name: any bytes but zero.
pub(super) type Name = Vec<u8>;

/// What is known of a file without reading it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct File {
    /// Type and permissions, as `st_mode`.
    pub(super) mode: u32,
    /// `UID:GID`
    pub(super) owner: String,
    /// Bytes; of a folder, 0.
    pub(super) size: u64,
    /// Hard links; of a folder, 0.
    pub(super) links: u64,
    /// Seconds since 1970 of its last change of any kind, by the machine's clock.
    pub(super) changed: i64,
    /// `MAJOR:MINOR` of a device.
    pub(super) device: String,
}

impl File {
    const TYPE: u32 = 0o170_000;

    pub(super) fn is_regular(&self) -> bool {
        self.mode & Self::TYPE == 0o100_000
    }

    pub(super) fn is_link(&self) -> bool {
        self.mode & Self::TYPE == 0o120_000
    }

    pub(super) fn is_device(&self) -> bool {
        self.kind() == "device"
    }

    fn is_folder(&self) -> bool {
        self.mode & Self::TYPE == 0o040_000
    }

    /// Its type in a word.
    pub(super) fn kind(&self) -> &'static str {
        match self.mode & Self::TYPE {
            0o100_000 => "file",
            0o120_000 => "link",
            0o040_000 => "folder",
            0o020_000 | 0o060_000 => "device",
            _ => "special file",
        }
    }

    /// The permission bits.
    pub(super) fn permissions(&self) -> u32 {
        self.mode & 0o7777
    }
}

/// A list of a machine at one moment.
#[derive(Debug, Default)]
pub(super) struct State {
    /// Its files by name, without those that are ignored.
    pub(super) files: BTreeMap<Name, File>,
    /// Packages, units, users and groups, by kind and name.
    pub(super) others: BTreeMap<(String, String), String>,
    /// When the list was begun, by the machine's clock.
    pub(super) began: i64,
}

/// Reads a machine.
#[derive(Clone, Copy)]
pub(super) struct Inspector<'a> {
    pub(super) job: &'a Job,
    pub(super) comm: &'a dyn Communicator,
}

impl Inspector<'_> {
    /// Lists what the machine is.
    ///
    /// # Errors
    /// An interrupt, or a list that did not come whole.
    pub(super) async fn state(self, ignored: &[&str]) -> Result<State, BuildError> {
        let mut state = State::default();
        let found = self.output(FIND, Vec::new()).await?;
        state.take_files(&found, ignored).ok_or_else(|| incomplete("files"))?;
        let listed = self.output(LIST, Vec::new()).await?;
        state
            .take_others(&String::from_utf8_lossy(&listed))
            .ok_or_else(|| incomplete("packages"))?;
        Ok(state)
    }

    /// Reads files: a text for each that can be read, equal where content and attributes are. Names are regular
    /// files and links of `state`.
    pub(super) async fn contents(
        self,
        state: &State,
        names: impl IntoIterator<Item = &Name>,
    ) -> Result<BTreeMap<Name, String>, BuildError> {
        let (mut files, mut links, mut all) = (Vec::new(), Vec::new(), Vec::new());
        for name in names {
            let Some(file) = state.files.get(name) else { continue };
            if file.is_link() {
                add(&mut links, name);
                continue;
            }
            if file.is_regular() {
                add(&mut files, name);
            }
            add(&mut all, name);
        }
        let mut contents = digests(&self.each(DIGESTS, files).await?);
        contents.extend(records(&self.each(TARGETS, links).await?));
        for (name, attributes) in records(&self.each(ATTRIBUTES, all).await?) {
            let has_bytes = state.files.get(&name).is_some_and(File::is_regular);
            // One that has no digest could not be read, and its attributes alone say nothing.
            if has_bytes && !contents.contains_key(&name) {
                continue;
            }
            let text = contents.entry(name).or_default();
            text.push('\n');
            text.push_str(attributes.trim_end());
        }
        Ok(contents)
    }

    /// The begin of a file, if it is text.
    pub(super) async fn text(self, name: &[u8]) -> Result<Option<String>, BuildError> {
        let mut names = Vec::new();
        add(&mut names, name);
        let read = self.each(&format!("head -c {SHOWN} -- \"$1\" 2>/dev/null || :"), names).await?;
        Ok(String::from_utf8(read).ok().filter(|text| !text.contains('\0')))
    }

    /// Runs a script with these names as its arguments, as often as it takes.
    async fn each(self, script: &str, names: Vec<u8>) -> Result<Vec<u8>, BuildError> {
        if names.is_empty() {
            return Ok(Vec::new());
        }
        self.output(&format!("xargs -0 sh -c {} sh", quote(script)), names).await
    }

    /// What a script of the machine's root prints.
    async fn output(self, script: &str, input: Vec<u8>) -> Result<Vec<u8>, BuildError> {
        let exec = Exec::new(self.comm.as_root(script)).stdin_bytes(input).timeout(LIMIT);
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let mut sink = |stream: Stream, bytes: &[u8]| {
            let (sink, most) =
                if stream == Stream::Stdout { (&mut out, MOST) } else { (&mut err, 4096) };
            let free = most.saturating_sub(sink.len());
            sink.extend_from_slice(&bytes[..bytes.len().min(free)]);
        };
        let exit = self.job.cancel().run(self.comm.run(exec, &mut sink)).await??;
        if exit.ok() && out.len() < MOST {
            return Ok(out);
        }
        let words = String::from_utf8_lossy(&err).trim().to_owned();
        Err(BuildError::failed(format!("the machine's files cannot be listed: {exit}: {words}")))
    }
}

fn incomplete(what: &str) -> BuildError {
    BuildError::failed(format!("the list of the machine's {what} did not come whole"))
}

fn add(names: &mut Vec<u8>, name: &[u8]) {
    names.extend_from_slice(name);
    names.push(0);
}

/// What `sha256sum` says, by name. A line that begins with a backslash has some in the name, for a backslash or the end
/// of a line.
fn digests(output: &[u8]) -> BTreeMap<Name, String> {
    let mut found = BTreeMap::new();
    for line in output.split(|byte| *byte == b'\n') {
        let (escaped, line) = match line.strip_prefix(b"\\") {
            Some(rest) => (true, rest),
            None => (false, line),
        };
        let Some((digest, name)) = line.split_at_checked(64) else { continue };
        let Some(name) = name.strip_prefix(b"  ").or_else(|| name.strip_prefix(b" *")) else {
            continue;
        };
        let name = if escaped { unescaped(name) } else { name.to_vec() };
        found.insert(name, String::from_utf8_lossy(digest).into_owned());
    }
    found
}

fn unescaped(name: &[u8]) -> Name {
    let mut plain = Vec::new();
    let mut bytes = name.iter();
    while let Some(&byte) = bytes.next() {
        plain.push(match byte {
            b'\\' => match bytes.next() {
                Some(b'n') => b'\n',
                Some(b'r') => b'\r',
                Some(&other) => other,
                None => b'\\',
            },
            other => other,
        });
    }
    plain
}

/// Records of a name and a text.
fn records(output: &[u8]) -> impl Iterator<Item = (Name, String)> {
    output.split(|byte| *byte == RECORD).filter_map(|record| {
        let at = record.iter().position(|byte| *byte == 3)?;
        Some((record[..at].to_vec(), String::from_utf8_lossy(&record[at + 1..]).into_owned()))
    })
}

impl State {
    /// Whether every user of the machine may read a file: it, and each folder on the way to it.
    pub(super) fn is_public(&self, name: &[u8]) -> bool {
        let allows = |name: &[u8], bit| self.files.get(name).is_some_and(|one| one.mode & bit != 0);
        let slashes = name.iter().enumerate().filter(|(_, byte)| **byte == b'/');
        let mut folders = slashes.map(|(at, _)| if at == 0 { &name[..1] } else { &name[..at] });
        allows(name, 0o004) && folders.all(|folder| allows(folder, 0o001))
    }

    fn take_files(&mut self, output: &[u8], ignored: &[&str]) -> Option<()> {
        let (mut ended, mut rooted) = (false, false);
        for record in output.split(|byte| *byte == RECORD) {
            let record = record.strip_suffix(b"\n").unwrap_or(record);
            if let Some(began) = record.strip_prefix(b"began ") {
                self.began = std::str::from_utf8(began).ok()?.parse().ok()?;
                ended = true;
            } else if let Some((name, file)) = file(record) {
                rooted |= name == b"/";
                if !is_ignored(&name, ignored) {
                    self.files.insert(name, file);
                }
            }
        }
        // A machine without `find` or `stat` lists nothing.
        (ended && rooted).then_some(())
    }

    fn take_others(&mut self, output: &str) -> Option<()> {
        let mut ended = false;
        for line in output.lines() {
            let mut fields = line.splitn(3, '\t');
            let (Some(kind), Some(name), Some(value)) =
                (fields.next(), fields.next(), fields.next())
            else {
                continue;
            };
            if kind == "end" {
                ended = true;
            } else {
                // Two versions of a package may be there.
                let values: &mut String =
                    self.others.entry((kind.to_owned(), name.to_owned())).or_default();
                let mut all: Vec<&str> =
                    values.split(", also ").filter(|one| !one.is_empty()).chain([value]).collect();
                all.sort_unstable();
                *values = all.join(", also ");
            }
        }
        ended.then_some(())
    }
}

fn is_ignored(name: &[u8], ignored: &[&str]) -> bool {
    let name = String::from_utf8_lossy(name);
    ignored.iter().any(|pattern| glob::matches(pattern, &name))
}

fn file(record: &[u8]) -> Option<(Name, File)> {
    let mut fields = record.splitn(7, |byte| *byte == b' ');
    let mut next = || std::str::from_utf8(fields.next()?).ok();
    let mut file = File {
        mode: u32::from_str_radix(next()?, 16).ok()?,
        owner: next()?.to_owned(),
        size: next()?.parse().ok()?,
        links: next()?.parse().ok()?,
        changed: next()?.parse().ok()?,
        device: next()?.to_owned(),
    };
    if file.is_folder() {
        // They show what is in it, which is compared itself.
        (file.size, file.links) = (0, 0);
    }
    Some((fields.next()?.to_vec(), file))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_read_whole_or_not_at_all() {
        let list = b"\x0241ed 0:0 4096 7 1 0:0 /\n\x0281a4 0:0 12 1 1700000001 0:0 /etc/motd\n\
            \x0241ed 0:0 4096 7 1700000002 0:0 /etc\n\x02a1ff 0:0 3 1 5 0:0 /a \n\xff b\n\
            \x0281a4 0:0 1 1 9 0:0 /var/log/x\n\x02began 1700000003\n";
        let mut state = State::default();
        state.take_files(list, &["/var/log/*"]).unwrap();
        let names: Vec<&[u8]> = state.files.keys().map(Vec::as_slice).collect();
        assert_eq!(names, [&b"/"[..], b"/a \n\xff b", b"/etc", b"/etc/motd"]);
        let motd = &state.files[&b"/etc/motd"[..]];
        assert_eq!((motd.kind(), motd.permissions(), motd.size), ("file", 0o644, 12));
        assert_eq!((state.files[&b"/etc"[..]].size, state.began), (0, 1_700_000_003));
        // Where `find` or `stat` is missing, there is an end alone.
        for cut in [&list[..60], b"", b"\x02began 1700000003\n"] {
            assert!(State::default().take_files(cut, &[]).is_none());
        }
        let mut state = State::default();
        state
            .take_others("package\tzsh\t5.9 (install, installed)\nuser\troot\t\nend\t\t\n")
            .unwrap();
        assert_eq!(state.others.len(), 2);
        let mut state = State::default();
        state.take_others("package\tk\t6.2\npackage\tk\t6.1\npackage\tk\t6.3\nend\t\t\n").unwrap();
        let versions: Vec<&String> = state.others.values().collect();
        assert_eq!(versions, ["6.1, also 6.2, also 6.3"]);
        assert!(State::default().take_others("package\tzsh\t5.9\n").is_none());
    }

    #[test]
    fn digests_have_the_names_that_files_have() {
        let digest = "0".repeat(64);
        let output = format!("{digest}  /a b\n\\{digest}  /a\\nb\\\\c\n{digest}  /  x\nnoise\n");
        let names: Vec<Name> = digests(output.as_bytes()).into_keys().collect();
        assert_eq!(names, [&b"/  x"[..], b"/a\nb\\c", b"/a b"].map(<[u8]>::to_vec));
        let read: Vec<(Name, String)> = records(b"\x02/l\x03/target\n\x02/m\x03").collect();
        assert_eq!(
            read,
            [(b"/l".to_vec(), "/target\n".to_owned()), (b"/m".to_vec(), String::new())]
        );
    }
}
