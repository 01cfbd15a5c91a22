//! `install`: a tool that comes into the machine for the build, and goes before the seal.

use std::collections::BTreeMap;
use std::fmt;

use imgbake_build::StepContext;
use schemars::JsonSchema;
use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use super::{Program, TIMEOUT, Tool, assignments};
use crate::error::StepError;

/// Installs packages and writes down what came.
const SCRIPT: &str = include_str!("install.sh");
/// Its exit code where the tool is missing, and not to be installed.
const MISSING: i32 = 69;

/// Whether, and how, the step's tool is installed in the machine where it is missing. It is removed again before the
/// image is sealed, with the packages that nothing else needs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum Install {
    /// `true`: the distribution's packages. `false`: it must be there.
    Default(bool),
    /// These.
    Chosen(InstallSpec),
}

/// What is installed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct InstallSpec {
    /// Packages, by the names that the machine's package manager (apt or apk) has for them. Default: the
    /// distribution's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub packages: Vec<String>,
    /// The version of the first package; apt takes a pattern such as `7.*`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Where they come from, for the build alone: for apt a line (`deb …`) or a deb822 text with the key in
    /// `Signed-By`; for apk an address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repository: Option<String>,
    /// What pip installs, in a virtual environment of its own, such as `salt==3008.0`. `packages` are installed before.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pip: Vec<String>,
}

/// An error names the key that is wrong: serde's `untagged` would name none.
impl<'de> Deserialize<'de> for Install {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = Install;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("true, false or a table")
            }

            fn visit_bool<E>(self, value: bool) -> Result<Install, E> {
                Ok(Install::Default(value))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Install, A::Error> {
                InstallSpec::deserialize(MapAccessDeserializer::new(map)).map(Install::Chosen)
            }
        }
        deserializer.deserialize_any(Either)
    }
}

/// Makes sure that a tool is in the machine; `chosen`, its program, `install` and `env` are the step's settings.
pub(super) async fn ensure(
    context: &StepContext<'_>,
    tool: &Tool,
    chosen: Option<&str>,
    install: Option<&Install>,
    env: &BTreeMap<String, String>,
) -> Result<(), StepError> {
    let packages = match install {
        None | Some(Install::Default(false)) => None,
        Some(Install::Default(true)) => Some(&InstallSpec::default()),
        Some(Install::Chosen(chosen)) => Some(chosen),
    };
    let script = script("", tool, chosen, packages);
    let program = Program { script, env: env.clone(), timeout: TIMEOUT };
    let ended = program.prepare(context, &mut |_| {}).await?;
    let program = tool.programs(chosen).join("` or `");
    match &ended.exit {
        Ok(0) => Ok(()),
        Ok(MISSING) => Err(StepError::Usage(tool.missing(chosen))),
        Ok(code) => Err(ended.error(&format!("cannot install `{program}` (exit code {code})"))),
        Err(how) => Err(ended.error(&format!("cannot install `{program}`: {how}"))),
    }
}

/// The script that looks for a tool, or its `chosen` program, in the tree at `root`, and installs `wanted` where it is
/// missing.
fn script(root: &str, tool: &Tool, chosen: Option<&str>, wanted: Option<&InstallSpec>) -> String {
    let install = if wanted.is_some() { "1" } else { "" };
    let wanted = wanted.cloned().unwrap_or_default();
    let packages = |own: &[&str]| {
        if wanted.packages.is_empty() { own.join("\n") } else { wanted.packages.join("\n") }
    };
    let pip = match (wanted.pip.as_slice(), wanted.packages.as_slice()) {
        ([], []) => tool.pip.join("\n"),
        (pip, _) => pip.join("\n"),
    };
    let folders = tool.path();
    let values = [
        ("R", root),
        ("FOLDERS", &folders),
        ("INSTALL", install),
        ("TOOL", tool.name),
        ("PROGRAMS", &tool.programs(chosen).join("\n")),
        ("APT", &packages(tool.apt)),
        ("APK", &packages(tool.apk)),
        ("PIP", &pip),
        ("VERSION", wanted.version.as_deref().unwrap_or_default()),
        ("REPOSITORY", wanted.repository.as_deref().unwrap_or_default().trim_end()),
    ];
    format!("{}{SCRIPT}", assignments(&values))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;
    use std::process::Output;

    use serde_json::json;

    use super::*;

    const TOOL: Tool = Tool {
        name: "tool",
        programs: &["the-tool"],
        key: None,
        folders: &["/nonexistent/own"],
        apt: &["gone|tool", "other"],
        apk: &["tool-apk"],
        pip: &[],
    };

    #[expect(clippy::disallowed_methods, reason = "a test that runs a script has no job")]
    fn sh(dir: &Path, script: &str) -> Output {
        let mut command = std::process::Command::new("/bin/sh");
        let path = format!("{}/bin:/usr/sbin:/usr/bin:/sbin:/bin", dir.display());
        command.env("PATH", path).env("APT_CONFIG", dir.join("apt.conf")).env("DPKG_ROOT", dir);
        command.args(["-e", "-c", script]).current_dir(dir).output().unwrap()
    }

    fn good(dir: &Path, script: &str) -> String {
        let output = sh(dir, script);
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    fn write(dir: &Path, name: &str, text: &str) {
        let path = dir.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn program(dir: &Path, name: &str, body: &str) {
        write(dir, name, &format!("#!/bin/sh\n{body}\n"));
        good(dir, &format!("chmod 755 {name}"));
    }

    fn read(dir: &Path, name: &str) -> Option<String> {
        fs::read_to_string(dir.join(name)).ok()
    }

    fn install(dir: &Path, tool: &Tool, chosen: &InstallSpec) -> Output {
        sh(dir, &script(dir.to_str().unwrap(), tool, None, Some(chosen)))
    }

    /// A root for apt and dpkg, and a repository of packages: a name, a version, what it depends on.
    fn apt(dir: &Path, packages: &[(&str, &str, &str)]) {
        let at = dir.display();
        let conf = format!(
            "Dir \"{at}\";\nDir::State::status \"{at}/var/lib/dpkg/status\";\nDir::Log \"{at}/var/log\";\n\
             Dir::Bin::methods \"/usr/lib/apt/methods\";\nAPT::Sandbox::User \"root\";\n\
             DPkg::Options {{ \"--root={at}\"; \"--force-script-chrootless\"; \"--log={at}/dpkg.log\"; }};\n"
        );
        write(dir, "apt.conf", &conf);
        for file in ["var/lib/dpkg/status", "etc/apt/sources.list", "var/cache/apt/x", "usr/sbin/x"]
        {
            write(dir, file, "");
        }
        good(
            dir,
            "mkdir -p var/lib/dpkg/updates var/lib/dpkg/info var/log etc/apt/apt.conf.d \
             etc/apt/preferences.d etc/apt/sources.list.d repo",
        );
        for (name, version, depends) in packages {
            let depends =
                if depends.is_empty() { String::new() } else { format!("Depends: {depends}\n") };
            let folder = format!("debs/{name}_{version}");
            let control = format!(
                "Package: {name}\nVersion: {version}\nArchitecture: all\n\
                 Maintainer: m <m@example.org>\n{depends}Description: d\n"
            );
            write(dir, &format!("{folder}/DEBIAN/control"), &control);
            program(dir, &format!("{folder}/usr/local/bin/the-{name}"), &format!("echo {version}"));
            let account = format!("echo _{name}:x:9: | tee -a {at}/etc/group >>{at}/etc/passwd");
            program(dir, &format!("{folder}/DEBIAN/postinst"), &account);
            good(
                dir,
                &format!("dpkg-deb -b --root-owner-group {folder} repo/{name}_{version}.deb"),
            );
        }
        good(
            dir,
            "cd repo; for f in *.deb; do dpkg-deb -f $f; echo \"Filename: ./$f\"; \
             echo \"Size: $(stat -c %s $f)\"; echo \"SHA256: $(sha256sum <$f | cut -d' ' -f1)\"; echo; done >Packages",
        );
    }

    fn repository(dir: &Path) -> String {
        format!("deb [trusted=yes] file:{}/repo ./", dir.display())
    }

    #[test]
    fn apt_brings_it_and_what_came_is_written_down() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        apt(
            dir,
            &[
                ("tool", "1", "lib"),
                ("tool", "2", "lib"),
                ("lib", "1", ""),
                ("other", "1", "had"),
                ("had", "1", ""),
            ],
        );
        write(dir, "etc/apt/sources.list", &repository(dir));
        good(dir, "apt-get -q update; apt-get -y install had");
        let output = install(dir, &TOOL, &InstallSpec::default());
        assert!(output.status.success(), "{output:?}");
        assert_eq!(good(dir, "usr/local/bin/the-tool"), "2\n");
        let list = "var/lib/imgbake/tools/tool/apt";
        assert_eq!(read(dir, list).unwrap(), "lib\nother\ntool\n");
        assert_eq!(good(dir, "apt-mark showauto"), "lib\nother\ntool\n");
        assert_eq!(good(dir, "apt-mark showmanual"), "had\n");
        for list in ["users", "groups"] {
            let accounts = read(dir, &format!("var/lib/imgbake/tools/tool/{list}")).unwrap();
            assert_eq!(accounts, "_lib\n_other\n_tool\n");
        }
        assert!(!dir.join("usr/sbin/policy-rc.d").exists());

        // It is there: nothing more happens.
        assert!(install(dir, &TOOL, &InstallSpec::default()).status.success());
        assert_eq!(read(dir, list).unwrap().lines().count(), 3);
    }

    #[test]
    fn a_version_and_a_repository_are_taken() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        apt(dir, &[("tool", "1", ""), ("tool", "2", "")]);
        let chosen = InstallSpec {
            packages: vec!["tool".to_owned()],
            version: Some("1*".to_owned()),
            repository: Some(repository(dir)),
            ..InstallSpec::default()
        };
        let output = install(dir, &TOOL, &chosen);
        assert!(output.status.success(), "{output:?}");
        assert_eq!(good(dir, "usr/local/bin/the-tool"), "1\n");
        let source = "etc/apt/sources.list.d/tool.imgbake-build-only.list";
        assert_eq!(read(dir, source).unwrap().trim(), repository(dir));
    }

    #[test]
    fn what_cannot_be_had_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        apt(dir, &[("tool", "1", ""), ("broken", "1", "no-such-package")]);
        write(dir, "etc/apt/sources.list", &repository(dir));
        for (packages, part) in [
            (&["no-such|nor-this"][..], "no package source of the machine has no-such|nor-this"),
            (&["broken"], "apt does not install broken"),
            (&["-oDir=/nonexistent"], "no package source of the machine has -oDir=/nonexistent"),
        ] {
            let packages = packages.iter().map(|name| (*name).to_owned()).collect();
            let output = install(dir, &TOOL, &InstallSpec { packages, ..InstallSpec::default() });
            let words = String::from_utf8_lossy(&output.stderr);
            assert!(!output.status.success() && words.contains(part), "{output:?}");
            assert!(!dir.join("usr/sbin/policy-rc.d").exists());
        }
        let tool = Tool { programs: &["not-in-it"], apt: &["tool"], ..TOOL };
        let output = install(dir, &tool, &InstallSpec::default());
        let words = String::from_utf8_lossy(&output.stderr);
        assert!(words.contains("what was installed has no program not-in-it"), "{output:?}");
        assert_eq!(read(dir, "var/lib/imgbake/tools/tool/apt").as_deref(), Some("tool\n"));
    }

    #[test]
    fn pip_has_a_folder_of_its_own() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        apt(dir, &[("other", "1", "")]);
        let wheel = "import zipfile\nw = zipfile.ZipFile('the_tool-1-py3-none-any.whl', 'w')\n\
            i = 'the_tool-1.dist-info/'\n\
            w.writestr('the_tool.py', 'def main(): print(\"from pip\")')\n\
            w.writestr(i + 'METADATA', 'Metadata-Version: 2.1\\nName: the-tool\\nVersion: 1\\n')\n\
            w.writestr(i + 'WHEEL', 'Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n')\n\
            w.writestr(i + 'entry_points.txt', '[console_scripts]\\nthe-tool = the_tool:main\\nown = the_tool:main\\n')\n\
            w.writestr(i + 'RECORD', '')\nw.close()\n";
        write(dir, "make.py", wheel);
        good(dir, "python3 make.py");
        program(dir, "usr/local/bin/own", "echo own");
        let file = dir.join("the_tool-1-py3-none-any.whl");
        let pip = vec!["--no-index".to_owned(), file.to_str().unwrap().to_owned()];
        let tool = Tool { apt: &[], ..TOOL };
        let output = install(dir, &tool, &InstallSpec { pip, ..InstallSpec::default() });
        assert!(output.status.success(), "{output:?}");
        assert_eq!(good(dir, "usr/local/bin/the-tool; usr/local/bin/own"), "from pip\nown\n");
        let list = |name: &str| read(dir, &format!("var/lib/imgbake/tools/tool/{name}"));
        assert_eq!(list("folders").as_deref(), Some("/opt/imgbake-tool\n"));
        assert_eq!(list("links").as_deref(), Some("/usr/local/bin/the-tool\n"));
        assert_eq!(list("apt"), None);
    }

    /// The tool's program comes with a fake `apk`: there is no other here.
    #[test]
    fn apk_has_a_name_for_what_came() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        let body = "echo \"$@\" >>calls; mkdir -p usr/local/bin; cp \"$0\" usr/local/bin/the-tool";
        program(dir, "bin/apk", body);
        let chosen = InstallSpec {
            version: Some("1".to_owned()),
            repository: Some("http://example.org/main".to_owned()),
            ..InstallSpec::default()
        };
        let text = script(dir.to_str().unwrap(), &TOOL, None, Some(&chosen));
        // Without apt in `PATH`.
        let text = text.replace("command -v apt-get", "false");
        let output = sh(dir, &text);
        assert!(output.status.success(), "{output:?}");
        let calls = "add --repository http://example.org/main --no-cache --virtual .imgbake-tool tool-apk=1\n";
        assert_eq!(read(dir, "calls").as_deref(), Some(calls));
        assert_eq!(read(dir, "var/lib/imgbake/tools/tool/apk").as_deref(), Some(".imgbake-tool\n"));
    }

    #[test]
    fn settings_are_true_or_a_table() {
        for (value, install) in [
            (json!(true), Install::Default(true)),
            (json!(false), Install::Default(false)),
            (
                json!({"packages": ["puppet"], "version": "7.*"}),
                Install::Chosen(InstallSpec {
                    packages: vec!["puppet".to_owned()],
                    version: Some("7.*".to_owned()),
                    ..InstallSpec::default()
                }),
            ),
        ] {
            assert_eq!(serde_json::from_value::<Install>(value.clone()).unwrap(), install);
            assert_eq!(serde_json::to_value(&install).unwrap(), value);
        }
        for (value, part) in [
            (json!({"package": "x"}), "unknown field `package`"),
            (json!("yes"), "true, false or a table"),
            (json!({"pip": "x"}), "a sequence"),
        ] {
            let error = serde_json::from_value::<Install>(value).unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        }
    }

    #[test]
    fn a_tool_is_looked_for_by_its_names_or_the_chosen_one() {
        let dir = tempfile::tempdir().unwrap();
        let at = dir.path().to_str().unwrap();
        let look = |tool: &Tool, chosen| sh(dir.path(), &script(at, tool, chosen, None));
        assert_eq!(look(&TOOL, None).status.code(), Some(MISSING));
        program(dir.path(), "bin/the-tool", "");
        assert!(look(&TOOL, None).status.success());
        let other = Tool { programs: &["its-tool", "the-tool"], ..TOOL };
        assert!(look(&other, None).status.success());
        // Another one is not what the step runs.
        let chosen = format!("{at}/own/tool");
        assert_eq!(look(&TOOL, Some(&chosen)).status.code(), Some(MISSING));
        program(dir.path(), "own/tool", "");
        assert!(look(&TOOL, Some(&chosen)).status.success());
    }
}
