//! Reading what the scripts report. The lines' forms are in `script/common.sh`.

/// What one operation removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Removal {
    /// The operation's name.
    pub operation: String,
    /// Files and folders.
    pub removed: u64,
    /// Bytes of the files.
    pub bytes: u64,
    /// The first few paths.
    pub paths: Vec<String>,
}

/// Paths kept for each operation.
const PATHS: usize = 5;
/// Notes kept of each phase.
const NOTES: usize = 20;

/// What one phase reported.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct PhaseReport {
    /// What each operation removed, in order.
    pub removals: Vec<Removal>,
    /// What the user should know.
    pub notes: Vec<String>,
    /// Why it could not go on.
    pub failure: Option<String>,
    /// Whether it came to its end.
    pub ended: bool,
}

impl PhaseReport {
    /// Reads the first phase's output.
    pub(crate) fn parse(text: &str) -> Self {
        let mut report = Self::default();
        text.lines().for_each(|line| report.line(line));
        report
    }

    /// Reads the late phase's lines out of all that a console showed.
    pub(crate) fn from_console(text: &str, nonce: &str) -> Self {
        let mark = format!("imgbake-seal:{nonce}:");
        let mut report = Self::default();
        for line in text.lines() {
            if let Some((_, line)) = line.split_once(&mark) {
                report.line(line.trim_end_matches('\r'));
            }
        }
        report
    }

    fn line(&mut self, line: &str) {
        if line == "end" {
            self.ended = true;
            return;
        }
        match line.split_once('\t') {
            Some(("op", name)) => {
                self.removals.push(Removal {
                    operation: name.to_owned(),
                    removed: 0,
                    bytes: 0,
                    paths: Vec::new(),
                });
            }
            Some(("item", rest)) => {
                if let Some((bytes, path)) = rest.split_once('\t') {
                    self.removed(bytes.parse().unwrap_or(0), path);
                }
            }
            Some(("note", text)) if self.notes.len() < NOTES => self.notes.push(text.to_owned()),
            Some(("fail", text)) => self.failure = Some(text.to_owned()),
            _ => {
                if let Some((bytes, path)) = listed(line) {
                    self.removed(bytes, path);
                }
            }
        }
    }

    fn removed(&mut self, bytes: u64, path: &str) {
        if let Some(removal) = self.removals.last_mut() {
            removal.removed += 1;
            removal.bytes = removal.bytes.saturating_add(bytes);
            if removal.paths.len() < PATHS {
                removal.paths.push(path.to_owned());
            }
        }
    }

    /// Adds what a later phase removed to the operations of the same name, and its notes.
    pub(crate) fn merge(&mut self, later: &Self) {
        for removal in &later.removals {
            match self.removals.iter_mut().find(|known| known.operation == removal.operation) {
                Some(known) => {
                    known.removed += removal.removed;
                    known.bytes = known.bytes.saturating_add(removal.bytes);
                }
                None => self.removals.push(removal.clone()),
            }
        }
        self.notes.extend(later.notes.iter().cloned());
    }
}

/// Bytes and path of a line of `ls -ldn` (POSIX: mode, links, owner, group, size, three fields of date,
/// name); only files count with their bytes.
fn listed(line: &str) -> Option<(u64, &str)> {
    let kind = line.chars().next().filter(|kind| "-dlbcps".contains(*kind))?;
    let mut rest = line;
    let mut field = || {
        let (field, after) = rest.trim_start_matches(' ').split_once(' ')?;
        rest = after;
        Some(field)
    };
    field().filter(|mode| mode.len() >= 10)?;
    for _ in 0..3 {
        field()?.parse::<u64>().ok()?;
    }
    let size = field()?;
    // A device shows `MAJOR, MINOR` instead of a size.
    if size.ends_with(',') {
        field()?;
    }
    for _ in 0..3 {
        field()?;
    }
    let bytes = if kind == '-' { size.parse().ok()? } else { 0 };
    let path = if kind == 'l' { rest.split(" -> ").next().unwrap_or(rest) } else { rest };
    Some((bytes, path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_listed_lines() {
        for (line, expected) in [
            ("-rw-r--r-- 1 0 0 33 Nov 23 18:24 /etc/machine-id", Some((33, "/etc/machine-id"))),
            (
                "-rw-------   1 0        0             1024 Nov 23  2024 /a b  c",
                Some((1024, "/a b  c")),
            ),
            ("drwxr-xr-x+ 2 0 0 4096 Nov 23 18:24 /var/lib/cloud", Some((0, "/var/lib/cloud"))),
            ("lrwxrwxrwx 1 0 0 7 Nov 23 18:24 /a -> /b", Some((0, "/a"))),
            ("crw-rw-rw- 1 0 0 1, 3 Nov 23 18:24 /tmp/null", Some((0, "/tmp/null"))),
            ("ls: cannot access", None),
            ("-rw-r--r-- 1 0", None),
            ("", None),
        ] {
            assert_eq!(listed(line), expected, "{line}");
        }
    }

    #[test]
    fn reads_a_console_between_other_lines() {
        let console = "boot\r\n[  9.1] x imgbake-seal:n1:op\tlogs\r\nimgbake-seal:n1:item\t12\t/var/log/a\r\n\
                       imgbake-seal:other:fail\tnot ours\r\nimgbake-seal:n1:note\tsomething\r\n\
                       imgbake-seal:n1:end\r\nreboot: Power down\r\n";
        let report = PhaseReport::from_console(console, "n1");
        assert!(report.ended && report.failure.is_none());
        assert_eq!(report.notes, ["something"]);
        assert_eq!((report.removals[0].removed, report.removals[0].bytes), (1, 12));
        assert_eq!(PhaseReport::from_console(console, "n2"), PhaseReport::default());
    }

    #[test]
    fn merges_and_bounds() {
        let mut first = PhaseReport::parse("op\tlogs\nop\ttmp\nitem\t1\t/tmp/a\nend\n");
        let many = "item\t10\t/tmp/x\n".repeat(9);
        let later = PhaseReport::parse(&format!("op\ttmp\n{many}op\ttrim\nitem\t7\t/\n"));
        assert_eq!(later.removals[0].paths.len(), PATHS);
        first.merge(&later);
        let shown: Vec<_> =
            first.removals.iter().map(|r| (r.operation.as_str(), r.removed, r.bytes)).collect();
        assert_eq!(shown, [("logs", 0, 0), ("tmp", 10, 91), ("trim", 1, 7)]);
    }

    proptest::proptest! {
        #[test]
        fn never_panics(text in "(op\t|item\t|-rw-r--r-- |[ -~\t\n\u{e9}]){0,60}") {
            PhaseReport::parse(&text);
            PhaseReport::from_console(&text, "n");
        }
    }
}
