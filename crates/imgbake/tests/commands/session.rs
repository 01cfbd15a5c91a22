//! A session at the command line, as text.

use std::fmt::Write as _;
use std::process::Command;

use camino::Utf8PathBuf;
use imgbake_testkit::{TestHome, program};
use regex::Regex;

/// Commands run in one home, and what each printed.
pub(crate) struct Session {
    pub(crate) home: TestHome,
    program: Utf8PathBuf,
    env: Vec<(String, String)>,
    text: String,
}

impl Session {
    /// In an empty home.
    pub(crate) fn new() -> Self {
        Self::of(TestHome::new(), program())
    }

    /// In the home that an earlier imgbake left.
    pub(crate) fn stored() -> Self {
        Self::of(TestHome::stored("format-1"), program())
    }

    /// In an empty home with `base.raw` and `image.toml` for the builder of fake machines.
    pub(crate) fn fake() -> Self {
        let session =
            Self::of(TestHome::new(), program().with_file_name("examples").join("imgbake-fake"));
        let disk = std::fs::File::create(session.home.dir().join("base.raw")).unwrap();
        disk.set_len(1 << 20).unwrap();
        session.home.write("image.toml", TEMPLATE);
        session
    }

    fn of(home: TestHome, program: Utf8PathBuf) -> Self {
        Self { home, program, env: Vec::new(), text: String::new() }
    }

    /// Sets a variable for the commands that follow.
    pub(crate) fn env(&mut self, name: &str, value: &str) -> &mut Self {
        self.env.retain(|(known, _)| known != name);
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Runs a command line of `imgbake`; a word in quotes is one argument.
    pub(crate) fn run(&mut self, line: &str) -> &mut Self {
        let mut command: Command = self.home.command(&[]);
        let mut real = Command::new(&self.program);
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => real.env(name, value),
                None => real.env_remove(name),
            };
        }
        command = real;
        command.current_dir(self.home.dir()).stdin(std::process::Stdio::null());
        command.envs(self.env.iter().map(|(name, value)| (name, value)));
        let output = command.args(words(line)).output().unwrap();
        let _ = writeln!(self.text, "$ imgbake {line}");
        for (stream, bytes) in [("", &output.stdout), ("--- stderr\n", &output.stderr)] {
            if !bytes.is_empty() {
                self.text.push_str(stream);
                self.text.push_str(&String::from_utf8_lossy(bytes));
            }
        }
        let _ = writeln!(self.text, "--- exit {}\n", output.status.code().unwrap_or(-1));
        self
    }

    /// All of it, with what differs from run to run masked.
    pub(crate) fn text(&self) -> String {
        let mut text = unwrapped(&self.text).replace(self.home.dir().as_str(), "[DIR]");
        for (pattern, with) in [
            (r"\b\d+ (s|min|h|d|days?|weeks?|months?|years?) (ago|old)\b", "[TIME] $2"),
            (r"127\.0\.0\.1:\d+", "[HOST]"),
            (r"\bbuild-[0-9a-f]{10}\b", "[BUILD]"),
            (r"\b\d+(\.\d+)? ?(ms|s|min)\b", "[TIME]"),
            (r"\b\d+:\d\d(:\d\d)?\b", "[TIME]"),
            (r"20\d\d-\d\d-\d\dT[0-9:.\[\]TIME]+Z", "[DATE]"),
            (r"\b20\d\d-\d\d-\d\d \[TIME\]", "[DATE]"),
            (r"(imgbake[ /])\d+\.\d+\.\d+", "$1[VERSION]"),
            (r"(\[DATE\]  )[^ ]+@[^ ]+", "$1[USER]"),
            // The width of a table's column is that of what differs from run to run.
            (r"(\S) {2,}", "$1  "),
            (r" +\n", "\n"),
        ] {
            text = Regex::new(pattern).unwrap().replace_all(&text, with).into_owned();
        }
        text
    }

    /// The same, with names and digests of versions that were built today masked as well.
    pub(crate) fn text_of_today(&self) -> String {
        let mut text = self.text();
        for (pattern, with) in [
            (r"20\d\d\.\d\d\.\d\d-\d+", "[VERSION]"),
            (r"sha256:[0-9a-f]{6,64}", "sha256:[DIGEST]"),
            (r"\b[0-9a-f]{12}\b", "[SHORT]"),
        ] {
            text = Regex::new(pattern).unwrap().replace_all(&text, with).into_owned();
        }
        text
    }
}

/// The text with its messages' lines as long as they were before they were wrapped to the terminal's width.
fn unwrapped(text: &str) -> String {
    const LONG: usize = 70;
    let mut unwrapped = String::new();
    let mut last = 0;
    for line in text.lines() {
        let rest = line.strip_prefix("  │ ").or_else(|| line.strip_prefix("        "));
        match rest {
            Some(rest) if last >= LONG && !rest.starts_with(' ') => {
                if !unwrapped.ends_with(['/', '-']) {
                    unwrapped.push(' ');
                }
                unwrapped.push_str(rest);
            }
            _ => {
                unwrapped.push('\n');
                unwrapped.push_str(line);
            }
        }
        last = line.chars().count();
    }
    unwrapped.push('\n');
    unwrapped.split_off(1)
}

fn words(line: &str) -> Vec<&str> {
    let mut words = Vec::new();
    for (index, part) in line.split('"').enumerate() {
        if index % 2 == 1 { words.push(part) } else { words.extend(part.split_whitespace()) }
    }
    words
}

const TEMPLATE: &str = "\
[image]
name = \"web\"

[source]
url = \"base.raw\"
checksum = \"none\"
allow_unverified = true

[builder.fake]

[[provision]]
name = \"hello\"
type = \"shell\"
inline = [\"say-hello\"]

[[test]]
name = \"serves\"
run = \"serve-it\"

[publish]
channel = \"dev\"
";
