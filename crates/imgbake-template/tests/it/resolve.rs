//! Variables and strings.

use crate::common::{HEAD, flags, read};
use camino::Utf8Path;
use imgbake_template::{Resolved, Template, Variables};
use serde_json::json;

fn template(text: &str) -> Template {
    read(&format!("{HEAD}{text}")).unwrap_or_else(|found| panic!("{found}"))
}

const TYPED: &str = r#"
[variables.cpus]
default = 2
[variables.fast]
type = "bool"
default = false
[variables.packages]
default = ["a", "b"]
[variables.suite]
default = "bookworm"
allowed = ["bookworm", "trixie"]
[builder.qemu]
cpus = "{{ var.cpus }}"
memory = "{{ var.cpus * 2 }}GiB"
args = "{{ var.packages }}"
[verify]
enabled = "{{ var.fast }}"
[image.labels]
cpus = "{{ var.cpus }}"
suite = "is {{ var.suite }}\n"
"#;

#[test]
fn values_keep_their_kind() {
    let Resolved { spec, machine, .. } = template(TYPED).resolve(&Variables::new()).unwrap();
    assert_eq!(machine.cpus, Some(2));
    assert_eq!(machine.memory, Some(imgbake_types::Size::mib(4096)));
    assert_eq!(machine.settings["args"], json!(["a", "b"]));
    assert_eq!(spec.verify.enabled, Some(false));
    assert_eq!(spec.image.labels["cpus"], "2");
    assert_eq!(spec.image.labels["suite"], "is bookworm\n");
}

#[test]
fn later_layers_win() {
    let template = template(TYPED);
    let cpus = |variables: &Variables| template.resolve(variables).unwrap().machine.cpus;
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let mut variables = Variables::new();
    assert_eq!(cpus(&variables), Some(2));
    variables.add_file(Utf8Path::new("a.toml"), "cpus = 3\n").unwrap();
    assert_eq!(cpus(&variables), Some(3));
    variables.add_file(Utf8Path::new("b.json"), "{\"cpus\": 4}").unwrap();
    assert_eq!(cpus(&variables), Some(4));
    variables.add_environment([pair("IMGBAKE_VAR_cpus", "5"), pair("IMGBAKE_VAR_other", "x")]);
    assert_eq!(cpus(&variables), Some(5));
    variables.add_flag("cpus=6").unwrap();
    variables.add_flag("cpus=7").unwrap();
    assert_eq!(cpus(&variables), Some(7));
    let listed = template.resolve(&flags(&["packages=x, y", "fast=true"])).unwrap();
    assert_eq!(listed.machine.settings["args"], json!(["x", "y"]));
    assert_eq!(listed.spec.verify.enabled, Some(true));
    let text = template.resolve(&flags(&["packages=[\"p,q\"]"])).unwrap();
    assert_eq!(text.machine.settings["args"], json!(["p,q"]));
}

const SECRET: &str = r#"
[variables.token]
sensitive = true
pattern = "[a-z]+"
[[provision]]
type = "shell"
inline = ["login {{ var.token }}"]
env = { TOKEN = "{{ var.token }}" }
"#;

#[test]
fn a_secret_is_a_marker() {
    let resolved = template(SECRET).resolve(&flags(&["token=hunter"])).unwrap();
    let shell = &resolved.provision[0].spec.settings;
    assert_eq!(shell["env"]["TOKEN"], imgbake_types::secret::marker("token"));
    assert_eq!(shell["inline"][0], "login ⟦secret:token⟧");
    assert_eq!(resolved.secrets["token"].expose(), "hunter");
    assert!(!format!("{resolved:?}").contains("hunter"));
    assert!(!format!("{:?}", flags(&["token=hunter"])).contains("hunter"));
}

#[test]
fn mistakes_in_values() {
    let shown = |text: &str, variables: &Variables| {
        template(text).resolve(variables).map(drop).unwrap_err().to_string()
    };
    let mut out = String::new();
    let mut case =
        |name: &str, shown: String| out.extend(["=== ", name, "\n", shown.as_str(), "\n"]);
    case("missing", shown("[variables.a]\n[variables.b]\nsensitive = true\n", &Variables::new()));
    let many = flags(&["cpu=1", "cpus=two", "fast=yes", "suite=sid", "packages=[1"]);
    case("flags", shown(TYPED, &many));
    let mut file = Variables::new();
    file.add_file(Utf8Path::new("v.toml"), "\n suit = 1\ncpus = \"x\"\n").unwrap();
    case("file", shown(TYPED, &file));
    case("secret pattern", shown(SECRET, &flags(&["token=HUNTER2"])));
    case("empty secret", shown(SECRET, &flags(&["token="])));
    case("after rendering", shown(TYPED, &flags(&["cpus=900"])));
    case(
        "not a number",
        shown(
            "[variables.n]\ndefault = \"x\"\n[builder.qemu]\ncpus = \"{{ var.n }}\"\naccel = \"{{ var.n }}\"\nargs = \"{{ var.n }}\"\nboot_timeout = \"{{ var.n }}\"\n",
            &Variables::new(),
        ),
    );
    case(
        "secret elsewhere",
        shown(
            "[variables.t]\nsensitive = true\n[image.labels]\na = \"{{ var.t }}\"\n[builder.qemu]\ncpus = \"{{ var.t }}\"\n[publish]\nchannel = \"{{ var.t }}\"\n",
            &flags(&["t=hunter2"]),
        ),
    );
    case(
        "secret by another name",
        shown(
            "[variables.t]\nsensitive = true\n[[test]]\nrun = \"{% set v = var %}{{ v.t | upper }}\"\n",
            &flags(&["t=hunter2"]),
        ),
    );
    case("division", shown("[[test]]\nrun = \"{{ 1 // 0 }}\"\n", &Variables::new()));
    let mut broken = Variables::new();
    case(
        "broken toml",
        broken.add_file(Utf8Path::new("v.toml"), "token = hunter2\n").unwrap_err().to_string(),
    );
    case(
        "broken json",
        broken.add_file(Utf8Path::new("v.json"), "{\"token\": hunter2}").unwrap_err().to_string(),
    );
    case("flag", broken.add_flag("hunter2").unwrap_err().to_string());
    assert!(!out.to_lowercase().contains("hunter2"), "{out}");
    insta::assert_snapshot!(out);
}

#[test]
fn shell_text_is_left_alone() {
    let text = "[[provision]]\ntype = \"shell\"\ninline = ['echo ${#a} ${a%%x} {#x#}', '''a\n{{ 1 }}\n''']\n";
    let resolved = template(text).resolve(&Variables::new()).unwrap();
    let shell = &resolved.provision[0].spec.settings;
    assert_eq!(shell["inline"], json!(["echo ${#a} ${a%%x} {#x#}", "a\n1\n"]));
}

#[test]
fn paths_have_spans() {
    let template = template(SECRET);
    let at = |path: &str| template.source()[template.span_of(path)].to_owned();
    assert_eq!(at("provision[0].inline[0]"), "\"login {{ var.token }}\"");
    assert_eq!(at("provision[0].script"), "[[provision]]");
    assert_eq!(at("image.name"), "\"web\"");
}
