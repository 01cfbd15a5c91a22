//! A tool of configuration management that steps need in the machine.

/// A tool that steps need in the machine.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tool {
    /// Its name, in lower case.
    pub(crate) name: &'static str,
    /// The programs that steps run: the first that there is.
    pub(crate) programs: &'static [&'static str],
    /// The key in which a template names another program.
    pub(crate) key: Option<&'static str>,
    /// Folders beside those in `PATH` where its packages put it.
    pub(crate) folders: &'static [&'static str],
    /// The packages of distributions with apt; `a|b` is the first of them that there is.
    pub(crate) apt: &'static [&'static str],
    /// The packages of distributions with apk.
    pub(crate) apk: &'static [&'static str],
    /// What pip installs after them.
    pub(crate) pip: &'static [&'static str],
}

impl Tool {
    /// Where its program may be beside `PATH`, in the form of it.
    pub(super) fn path(&self) -> String {
        let folders = ["/usr/local/sbin:/usr/local/bin:/usr/sbin:/sbin"];
        folders.iter().chain(self.folders).copied().collect::<Vec<_>>().join(":")
    }

    /// The programs to look for; `chosen` is the one that the template names.
    pub(super) fn programs<'a>(&self, chosen: Option<&'a str>) -> Vec<&'a str> {
        chosen.map_or_else(|| self.programs.to_vec(), |chosen| vec![chosen])
    }

    /// What to do where it is missing.
    pub(super) fn missing(&self, chosen: Option<&str>) -> String {
        if let (Some(key), Some(chosen)) = (self.key, chosen) {
            return format!("`{key}` names `{chosen}`, which is no program in the machine");
        }
        let programs = format!("`{}`", self.programs.join("` or `"));
        let packages: Vec<String> =
            self.apt.iter().map(|name| format!("`{}`", name.replace('|', "` or `"))).collect();
        let path = self.key.map(|key| format!(", or give its path in `{key}`")).unwrap_or_default();
        let what = match (packages.as_slice(), self.pip) {
            ([], []) => {
                return format!(
                    "the machine has no program {programs}, and distributions have no package of it: name packages and \
                     their source in `install`, or install it in a step before{path}"
                );
            }
            (_, [_, ..]) => format!("`{}` with pip", self.pip.join("`, `")),
            (packages, []) => packages.join(", "),
        };
        format!(
            "the machine has no program {programs}: set `install = true`, or install {what} in a step before{path}"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOOL: Tool = Tool {
        name: "tool",
        programs: &["the-tool", "its-tool"],
        key: None,
        folders: &[],
        apt: &["gone|tool", "other"],
        apk: &[],
        pip: &[],
    };

    #[test]
    fn a_missing_tool_says_what_to_set() {
        for (tool, chosen, message) in [
            (
                TOOL,
                None,
                "the machine has no program `the-tool` or `its-tool`: set `install = true`, or install `gone` or \
                 `tool`, `other` in a step before",
            ),
            (
                Tool { pip: &["salt"], key: Some("bin"), ..TOOL },
                None,
                "the machine has no program `the-tool` or `its-tool`: set `install = true`, or install `salt` with \
                 pip in a step before, or give its path in `bin`",
            ),
            (
                Tool { apt: &[], ..TOOL },
                None,
                "the machine has no program `the-tool` or `its-tool`, and distributions have no package of it: name \
                 packages and their source in `install`, or install it in a step before",
            ),
            (
                Tool { key: Some("bin"), ..TOOL },
                Some("/opt/x"),
                "`bin` names `/opt/x`, which is no program in the machine",
            ),
        ] {
            assert_eq!(tool.missing(chosen), message);
        }
    }
}
