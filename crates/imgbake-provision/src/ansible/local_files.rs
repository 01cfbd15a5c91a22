//! The files that Ansible reads in the machine.

use camino::Utf8Path;
use serde_json::{Map, Value, json};

use super::files::PLUGIN;
use super::local_spec::AnsibleLocalSpec;
use super::spec::BESIDE;
use crate::error::StepError;
use crate::guest::{Copies, Folder};

/// The machine's name in its own inventory.
pub(super) const HOST: &str = "localhost";

/// What of the host was copied to where in the machine.
pub(super) struct Staged {
    /// Where the playbook is in the machine.
    pub(super) playbook: String,
    /// Folders of roles in the machine.
    pub(super) roles: Vec<String>,
    /// Folders of collections in the machine.
    pub(super) collections: Vec<String>,
    /// What they are copies of.
    pub(super) copies: Copies,
}

impl Staged {
    /// Copies them.
    pub(super) async fn copy(
        spec: &AnsibleLocalSpec,
        folder: &Folder<'_>,
    ) -> Result<Self, StepError> {
        let beside = spec.playbook.parent().unwrap_or(Utf8Path::new("/"));
        let name = spec.playbook.file_name().unwrap_or("playbook.yml");
        let playbook = format!("play/{name}");
        folder.copy(&spec.playbook, &playbook).await?;
        for name in BESIDE.iter().filter(|name| beside.join(name).exists()) {
            folder.copy(&beside.join(name), &format!("play/{name}")).await?;
        }
        let mut staged = Self {
            playbook: folder.path(&playbook),
            roles: Vec::new(),
            collections: Vec::new(),
            copies: Copies::default(),
        };
        staged.copies.add(folder.path("play"), beside);
        for (what, paths, to) in [
            ("roles", &spec.roles_path, &mut staged.roles),
            ("collections", &spec.collections_path, &mut staged.collections),
        ] {
            for (at, path) in paths.iter().enumerate() {
                let name = format!("path/{what}-{at}");
                folder.copy(path, &name).await?;
                staged.copies.add(folder.path(&name), path);
                to.push(folder.path(&name));
            }
        }
        if let Some(requirements) = &spec.requirements {
            folder.copy(requirements, "requirements.yml").await?;
            staged.copies.add(folder.path("requirements.yml"), requirements);
            staged.roles.push(folder.path("installed/roles"));
            staged.collections.push(folder.path("installed/collections"));
        }
        folder.write("plugins/imgbake_results.py", PLUGIN).await?;
        folder.write_json("inventory.json", &inventory(spec)).await?;
        folder.write_json("extra_vars.json", &json!(spec.extra_vars)).await?;
        if let Some(password) = &spec.vault_password {
            folder.write("vault", password).await?;
        }
        Ok(staged)
    }
}

fn inventory(spec: &AnsibleLocalSpec) -> Value {
    let mut host: Map<String, Value> = spec.host_vars.clone().into_iter().collect();
    host.insert("ansible_connection".to_owned(), json!("local"));
    let member = json!({ "hosts": { HOST: {} } });
    let groups: Map<String, Value> =
        spec.groups.iter().map(|group| (group.clone(), member.clone())).collect();
    json!({ "all": { "hosts": { HOST: host }, "children": groups } })
}
