//! A step's script on its way into the machine.
//!
//! Script and environment may hold secrets: they go through standard input into a private folder on a
//! file system in memory, and into no argument list. Standard input then stays open while the script
//! runs. When it ends before the script does, the host gave up or is gone, and the script is
//! terminated: ssh alone would let it run on.

use std::io::Cursor;
use std::pin::Pin;
use std::task::{Context, Poll};

use imgbake_comm::shell::quote;
use imgbake_runtime::Secrets;
use secrecy::ExposeSecret;
use secrecy::zeroize::Zeroizing;
use tokio::io::{AsyncRead, AsyncReadExt, ReadBuf};

use super::rules::is_identifier;
use super::spec::ShellSpec;
use crate::error::{StepError, check_public};

/// What runs a script that does not say.
const DEFAULT_INTERPRETER: [&str; 2] = ["/bin/sh", "-e"];

/// The program that takes environment and script from its standard input.
const RUNNER: &str = include_str!("runner.sh");

/// A script with its environment and what runs it.
pub(crate) struct Script {
    environment: Zeroizing<Vec<u8>>,
    body: Zeroizing<Vec<u8>>,
    interpreter: Vec<String>,
}

impl Script {
    /// Reads the step's script and puts in the sensitive values.
    pub(crate) async fn load(secrets: &Secrets, spec: &ShellSpec) -> Result<Self, StepError> {
        check_public("interpreter", spec.interpreter.iter().flatten().map(String::as_str))?;
        check_public("user", [spec.user()])?;
        check_public("workdir", [spec.workdir()])?;
        let environment = environment(spec, secrets).map_err(StepError::Usage)?;
        let body = body(spec, secrets).await?;
        let interpreter = match &spec.interpreter {
            Some(words) if !words.is_empty() => words.clone(),
            _ => interpreter(&body).map_err(StepError::Usage)?,
        };
        Ok(Self { environment, body, interpreter })
    }

    /// Bytes that go into the machine.
    pub(crate) fn bytes(&self) -> u64 {
        (self.environment.len() + self.body.len()) as u64
    }

    /// Standard input for the runner: environment and script, and then nothing, without an end.
    pub(crate) fn payload(&self) -> impl AsyncRead + Send + Unpin + 'static {
        Cursor::new([self.environment.as_slice(), &self.body].concat()).chain(Unending)
    }

    /// The runner as a command line. It holds no secret. `run` is what its processes are found by; `folder` goes where
    /// the host gives up, unless it is empty.
    pub(crate) fn runner(&self, workdir: &str, run: &str, folder: &str) -> String {
        let (environment, body) = (self.environment.len(), self.body.len());
        let interpreter: Vec<String> = self.interpreter.iter().map(|word| quote(word)).collect();
        format!(
            "set -- {} {environment} {body} {} {} {} {}\n{RUNNER}",
            environment + body,
            quote(run),
            quote(folder),
            quote(workdir),
            interpreter.join(" ")
        )
    }
}

/// The step's script: a file's bytes, or the inline lines.
async fn body(spec: &ShellSpec, secrets: &Secrets) -> Result<Zeroizing<Vec<u8>>, StepError> {
    let bytes = match (&spec.script, &spec.inline) {
        (Some(path), None) => tokio::fs::read(path)
            .await
            .map_err(|source| StepError::Script { path: path.clone(), source })
            .map(|bytes| unix_text(&bytes))?,
        (None, Some(lines)) => {
            let mut text = lines.join("\n");
            text.push('\n');
            text.into_bytes()
        }
        _ => {
            let what = "it needs either `script` or `inline`";
            return Err(StepError::Usage(what.to_owned()));
        }
    };
    // Markers are text: a script that is none has none.
    Ok(Zeroizing::new(match String::from_utf8(bytes) {
        Ok(text) => secrets.reveal(&text).expose_secret().as_bytes().to_vec(),
        Err(other) => other.into_bytes(),
    }))
}

/// A script without what an editor of Windows adds: a byte order mark, and CR before each line's end. One
/// that only some lines have is left: it may be meant.
fn unix_text(bytes: &[u8]) -> Vec<u8> {
    let text = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes);
    let mut lines = text.split_inclusive(|b| *b == b'\n').filter(|line| line.ends_with(b"\n"));
    if !text.contains(&b'\n') || !lines.all(|line| line.ends_with(b"\r\n")) {
        return text.to_vec();
    }
    let plain = |line: &[u8]| match line.strip_suffix(b"\r\n") {
        Some(line) => [line, b"\n"].concat(),
        None => line.to_vec(),
    };
    text.split_inclusive(|b| *b == b'\n').flat_map(plain).collect()
}

/// The environment as a file for the shell.
fn environment(spec: &ShellSpec, secrets: &Secrets) -> Result<Zeroizing<Vec<u8>>, String> {
    let mut text = Zeroizing::new(Vec::new());
    for (name, value) in &spec.env {
        if !is_identifier(name) {
            return Err(format!(
                "`{name}` in `env` cannot be a variable's name: it takes letters, digits and _, and no digit first"
            ));
        }
        let value = secrets.reveal(value);
        if value.expose_secret().contains('\0') {
            return Err(format!(
                "the value of `{name}` in `env` holds a zero byte, which no environment can"
            ));
        }
        let quoted = Zeroizing::new(quote(value.expose_secret()));
        text.extend_from_slice(format!("export {name}=").as_bytes());
        text.extend_from_slice(quoted.as_bytes());
        text.push(b'\n');
    }
    Ok(text)
}

/// What runs a script: its own `#!` line, read as Linux does (execve(2): one word, and the rest of the
/// line as one argument), else the default.
fn interpreter(body: &[u8]) -> Result<Vec<String>, String> {
    let Some(line) = body.strip_prefix(b"#!").and_then(|rest| rest.split(|&b| b == b'\n').next())
    else {
        return Ok(DEFAULT_INTERPRETER.map(str::to_owned).to_vec());
    };
    let line =
        std::str::from_utf8(line).map_err(|_| "the script's #! line is not UTF-8".to_owned())?;
    if line.ends_with('\r') {
        return Err("the script has Windows line ends (CR LF): its #! line names no program; save it with LF".to_owned());
    }
    let line = line.trim_matches([' ', '\t']);
    let (program, argument) = line.split_once([' ', '\t']).unwrap_or((line, ""));
    if program.is_empty() {
        return Err("the script's #! line names no program".to_owned());
    }
    let argument = argument.trim_start_matches([' ', '\t']);
    Ok([program, argument].into_iter().filter(|word| !word.is_empty()).map(str::to_owned).collect())
}

/// A reader that never gives anything and never ends.
struct Unending;

impl AsyncRead for Unending {
    fn poll_read(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        _: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chooses_the_interpreter() {
        for (script, words) in [
            ("echo", &["/bin/sh", "-e"][..]),
            ("# comment\n#!/bin/bash\n", &["/bin/sh", "-e"]),
            ("", &["/bin/sh", "-e"]),
            ("#!/bin/bash\necho", &["/bin/bash"]),
            ("#! /usr/bin/env  -S python3 -u \n", &["/usr/bin/env", "-S python3 -u"]),
            ("#!/bin/sh -eu", &["/bin/sh", "-eu"]),
        ] {
            assert_eq!(interpreter(script.as_bytes()).unwrap(), words, "{script}");
        }
        for (script, part) in
            [("#!/bin/sh\r\necho\r\n", "CR LF"), ("#!\n", "no program"), ("#! \t\n", "no program")]
        {
            let error = interpreter(script.as_bytes()).unwrap_err();
            assert!(error.contains(part), "{script:?}: {error}");
        }
        assert!(interpreter(b"#!/bin/\xff\n").is_err());
    }

    #[test]
    fn a_script_from_windows_is_one_for_a_shell() {
        for (script, expected) in [
            (&b"\xEF\xBB\xBF#!/bin/sh\r\necho\r\n"[..], &b"#!/bin/sh\necho\n"[..]),
            (b"a\r\nb", b"a\nb"),
            (b"\xEF\xBB\xBFa\n", b"a\n"),
            (b"a\r\nb\n", b"a\r\nb\n"),
            (b"printf '\r'", b"printf '\r'"),
            (b"", b""),
        ] {
            assert_eq!(unix_text(script), expected, "{script:?}");
        }
    }

    #[test]
    fn checks_and_quotes_the_environment() {
        let spec = |name: &str, value: &str| ShellSpec {
            env: [(name.to_owned(), value.to_owned())].into(),
            ..ShellSpec::default()
        };
        let secrets = Secrets::default();
        secrets.add("token", "it's");
        let marker = imgbake_types::secret::marker("token");
        let text = environment(&spec("T_1", &format!("a{marker}$b")), &secrets).unwrap();
        assert_eq!(std::str::from_utf8(&text), Ok("export T_1='ait'\\''s$b'\n"));
        for name in ["", "1A", "A-B", "A;rm", "Ä", "A B"] {
            assert!(
                environment(&spec(name, "x"), &secrets).unwrap_err().contains("variable's name"),
                "{name}"
            );
        }
        assert!(environment(&spec("A", "x\0y"), &secrets).unwrap_err().contains("zero byte"));
    }
}
