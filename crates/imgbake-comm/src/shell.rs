//! Words and scripts for a POSIX shell.

/// The last line of a script that came whole: a comment.
pub const WHOLE: &str = "#imgbake:whole";

/// Runs the script on its standard input. All of it is read before any of it runs, and what it runs has no
/// standard input: a command that reads it (`ssh`, `cat`) must not take the script's next lines, since
/// a test without its last lines passes. One that was cut on its way does not run.
const RUN_SCRIPT: &str = r#"script=$(cat)
case $script in
    *'#imgbake:whole') ;;
    *) echo 'imgbake: the script did not come whole' >&2; exit 125 ;;
esac
eval "unset script
${script%#imgbake:whole}" </dev/null"#;

/// The command line that runs a script in a folder, and what it reads: the script may hold secrets.
pub(crate) fn script(folder: Option<&str>, script: &[u8]) -> (String, Vec<u8>) {
    let input = [script, b"\n", WHOLE.as_bytes(), b"\n"].concat();
    match folder {
        Some(folder) => (format!("cd {} || exit\n{RUN_SCRIPT}", quote(folder)), input),
        None => (RUN_SCRIPT.to_owned(), input),
    }
}

/// A text as one word of a POSIX shell.
pub fn quote(text: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_./:=@%+,".contains(&b);
    if !text.is_empty() && text.bytes().all(plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn quotes() {
        assert_eq!(quote("a-b/c.d"), "a-b/c.d");
        assert_eq!(quote(""), "''");
        assert_eq!(quote("it's $HOME"), r"'it'\''s $HOME'");
    }

    /// What a shell's end and output are for a script.
    #[expect(clippy::disallowed_methods, reason = "a test that starts a shell has no job")]
    fn run(shell: &[&str], text: &str, cut: usize) -> (Option<i32>, String) {
        let (command, mut input) = script(Some("/"), text.as_bytes());
        input.truncate(input.len() - cut);
        let mut child = Command::new(shell[0])
            .args(&shell[1..])
            .args(["-c", &command])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(&input).unwrap();
        let output = child.wait_with_output().unwrap();
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    }

    #[test]
    fn no_command_of_a_script_reads_the_script() {
        // Longer than any shell's buffer.
        let long = format!("cat\n# {}\nread x\npwd\nexit 9", "x".repeat(20_000));
        for shell in [&["sh"][..], &["bash", "--posix"], &["busybox", "sh"]] {
            assert_eq!(run(shell, &long, 0), (Some(9), "/\n".to_owned()), "{shell:?}");
            // The last command's end is the script's, and a last line may end as it likes.
            for (text, code) in
                [("true\nfalse", 1), ("set -e\nfalse\ntrue", 1), ("exit 3 \\", 3), ("", 0)]
            {
                assert_eq!(run(shell, text, 0), (Some(code), String::new()), "{shell:?} {text}");
            }
            // What came of it is not run.
            assert_eq!(run(shell, "echo a\necho b", 9), (Some(125), String::new()), "{shell:?}");
        }
    }
}
