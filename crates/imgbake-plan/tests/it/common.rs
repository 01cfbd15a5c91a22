//! What the test files share.

use std::collections::BTreeMap;
use std::io;

use camino::Utf8Path;
use imgbake_plan::{FileHasher, PlanError, Request, plan};
use imgbake_template::{Schema, Variables, parse};
use imgbake_types::{Digest, Plan};

/// Files by path; each file's digest is that of its text.
#[derive(Clone, Default)]
pub(crate) struct Files(pub(crate) BTreeMap<String, (String, u32)>);

impl Files {
    pub(crate) fn with(mut self, path: &str, text: &str, mode: u32) -> Self {
        self.0.insert(path.into(), (text.into(), mode));
        self
    }

    fn find(&self, path: &Utf8Path) -> io::Result<&(String, u32)> {
        self.0.get(path.as_str()).ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

impl FileHasher for Files {
    fn digest(&self, path: &Utf8Path) -> io::Result<Digest> {
        self.find(path).map(|(text, _)| Digest::sha256(text))
    }

    fn mode(&self, path: &Utf8Path) -> io::Result<u32> {
        self.find(path).map(|(_, mode)| *mode)
    }
}

/// The files of [`TEMPLATE`].
pub(crate) fn files() -> Files {
    Files::default().with("/t/../p/nginx.sh", "echo", 0o755).with("/t/site", "<p>", 0o644)
}

pub(crate) const TEMPLATE: &str = r#"[image]
name = "web"
description = "one"
labels = { a = "b" }

[variables.token]
sensitive = true

[source]
bootstrap = { distribution = "debian", suite = "bookworm" }

[builder.qemu]
memory = "1GiB"
boot_timeout = "5m"

[[provision]]
type = "shell"
script = "../p/nginx.sh"

[[provision]]
type = "file"
name = "site"
source = "site"
destination = "/var/www"

[[provision]]
type = "shell"
inline = ["login"]
env = { TOKEN = "{{ var.token }}" }

[[test]]
run = "curl localhost"

[[test]]
name = "second"
run = "true"

[publish]
channel = "dev"
output = ["out/web.qcow2"]
"#;

/// All that a test may change.
pub(crate) struct Case {
    pub(crate) text: String,
    pub(crate) token: &'static str,
    pub(crate) files: Files,
    pub(crate) folder: &'static str,
    pub(crate) secret_key: &'static [u8],
    pub(crate) tool: &'static str,
    pub(crate) pin: Option<&'static str>,
    pub(crate) known: bool,
    pub(crate) asked: BTreeMap<String, Digest>,
}

impl Default for Case {
    fn default() -> Self {
        Self {
            text: TEMPLATE.into(),
            token: "hunter2",
            files: files(),
            folder: "/t",
            secret_key: b"key",
            tool: "imgbake 1",
            pin: None,
            known: true,
            asked: BTreeMap::new(),
        }
    }
}

impl Case {
    /// The template with one part replaced.
    pub(crate) fn edit(from: &str, to: &str) -> Self {
        assert!(TEMPLATE.contains(from), "{from}");
        Self { text: TEMPLATE.replace(from, to), ..Self::default() }
    }

    /// A template of its own source table.
    pub(crate) fn source(source: &str) -> Self {
        Self { text: format!("[image]\nname = \"web\"\n[source]\n{source}\n"), ..Self::default() }
    }

    pub(crate) fn plan(&self) -> Result<Plan, PlanError> {
        let schema = Schema::new(&[imgbake_qemu::KIND], &imgbake_provision::kinds());
        let template = parse(Utf8Path::new("t/web.toml"), &self.text, &schema)
            .unwrap_or_else(|found| panic!("{found}"));
        let mut variables = Variables::new();
        if self.text.contains("variables.token") {
            variables.add_flag(&format!("token={}", self.token)).expect("a flag");
        }
        let resolved = template.resolve(&variables).unwrap_or_else(|found| panic!("{found}"));
        plan(&Request {
            template: &template,
            resolved: &resolved,
            template_dir: Utf8Path::new(self.folder),
            work_dir: Utf8Path::new("/w"),
            files: &self.files,
            secret_key: self.secret_key,
            tool: self.tool,
            source_pin: self.pin,
            source_known: self.known,
            asked: &self.asked,
        })
    }
}
