//! The files that Chef reads in the machine.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::spec::ChefSpec;
use crate::error::StepError;
use crate::guest::{Copies, Folder};

/// The handler that writes the results.
const HANDLER: &str = include_str!("imgbake_handler.rb");

/// Copies them; gives what they are copies of.
pub(super) async fn stage(spec: &ChefSpec, folder: &Folder<'_>) -> Result<Copies, StepError> {
    let mut copies = Copies::default();
    let cookbooks = spec.cookbooks.iter().enumerate();
    let cookbooks = cookbooks.map(|(at, path)| (format!("cookbooks-{at}"), path));
    let folders = spec.folders().into_iter().map(|(name, path)| (name.to_owned(), path));
    for (name, path) in cookbooks.chain(folders) {
        folder.copy(path, &name).await?;
        copies.add(folder.path(&name), path);
    }
    folder.write("imgbake_handler.rb", HANDLER).await?;
    folder.write("client.rb", &config(spec, folder)).await?;
    let mut attributes = json!(spec.attributes);
    if !spec.run_list.is_empty() {
        attributes["run_list"] = Value::from(spec.run_list.clone());
    }
    folder.write_json("attributes.json", &attributes).await?;
    Ok(copies)
}

/// The client's configuration: all that Chef keeps is in the folder, so that no image has it.
fn config(spec: &ChefSpec, folder: &Folder<'_>) -> String {
    let path = |name: &str| ruby(&folder.path(name));
    let repository = if spec.policy.is_some() { "policy" } else { "repository" };
    let mut text = format!(
        "require {}\nlocal_mode true\nchef_repo_path {}\n",
        path("imgbake_handler.rb"),
        path(repository)
    );
    let mut set = |name: &str, value: &str| {
        // Writing to a string does not fail.
        let _ = writeln!(text, "{name} {value}");
    };
    for (name, file) in [
        ("node_path", "nodes"),
        ("cache_path", "cache"),
        ("file_cache_path", "cache/files"),
        ("file_backup_path", "cache/backup"),
    ] {
        set(name, &path(file));
    }
    if !spec.cookbooks.is_empty() {
        let all = (0..spec.cookbooks.len()).map(|at| path(&format!("cookbooks-{at}")));
        set("cookbook_path", &format!("[{}]", all.collect::<Vec<_>>().join(", ")));
    }
    for (name, given, file) in [
        ("role_path", &spec.roles, "roles"),
        ("data_bag_path", &spec.data_bags, "data_bags"),
        ("environment_path", &spec.environments, "environments"),
    ] {
        if given.is_some() {
            set(name, &path(file));
        }
    }
    if let Some(name) = &spec.policy_name {
        set("use_policyfile", "true");
        set("policy_document_native_api", "true");
        set("policy_group", "'local'");
        set("policy_name", &ruby(name));
    }
    if let Some(name) = &spec.environment {
        set("environment", &ruby(name));
    }
    let handler = format!("<< Imgbake::Results.new({})", path("results"));
    set("report_handlers", &handler);
    set("exception_handlers", &handler);
    text
}

/// A text as a string of Ruby.
fn ruby(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_of_ruby() {
        for (text, quoted) in
            [("/a b", "'/a b'"), ("it's #{x}", "'it\\'s #{x}'"), ("end\\", "'end\\\\'")]
        {
            assert_eq!(ruby(text), quoted);
        }
    }
}
