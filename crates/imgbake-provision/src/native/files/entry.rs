//! One entry of a files step.

use camino::{Utf8Path, Utf8PathBuf};
use imgbake_types::secret;
use imgbake_types::spec::pointer::pointer;
use imgbake_types::spec::rules::{At, Mistake};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::super::script::Script;
use super::tree::{self, What};
use crate::error::{StepError, check_public};
use crate::guest::Folder;

/// What an entry can be; exactly one of these.
const FORMS: [&str; 5] = ["source", "content", "link", "directory", "absent"];

/// One of `files`: exactly one of `source`, `content`, `link`, `directory` and `absent`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FileEntry {
    /// Where it is in the machine: an absolute path. Parent folders that are missing are made: root's, with `0755`.
    #[schemars(regex(pattern = r"^/"))]
    pub destination: String,
    /// A file or folder beside the template. A folder's contents go into `destination`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub source: Option<Utf8PathBuf>,
    /// What the file shall hold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<String>,
    /// What a symbolic link names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link: Option<String>,
    /// `true`: it is a folder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub directory: Option<bool>,
    /// `true`: it is not there; of a folder, with all that is in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub absent: Option<bool>,
    /// `user` or `user:group`; for a folder as `source`, of each file and each new folder in it. Default: `root:root`; a
    /// folder that is there keeps its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(
        pattern = r"^([a-z_][a-z0-9_-]*\$?|[0-9]+)(:([a-z_][a-z0-9_-]*\$?|[0-9]+))?$"
    ))]
    pub owner: Option<String>,
    /// The permissions in octal; for a folder as `source`, those of each file in it. Default: `0644` for content, the
    /// host file's for a source, `0755` for a new folder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^[0-7]{3,4}$"))]
    pub mode: Option<String>,
}

/// What no schema can say of the entries.
pub(super) fn check(entries: Option<&Vec<Value>>) -> Vec<Mistake> {
    let (mut found, mut seen) = (Vec::new(), Vec::<(&str, String)>::new());
    for (index, entry) in entries.into_iter().flatten().enumerate() {
        let Some(table) = entry.as_object() else { continue };
        let index = index.to_string();
        let at = |key: &str| pointer(["files", &index, key]);
        let here = At::Value(pointer(["files", &index]));
        let forms: Vec<&str> = FORMS.into_iter().filter(|form| table.contains_key(*form)).collect();
        match forms.as_slice() {
            [] => {
                let message = "this entry does not say what it is";
                let help = "give it one of `source`, `content`, `link`, `directory` and `absent`";
                found.push(Mistake::new("exactly-one", here, message).help(help));
            }
            [_] => {}
            [first, second, ..] => {
                let message = format!("`{first}` and `{second}` exclude each other");
                let mistake = Mistake::new("exactly-one", At::Key(at(second)), message);
                found.push(mistake.related(At::Key(at(first)), "given here"));
            }
        }
        for form in ["directory", "absent"] {
            if table.get(form) == Some(&Value::Bool(false)) {
                let message = format!("`{form} = false` does not say what the entry is");
                found.push(
                    Mistake::new("bad-value", At::Value(at(form)), message).help("remove it"),
                );
            }
        }
        let bare = ["link", "absent"].into_iter().find(|form| table.contains_key(*form));
        for key in ["owner", "mode"].into_iter().filter(|key| table.contains_key(*key)) {
            if let Some(form) = bare {
                let message = format!("`{key}` has no meaning beside `{form}`");
                found.push(Mistake::new("senseless", At::Key(at(key)), message));
            }
        }
        let Some(destination) = table.get("destination").and_then(Value::as_str) else { continue };
        if destination.trim_matches('/').is_empty() && table.contains_key("absent") {
            let message = "the root folder cannot be removed";
            found.push(Mistake::new("bad-value", At::Value(at("destination")), message));
        }
        if let Some((_, first)) = seen.iter().find(|(other, _)| *other == destination) {
            let message = format!("two entries are for {destination}");
            let mistake = Mistake::new("twice", At::Value(at("destination")), message);
            found.push(mistake.related(At::Value(first.clone()), "the first"));
        } else {
            seen.push((destination, at("destination")));
        }
    }
    found
}

impl FileEntry {
    /// Puts what the entry needs into the folder, and its calls into the script.
    pub(super) async fn add(
        &self,
        staged: &str,
        folder: &Folder<'_>,
        script: &mut Script,
    ) -> Result<(), StepError> {
        check_public("destination", [self.destination.as_str()])?;
        check_public("source", self.source.iter().map(|path| path.as_str()))?;
        check_public("link", self.link.as_deref())?;
        check_public("owner", self.owner.as_deref())?;
        let destination = self.destination.trim_end_matches('/');
        let is_root = destination.is_empty() && self.source.is_none();
        if !self.destination.starts_with('/') || is_root {
            let what =
                format!("`{}` is no absolute path of a file in the machine", self.destination);
            return Err(StepError::Usage(what));
        }
        let owner = self.owner.as_deref();
        match self {
            Self { source: Some(source), .. } => {
                self.add_source(source, staged, folder, script).await?;
            }
            Self { content: Some(content), .. } => {
                folder.write(staged, content).await?;
                let mode = self.mode.as_deref().unwrap_or("644");
                let mut arguments = vec![folder.path(staged), destination.to_owned()];
                arguments.extend([owner.unwrap_or("0:0").to_owned(), mode.to_owned()]);
                if !secret::names(content).is_empty() {
                    arguments.push("secret".to_owned());
                }
                script.call("copied", arguments);
            }
            Self { link: Some(target), .. } => script.call("link", [destination, target]),
            Self { directory: Some(true), .. } => {
                let mode = self.mode.as_deref().unwrap_or_default();
                script.call("folder", [destination, owner.unwrap_or_default(), mode]);
            }
            Self { absent: Some(true), .. } => script.call("gone", [destination]),
            _ => {
                let what = format!("`files`: the entry for {destination} does not say what it is");
                return Err(StepError::Usage(what));
            }
        }
        Ok(())
    }

    async fn add_source(
        &self,
        source: &Utf8Path,
        staged: &str,
        folder: &Folder<'_>,
        script: &mut Script,
    ) -> Result<(), StepError> {
        let unreadable = |error| StepError::Read { path: source.to_owned(), source: error };
        folder.copy(source, staged).await?;
        let (staged, owner) = (folder.path(staged), self.owner.as_deref().unwrap_or("0:0"));
        let file_mode = |own: u32| self.mode.clone().unwrap_or_else(|| format!("{own:o}"));
        if !source.is_dir() {
            let name = source.file_name().unwrap_or_default();
            let is_folder = self.destination.ends_with('/');
            let to = if is_folder {
                format!("{}{name}", self.destination)
            } else {
                self.destination.clone()
            };
            let mode = file_mode(tree::mode(source).map_err(unreadable)?);
            script.call("copied", [&staged, &to, owner, &mode]);
            return Ok(());
        }
        let root = self.destination.trim_end_matches('/');
        if !root.is_empty() {
            script.call("folder", [root, "", "", owner]);
        }
        for found in tree::list(source).map_err(unreadable)? {
            let to = format!("{root}/{}", found.path);
            match found.what {
                What::File(own) => {
                    let mode = file_mode(own);
                    script.call("copied", [&format!("{staged}/{}", found.path), &to, owner, &mode]);
                }
                What::Folder => script.call("folder", [&to, "", "", owner]),
                What::Link(target) => script.call("link", [to, target]),
            }
        }
        Ok(())
    }
}
