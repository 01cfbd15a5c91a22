//! `imgbake init`

use std::fs;

use camino::Utf8Path;
use imgbake_runtime::error::io_at;

use crate::app::App;
use crate::failure::Failure;

const TEMPLATE: &str = include_str!("init/template.toml");
const SCRIPT: &str = include_str!("init/motd.sh");

/// Writes a first template that builds. Files that exist are left alone.
pub(super) fn run(app: &App, dir: &Utf8Path) -> Result<(), Failure> {
    let name = image_name(dir);
    let script_dir = dir.join("scripts");
    fs::create_dir_all(&script_dir).map_err(io_at("make the folder", &script_dir))?;
    let template = dir.join("image.toml");
    write(&template, &TEMPLATE.replace("IMAGE_NAME", &name))?;
    write(&script_dir.join("motd.sh"), SCRIPT)?;
    let quoted = quoted(template.as_str());
    app.print(&format!(
        "wrote {template} and {script_dir}/motd.sh\n\nNext:\n  imgbake validate {quoted}\n  imgbake build {quoted}\n"
    ))
}

/// A word as a shell takes it.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+=:@%".contains(c);
    if word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', "'\\''"))
    }
}

fn write(path: &Utf8Path, text: &str) -> Result<(), Failure> {
    use std::io::Write;
    let mut file = match fs::File::create_new(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
            return Err(Failure::usage(format!("{path} exists already; it was left as it is")));
        }
        Err(error) => return Err(imgbake_runtime::RuntimeError::io("make", path, error).into()),
    };
    Ok(file.write_all(text.as_bytes()).map_err(io_at("write", path))?)
}

/// The folder's name as an image's name.
fn image_name(dir: &Utf8Path) -> String {
    let absolute = camino::absolute_utf8(dir).unwrap_or_else(|_| dir.to_owned());
    let name: String = absolute
        .file_name()
        .unwrap_or_default()
        .to_lowercase()
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
        .collect();
    let name = name.trim_matches('-');
    if imgbake_types::reference::is_name(name) { name.to_owned() } else { "my-image".to_owned() }
}
