//! The builds of one template.

use camino::Utf8Path;
use imgbake_template::{Combination, Variables};
use serde_json::json;

use crate::common::{HEAD, flags, read};

/// A template of two axes and a table of its own.
const MATRIX: &str = r#"
[image]
name = "web-{{ var.suite }}-{{ var.size }}"

[variables.suite]
allowed = ["bookworm", "trixie", "sid"]
[variables.size]
default = "s"
pattern = "[a-z]+"
[variables.cpus]
default = 1

[[matrix]]
suite = ["bookworm", "trixie"]
size = ["s", "l"]

[[matrix]]
suite = ["sid"]

[source]
bootstrap = { distribution = "debian", suite = "{{ var.suite }}" }

[builder.qemu]
cpus = "{{ var.cpus }}"
"#;

fn combination(pairs: &[(&str, &str)]) -> Combination {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), json!(value))).collect()
}

/// The image names of a template's builds.
fn names(text: &str, variables: &Variables) -> Vec<String> {
    let template = read(text).unwrap_or_else(|found| panic!("{found}"));
    let builds = template.resolve_all(variables).unwrap_or_else(|found| panic!("{found}"));
    builds.into_iter().map(|(_, resolved)| resolved.spec.image.name).collect()
}

#[test]
fn every_combination_is_a_build() {
    let template = read(MATRIX).unwrap();
    assert_eq!(
        template.matrix(),
        [
            combination(&[("suite", "bookworm"), ("size", "s")]),
            combination(&[("suite", "bookworm"), ("size", "l")]),
            combination(&[("suite", "trixie"), ("size", "s")]),
            combination(&[("suite", "trixie"), ("size", "l")]),
            combination(&[("suite", "sid")]),
        ]
    );
    let builds = template.resolve_all(&Variables::new()).unwrap();
    let given: Vec<Combination> = builds.iter().map(|(given, _)| given.clone()).collect();
    assert_eq!(given, template.matrix());
    let suites: Vec<&str> = builds
        .iter()
        .map(|(_, resolved)| resolved.spec.source.bootstrap.as_ref().unwrap().suite.as_str())
        .collect();
    assert_eq!(suites, ["bookworm", "bookworm", "trixie", "trixie", "sid"]);
    assert_eq!(builds[4].1.spec.image.name, "web-sid-s");
}

#[test]
fn without_a_matrix_there_is_one_build() {
    let template = read(HEAD).unwrap();
    assert_eq!(template.matrix(), [Combination::new()]);
    let builds = template.resolve_all(&Variables::new()).unwrap();
    assert_eq!((builds.len(), &builds[0].0), (1, &Combination::new()));
    assert_eq!(builds[0].1.spec, template.resolve(&Variables::new()).unwrap().spec);
}

#[test]
fn the_callers_values_replace_an_axis() {
    let flag = flags(&["size=m"]);
    assert_eq!(names(MATRIX, &flag), ["web-bookworm-m", "web-trixie-m", "web-sid-m"]);
    let mut file = Variables::new();
    file.add_file(Utf8Path::new("v.toml"), "suite = \"sid\"\n").unwrap();
    // The last table's build is the first one's.
    assert_eq!(names(MATRIX, &file), ["web-sid-s", "web-sid-l"]);
    let mut environment = Variables::new();
    environment.add_environment([("IMGBAKE_VAR_size".to_owned(), "l".to_owned())]);
    assert_eq!(names(MATRIX, &environment), ["web-bookworm-l", "web-trixie-l", "web-sid-l"]);
    let template = read(MATRIX).unwrap();
    let builds = template.resolve_all(&flags(&["suite=sid", "size=xl"])).unwrap();
    assert_eq!(builds.len(), 1);
    assert_eq!(builds[0].0, combination(&[("suite", "sid"), ("size", "xl")]));
}

#[test]
fn values_keep_their_kind() {
    let text = "[variables.n]\ndefault = 1\n[variables.l]\ntype = \"list\"\n[[matrix]]\nn = [2, 3]\nl = [[\"a\"], []]\n[builder.qemu]\ncpus = \"{{ var.n }}\"\nargs = \"{{ var.l }}\"\n";
    let text = format!("{}{text}", HEAD.replace("web", "web-{{ var.n }}-{{ var.l | length }}"));
    let builds = read(&text).unwrap().resolve_all(&Variables::new()).unwrap();
    let machines: Vec<(Option<u32>, usize)> = builds
        .iter()
        .map(|(_, resolved)| {
            let args = resolved.machine.settings.get("args");
            let args = args.and_then(|args| args.as_array()).map(Vec::len);
            (resolved.machine.cpus, args.unwrap_or_default())
        })
        .collect();
    assert_eq!(machines, [(Some(2), 1), (Some(2), 0), (Some(3), 1), (Some(3), 0)]);
}

#[test]
fn mistakes_in_a_matrix() {
    let declared = "[variables.suite]\nallowed = [\"a\", \"b\"]\n[variables.size]\npattern = \"[a-z]+\"\ndefault = \"s\"\n[variables.n]\ndefault = 1\n[variables.token]\nsensitive = true\n";
    let mut out = String::new();
    for (name, text) in [
        ("unknown", "[[matrix]]\nsiute = [\"a\"]\ntaken = [\"x\"]\n"),
        ("sensitive", "[[matrix]]\ntoken = [\"hunter2\"]\n"),
        ("no values", "[[matrix]]\nsuite = []\n[[matrix]]\n"),
        ("no list", "[[matrix]]\nsuite = \"a\"\n"),
        ("one bracket", "[matrix]\nsuite = [\"a\"]\n"),
        (
            "misfits",
            "[[matrix]]\nsuite = [\"a\", \"c\"]\nsize = [\"S\"]\nn = [1, \"2\", { x = 1 }]\n",
        ),
        ("an expression", "[[matrix]]\nsize = [\"{{ var.n }}\"]\n"),
        ("twice", "[[matrix]]\nsuite = [\"a\", \"b\", \"a\"]\nn = [1, 1.0]\n"),
        (
            "in two tables",
            "[[matrix]]\nsuite = [\"a\", \"b\"]\nsize = [\"s\"]\n[[matrix]]\nsize = [\"s\", \"l\"]\nsuite = [\"b\"]\n",
        ),
        (
            "too many",
            "[[matrix]]\nn = [1,2,3,4,5,6,7]\nsuite = [\"a\", \"b\"]\nsize = [\"a\",\"b\",\"c\",\"d\",\"e\",\"f\",\"g\",\"h\",\"i\",\"j\",\"k\",\"l\",\"m\",\"n\",\"o\",\"p\",\"q\",\"r\",\"s\"]\n",
        ),
    ] {
        let shown = match read(&format!("{HEAD}{declared}{text}")) {
            Ok(_) => "no mistakes\n".to_owned(),
            Err(found) => found.to_string(),
        };
        out.extend(["=== ", name, "\n", shown.as_str(), "\n"]);
    }
    let empty = read(&format!("matrix = []\n{HEAD}")).unwrap_err();
    out.extend(["=== nothing\n", empty.to_string().as_str()]);
    assert!(!out.contains("hunter2"), "{out}");
    insta::assert_snapshot!(out);
}

#[test]
fn mistakes_of_builds() {
    let mut out = String::new();
    let mut case = |name: &str, text: &str, variables: &Variables| {
        let template = read(text).unwrap_or_else(|found| panic!("{found}"));
        let shown = template.resolve_all(variables).map(drop).unwrap_err().to_string();
        out.extend(["=== ", name, "\n", shown.as_str(), "\n"]);
    };
    let none = Variables::new();
    case("one name", &MATRIX.replace("-{{ var.size }}", ""), &none);
    let output = "[publish]\noutput = [\"out/{{ var.suite }}.qcow2\"]\n[[provision]]\ntype = \"file\"\ndirection = \"download\"\nsource = \"/var/log/x\"\ndestination = \"out/{{ var.size }}.log\"\n";
    case("one file", &format!("{MATRIX}{output}"), &none);
    case("one build's", &MATRIX.replace("size = [\"s\", \"l\"]", "cpus = [1, 900]"), &none);
    case("every build's", MATRIX, &flags(&["cpus=900", "sweet=x"]));
    case("no value", &MATRIX.replace("suite = [\"sid\"]", "size = [\"m\"]"), &none);
    insta::assert_snapshot!(out);
}

#[test]
fn another_templates_variables_may_be_allowed() {
    let template = read(MATRIX).unwrap();
    assert!(template.declares("suite") && !template.declares("port"));
    let mut variables = flags(&["port=80", "size=m"]);
    variables.add_file(Utf8Path::new("v.toml"), "port = 81\n").unwrap();
    let found = template.resolve_all(&variables).unwrap_err();
    assert!(found.items.iter().all(|item| item.code == "unknown-variable"), "{found}");
    variables.allow(["port".to_owned()]);
    assert_eq!(template.resolve_all(&variables).unwrap().len(), 3);
}

#[test]
fn rules_of_caching() {
    let mut out = String::new();
    for (name, text) in [
        (
            "both",
            "[[provision]]\ntype = \"shell\"\ninline = [\"x\"]\ncache = false\ncache_key = \"1\"\n",
        ),
        (
            "inputs",
            "[[provision]]\ntype = \"shell\"\ninline = [\"x\"]\ncache = false\ninputs = [\"file:x\", \"x\", \"url:\"]\n",
        ),
        (
            "a file",
            "[[provision]]\ntype = \"file\"\ncontent = \"x\"\ndestination = \"/x\"\ncache_key = \"1\"\ncache = false\n",
        ),
        ("reserved", "[[provision]]\ntype = \"shell\"\nname = \"boot\"\ninline = [\"x\"]\n"),
        (
            "types",
            "[cache]\nsensitive_memory = \"yes\"\nsize = 1\n[builder.qemu]\nrestore_timeout = 5\n",
        ),
        (
            "fine",
            "[[provision]]\ntype = \"shell\"\ninline = [\"x\"]\ncache = true\ncache_key = \"1\"\n",
        ),
    ] {
        let shown = match read(&format!("{HEAD}{text}")) {
            Ok(_) => "no mistakes\n".to_owned(),
            Err(found) => found.to_string(),
        };
        out.extend(["=== ", name, "\n", shown.as_str(), "\n"]);
    }
    let later = "[variables.always]\ndefault = true\n[variables.token]\nsensitive = true\n[[provision]]\ntype = \"shell\"\ninline = [\"x\"]\ncache = \"{{ not var.always }}\"\ncache_key = \"{{ var.token }}\"\n";
    let template = read(&format!("{HEAD}{later}")).unwrap();
    let shown = template.resolve(&flags(&["token=hunter2"])).map(drop).unwrap_err().to_string();
    out.extend(["=== once values are known\n", shown.as_str()]);
    insta::assert_snapshot!(out);
}
