//! Templates, and files of values for their variables.
#![no_main]

use std::sync::LazyLock;

use camino::Utf8Path;
use imgbake_fuzz::seed;
use imgbake_template::{Diagnostics, Schema, Template, Variables, parse};
use libfuzzer_sys::fuzz_target;

/// What parts a template from its file of values: a line that no TOML has.
const CUT: &str = "\n%\n";

const TEMPLATES: [&str; 3] = [
    include_str!("../../templates/debian-12.toml"),
    r#"[image]
name = "web"
[variables.suite]
default = "bookworm"
choices = ["bookworm", "trixie"]
[variables.token]
sensitive = true
[variables.ports]
type = "list"
default = [80, 443]
[[matrix]]
suite = ["bookworm", "trixie"]
[source]
bootstrap = { distribution = "debian", suite = "{{ var.suite }}" }
[builder.qemu]
memory = "1GiB"
disk = "{% if var.suite == 'trixie' %}4GiB{% else %}3GiB{% endif %}"
[[provision]]
type = "shell"
inline = ["echo {{ var.ports | join(',') }}"]
env = { TOKEN = "{{ var.token }}" }
[[test]]
name = "serves"
run = "true"
[publish]
channel = "dev"
%
token = "hunter2"
suite = "trixie"
"#,
    r#"[image]
name = "x"
[source]
url = "https://example.com/disk.qcow2"
checksum = "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
[[provision]]
type = "file"
source = "a"
destination = "/b"
mode = "0644"
"#,
];

static SCHEMA: LazyLock<Schema> =
    LazyLock::new(|| Schema::new(&[imgbake_qemu::KIND], &imgbake_provision::kinds()));

fn sound() -> Vec<Vec<u8>> {
    TEMPLATES.iter().map(|text| text.as_bytes().to_vec()).collect()
}

/// Mistakes are told in words, at places that are in the text.
fn told(text: &str, mistakes: &Diagnostics) {
    assert!(!mistakes.to_string().is_empty());
    for span in mistakes.items.iter().filter_map(imgbake_template::Diagnostic::span) {
        assert!(span.start <= span.end && span.end <= text.len(), "{span:?} of {}", text.len());
    }
}

fn resolve(text: &str, template: &Template, values: &str) {
    let mut variables = Variables::new();
    for (name, values) in [("values.toml", values), ("values.json", values)] {
        if let Err(mistakes) = variables.add_file(Utf8Path::new(name), values) {
            assert!(!mistakes.to_string().is_empty());
        }
    }
    match template.resolve(&variables) {
        Ok(resolved) => {
            let again = template.resolve(&variables).map(|again| again.spec);
            assert_eq!(again.ok(), Some(resolved.spec), "one template means one thing");
        }
        Err(mistakes) => told(text, &mistakes),
    }
    if let Err(mistakes) = template.resolve_all(&variables) {
        told(text, &mistakes);
    }
}

fuzz_target!(init: seed(sound()), |input: &[u8]| {
    let Ok(input) = std::str::from_utf8(input) else { return };
    let (text, values) = input.split_once(CUT).unwrap_or((input, ""));
    match parse(Utf8Path::new("template.toml"), text, &SCHEMA) {
        Ok(template) => resolve(text, &template, values),
        Err(mistakes) => told(text, &mistakes),
    }
});
