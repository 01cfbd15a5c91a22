//! Looking for a sensitive value where it must not be.

use crate::run_tool;

/// A value as it stands, and the digits of its base64 that stand whatever comes after.
pub fn secret_forms(secret: &str) -> [String; 2] {
    let run = run_tool("sh", &["-c", &format!("printf %s '{secret}' | base64 -w0")]);
    [secret.to_owned(), run.stdout[..secret.len() * 8 / 6].to_owned()]
}

/// No file below a folder holds the value in any form; `but` is a name of files that may.
#[track_caller]
pub fn assert_absent(secret: &str, folder: &str, but: Option<&str>) {
    for form in secret_forms(secret) {
        let but = but.map(|name| format!("--exclude={name}"));
        let mut args = vec!["-r", "-a", "-l", "-F"];
        args.extend(but.as_deref());
        args.extend(["--", form.as_str(), folder]);
        let found = run_tool("grep", &args);
        assert_eq!((found.code, found.stdout.as_str()), (1, ""), "{form} in {folder}");
    }
}
