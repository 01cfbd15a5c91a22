//! The files that a run of Ansible is given, in the job's folder, readable by this user alone.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};

use camino::{Utf8Path, Utf8PathBuf};
use imgbake_build::Access;
use imgbake_comm::shell::quote;
use imgbake_runtime::error::io_at;
use imgbake_runtime::{Job, RuntimeError, Secrets};
use rustix::fs::{CWD, Mode, mkfifoat};
use secrecy::ExposeSecret;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::spec::AnsibleSpec;
use crate::guest::revealed;

/// The name of the machine in the inventory: what Packer calls it, so that playbooks that name it go on working.
pub(super) const HOST: &str = "default";
/// The callback plugin, whose file's name is its own.
pub(super) const PLUGIN: &str = include_str!("imgbake_results.py");

/// The folder of one run.
pub(super) struct Files {
    dir: Utf8PathBuf,
}

impl Files {
    /// Writes the files of a run; without `access`, those of a look at the playbook.
    pub(super) fn write(
        job: &Job,
        spec: &AnsibleSpec,
        access: Option<&Access>,
    ) -> Result<Self, RuntimeError> {
        let dir = job.work().join(format!("ansible-{}", Uuid::new_v4().simple()));
        let files = Self { dir };
        for dir in [files.dir.clone(), files.plugins()] {
            DirBuilder::new().mode(0o700).create(&dir).map_err(io_at("make the folder", &dir))?;
        }
        let secrets = job.secrets();
        if let Some(access) = access {
            let known = format!("[{}]:{} {}\n", access.host, access.port, access.host_key);
            files.put("known_hosts", &known)?;
        }
        files.put("plugins/imgbake_results.py", PLUGIN)?;
        let results = files.path("results");
        mkfifoat(CWD, results.as_std_path(), Mode::RUSR | Mode::WUSR)
            .map_err(|error| RuntimeError::io("make the pipe", &results, error.into()))?;
        files.put("inventory.json", &files.inventory(secrets, spec, access).to_string())?;
        let extra = Value::Object(spec.extra_vars.clone().into_iter().collect());
        files.put("extra_vars.json", &revealed(secrets, &extra).to_string())?;
        if let Some(password) = &spec.vault_password {
            files.put("vault", secrets.reveal(password).expose_secret())?;
        }
        Ok(files)
    }

    fn put(&self, name: &str, text: &str) -> Result<(), RuntimeError> {
        let path = self.dir.join(name);
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
        let written = file.and_then(|mut file| file.write_all(text.as_bytes()));
        written.map_err(io_at("write", &path))
    }

    /// One of them.
    pub(super) fn path(&self, name: &str) -> Utf8PathBuf {
        self.dir.join(name)
    }

    /// The callback plugin's folder.
    pub(super) fn plugins(&self) -> Utf8PathBuf {
        self.path("plugins")
    }

    /// What every ssh of the run is given: the machine's key, and no other.
    pub(super) fn ssh_options(&self) -> [String; 8] {
        let known = format!("UserKnownHostsFile={}", ssh_path(&self.path("known_hosts")));
        let option = || "-o".to_owned();
        [
            option(),
            known,
            option(),
            "StrictHostKeyChecking=yes".to_owned(),
            option(),
            "IdentitiesOnly=yes".to_owned(),
            option(),
            "GlobalKnownHostsFile=/dev/null".to_owned(),
        ]
    }

    /// Where the socket of a shared connection is: in the job's folder itself, as its path must be short.
    pub(super) fn socket(&self, job: &Job) -> Utf8PathBuf {
        let own = self.dir.file_name().unwrap_or_default();
        job.work().join(&own[own.len().saturating_sub(8)..])
    }

    fn inventory(&self, secrets: &Secrets, spec: &AnsibleSpec, access: Option<&Access>) -> Value {
        let mut host = Map::new();
        let own = Value::Object(spec.host_vars.clone().into_iter().collect());
        if let Value::Object(own) = revealed(secrets, &own) {
            host.extend(own);
        }
        if let Some(access) = access {
            host.extend(self.connection(access));
        }
        let member = json!({ "hosts": { HOST: {} } });
        let groups: Map<String, Value> =
            spec.groups.iter().map(|group| (group.clone(), member.clone())).collect();
        json!({ "all": { "hosts": { HOST: host }, "children": groups } })
    }

    /// The variables by which Ansible reaches the machine.
    fn connection(&self, access: &Access) -> Map<String, Value> {
        // Ansible splits it as a shell does.
        let ssh = self.ssh_options().map(|word| quote(&word)).join(" ");
        [
            ("ansible_host", json!(access.host)),
            ("ansible_port", json!(access.port)),
            ("ansible_user", json!(access.user)),
            ("ansible_ssh_private_key_file", json!(access.key)),
            ("ansible_ssh_common_args", json!(ssh)),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into_iter()
        .collect()
    }
}

/// A path in an option of ssh (`ssh_config(5)`): quoted, as spaces part the files of a list, and without tokens.
fn ssh_path(path: &Utf8Path) -> String {
    let text = path.as_str().replace('\\', "\\\\").replace('"', "\\\"").replace('%', "%%");
    format!("\"{text}\"")
}

impl Drop for Files {
    /// They hold secrets, and a machine that is kept keeps its job's folder.
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.dir);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_those_of_any_folder() {
        for (path, option) in [
            ("/a/known_hosts", "\"/a/known_hosts\""),
            ("/a b/50%/\"x\"", "\"/a b/50%%/\\\"x\\\"\""),
        ] {
            assert_eq!(ssh_path(path.into()), option);
        }
    }
}
