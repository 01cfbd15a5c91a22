//! What a template's author sees.

use crate::common::{HEAD, read};

fn all(cases: &[(&str, &str)]) -> String {
    let mut out = String::new();
    for (name, text) in cases {
        let text =
            if text.contains("[source]") { (*text).to_owned() } else { format!("{HEAD}{text}") };
        let shown = match read(&text) {
            Ok(_) => "no mistakes\n".to_owned(),
            Err(found) => found.to_string(),
        };
        out.extend(["=== ", name, "\n", shown.as_str(), "\n"]);
    }
    out
}

#[test]
fn toml() {
    let shown = all(&[
        ("nothing", "# [source]\n"),
        (
            "three syntax errors and a typo",
            "[image\nname = web\n[source]\nimage = \"a:b\"\n[bilder]\nx = 1.2.3\n",
        ),
        ("duplicate key", "[ssh]\nuser = \"a\"\nuser = \"b\"\n"),
        ("huge number", "[builder.qemu]\ncpus = 99999999999999999999\n"),
        ("marker", "[[test]]\nrun = \"echo ⟦secret:x⟧\"\n"),
    ]);
    insta::assert_snapshot!(shown);
}

#[test]
fn schema() {
    let shown = all(&[
        ("unknown keys", "[builder.qemu]\nmemroy = \"1GiB\"\nwat = 1\n[buildr]\n[builder.aws]\n"),
        (
            "types",
            "[builder.qemu]\ncpus = \"2\"\nmemory = 1024\ndisk = true\nboot_timeout = 60\nargs = \"-nographic\"\n[verify]\nenabled = \"false\"\n[ssh]\nuser = 5\n",
        ),
        (
            "values",
            "[builder.qemu]\ncpus = 0\nmemory = \"4GB\"\nboot_timeout = \"soon\"\naccel = \"kmv\"\nfirmware = \"coreboot\"\nextra_disks = [\"1GiB\", \"x\"]\n",
        ),
        ("one bracket", "[provision]\ntype = \"shell\"\n"),
        ("two brackets", "[[publish]]\nchannel = \"dev\"\n"),
        ("table for string", "[publish.channel]\nx = 1\n"),
        ("missing", "[image]\n[source]\nbootstrap = { distribution = \"debian\" }\n"),
        (
            "names",
            "[image]\nname = \"Web Server\"\n[source]\nbootstrap = { distribution = \"debain\", suite = \"12\" }\n[publish]\nchannel = \"my channel\"\n",
        ),
        ("expression for a table", "[builder]\nqemu = \"{{ 1 }}\"\n"),
        (
            "é before the caret",
            "[image]\nname = \"web\"\nlabels = { \"é\" = \"ü\", ö = 1 }\n[source]\nimage = \"b:c\"\n",
        ),
        ("iso", "[image]\nname = \"web\"\n[source]\niso = \"x.iso\"\n"),
    ]);
    insta::assert_snapshot!(shown);
}

#[test]
fn steps() {
    let shown = all(&[
        ("no type", "[[provision]]\nscript = \"a.sh\"\n[[provision]]\nname = \"x\"\n"),
        (
            "unknown type",
            "[[provision]]\ntype = \"puppet\"\nmanifest = \"site.pp\"\n[[provision]]\ntype = \"shel\"\n[[provision]]\ntype = 1\n[[provision]]\ntype = \"{{ 1 }}\"\n",
        ),
        (
            "a type for Windows",
            "[[provision]]\ntype = \"powershell\"\ninline = [\"Get-Date\"]\n[[provision]]\ntype = \"windows-restart\"\n",
        ),
        (
            "another type's key",
            "[[provision]]\ntype = \"file\"\nscript = \"a.sh\"\ncontent = \"x\"\ndestination = \"/etc/x\"\n",
        ),
        (
            "shell",
            "[[provision]]\ntype = \"shell\"\n[[provision]]\ntype = \"shell\"\nscript = \"a\"\ninline = []\nenv = { \"A-B\" = \"1\" }\nexit_codes = [0, 256]\nworkdir = \"tmp\"\nretry = { attempts = 0 }\n",
        ),
        (
            "interpreters that would read the script from their input",
            "[[provision]]\ntype = \"shell\"\nscript = \"a\"\ninterpreter = [\"/bin/sh\", \"-s\"]\n[[provision]]\ntype = \"shell\"\nscript = \"a\"\ninterpreter = [\"python3\", \"-\"]\n[[provision]]\ntype = \"shell\"\nscript = \"a\"\ninterpreter = [\"sh\", \"-eu\"]\n",
        ),
        (
            "a second run that nobody can judge",
            "[[provision]]\ntype = \"shell\"\nscript = \"a\"\nconverge = \"once\"\n[[provision]]\ntype = \"ansible\"\nplaybook = \"a.yml\"\nextra_vars = { deep = { list = [1, \"x\"] } }\nconverge = \"once\"\n",
        ),
        (
            "a second run of a step that restarts the machine",
            "[[provision]]\ntype = \"shell\"\nscript = \"a\"\nreboot = \"expected\"\nconverge = \"check\"\n[[provision]]\ntype = \"shell\"\nscript = \"a\"\nreboot = \"expected\"\nconverge = \"off\"\n",
        ),
        (
            "file",
            "[[provision]]\ntype = \"file\"\nsource = \"a\"\ncontent = \"b\"\ndestination = \"etc/x\"\nowner = \"Bad Owner\"\nmode = \"rw\"\n[[provision]]\ntype = \"file\"\ndirection = \"download\"\ndestination = \"out\"\nmode = \"0644\"\n",
        ),
        (
            "names",
            "[[provision]]\ntype = \"shell\"\nname = \"a\"\nscript = \"a\"\n[[provision]]\ntype = \"shell\"\nname = \"a\"\nscript = \"a\"\n[[provision]]\ntype = \"shell\"\nname = \"seal\"\nscript = \"a\"\n[[test]]\nname = \"t\"\nrun = \"x\"\n[[test]]\nname = \"t\"\nrun = \"x\"\n[[test]]\nname = \"\"\nrun = \"x\"\n",
        ),
    ]);
    insta::assert_snapshot!(shown);
}

#[test]
fn source_and_publish() {
    let source = |text: &str| format!("[image]\nname = \"web\"\n[source]\n{text}\n");
    let cases = [
        ("none", source("")),
        ("two", source("url = \"https://x/y\"\nchecksum = \"sha256:12\"\nimage = \"base\"")),
        ("no checksum", source("url = \"ftp://x/y\"")),
        ("unverified", source("url = \"x.qcow2\"\nchecksum = \"none\"")),
        (
            "verified",
            source("url = \"x.qcow2\"\nchecksum = \"file:SHA256SUMS\"\nallow_unverified = true"),
        ),
        (
            "beside url only",
            source("image = \"a:b\"\nchecksum = \"none\"\nheaders = {}\nallow_unverified = true"),
        ),
        ("bad reference", source("image = \"A:b\"")),
        (
            "publish",
            source(
                "image = \"a:b\"\n[publish]\nchannel = \"dev\"\noutput = [\"a.iso\", \"b.qcow2\"]\n[verify]\nenabled = false\n[seal]\nskip = [\"machineid\"]\nalso = [\"all\"]",
            ),
        ),
    ];
    let cases: Vec<(&str, &str)> =
        cases.iter().map(|(name, text)| (*name, text.as_str())).collect();
    let shown = all(&cases);
    insta::assert_snapshot!(shown);
}

#[test]
fn variables() {
    let shown = all(&[
        (
            "declarations",
            "[variables.a-b]\n[variables.n]\ntype = \"number\"\ndefault = \"1\"\n[variables.p]\npattern = \"(\"\n[variables.q]\ntype = \"bool\"\npattern = \"x\"\n[variables.s]\nsensitive = true\ndefault = \"hunter2\"\n[variables.t]\nsensitive = true\ntype = \"list\"\n[variables.k]\ntype = \"strng\"\n",
        ),
        (
            "default",
            "[variables.a]\ndefault = \"c\"\nallowed = [\"a\", \"b\", 1]\n[variables.b]\ndefault = \"abc\"\npattern = \"b\"\n[variables.c]\ndefault = { x = 1 }\n[variables]\nd = \"x\"\n",
        ),
    ]);
    insta::assert_snapshot!(shown);
}

#[test]
fn expressions() {
    let shown = all(&[
        (
            "names",
            "[variables.suite]\ndefault = \"x\"\n[ssh]\nuser = \"{{ var.siute }}\"\n[[test]]\nrun = \"é {{ suite }} {{ env.HOME }}\"\n[[test]]\nrun = '''\nline\n{{ nothing }}'''\n[[test]]\nrun = \"a\\t{{ nothing }}\"\n",
        ),
        (
            "syntax",
            "[[test]]\nrun = \"{{ 1 + }}\"\n[[test]]\nrun = \"{% if 1 %}\"\n[[test]]\nrun = \"{{ 1 | nope }}\"\n",
        ),
        (
            "sensitive",
            "[variables.token]\nsensitive = true\n[[test]]\nrun = \"x {{ var.token | upper }}\"\n[[test]]\nrun = \"{% if var.token == 'a' %}{% endif %}\"\n[[test]]\nrun = \"{% raw %}{{ var.token | upper }}{% endraw %} {{- var.token -}}\"\n",
        ),
    ]);
    insta::assert_snapshot!(shown);
}
