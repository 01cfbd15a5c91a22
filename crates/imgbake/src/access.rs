//! The ssh command that a person reaches a machine with.

use std::fs;

use camino::Utf8Path;
use imgbake_build::{Access, Machine};
use imgbake_comm::shell::quote;
use imgbake_runtime::error::io_at;
use imgbake_runtime::{Job, RuntimeError};

use crate::app::App;

/// The command line. The machine's host key is written into a file in `folder`: no other is accepted.
pub fn ssh_command(access: &Access, folder: &Utf8Path) -> Result<String, RuntimeError> {
    let known_hosts = folder.join(format!("known_hosts-{}", access.port));
    let line = format!("[{}]:{} {}\n", access.host, access.port, access.host_key);
    fs::write(&known_hosts, line).map_err(io_at("write", &known_hosts))?;
    Ok(format!(
        "ssh -i {} -p {} -o IdentitiesOnly=yes -o UserKnownHostsFile={} -o StrictHostKeyChecking=yes {}@{}",
        quote(access.key.as_str()),
        access.port,
        quote(known_hosts.as_str()),
        access.user,
        access.host,
    ))
}

/// Lets machines outlive this process, and says how to reach and end them. Whether they do: if not, nothing
/// was changed, and the caller ends them.
pub fn keep_running(app: &App, job: &Job, machines: &mut [Box<dyn Machine>]) -> bool {
    let commands = machines.iter().map(|machine| ssh_command(&machine.access(), job.work()));
    let Ok(commands) = commands.collect::<Result<Vec<String>, _>>() else { return false };
    if job.keep().is_err() {
        return false;
    }
    for (machine, command) in machines.iter_mut().zip(commands) {
        machine.keep();
        app.note(&format!("machine `{}` runs on; get in with\n  {command}", machine.name()));
    }
    app.note("end it with\n  imgbake clean");
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_accepts_the_machines_host_key_alone() {
        let temp = tempfile::tempdir().unwrap();
        let folder = Utf8Path::from_path(temp.path()).unwrap();
        let access = Access {
            host: "127.0.0.1".to_owned(),
            port: 2222,
            user: "root".to_owned(),
            key: "/w/build-key".into(),
            host_key: "ssh-ed25519 AAAA".to_owned(),
        };
        let command = ssh_command(&access, folder).unwrap();
        assert!(command.starts_with("ssh -i /w/build-key -p 2222 "), "{command}");
        assert!(command.ends_with(" -o StrictHostKeyChecking=yes root@127.0.0.1"), "{command}");
        let hosts = fs::read_to_string(folder.join("known_hosts-2222")).unwrap();
        assert_eq!(hosts, "[127.0.0.1]:2222 ssh-ed25519 AAAA\n");
    }
}
