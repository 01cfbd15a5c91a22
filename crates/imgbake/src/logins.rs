//! Who the user is to registries: what the environment says of it.

use std::collections::BTreeMap;

use camino::{Utf8Path, Utf8PathBuf};
use imgbake_oci::{CredentialSettings, FixedLogin};

use crate::failure::Failure;

const USER: &str = "IMGBAKE_REGISTRY_USER";
const PASSWORD: &str = "IMGBAKE_REGISTRY_PASSWORD";
const HOST: &str = "IMGBAKE_REGISTRY_HOST";

/// Logins that the environment gives, and where others are.
#[derive(Debug, Clone, Default)]
pub struct Logins {
    credentials: CredentialSettings,
    /// The one of the two variables that is missing beside the other.
    lacks: Option<&'static str>,
}

impl Logins {
    /// Reads the environment of a user.
    pub fn of(env: &BTreeMap<String, String>, user_id: Option<u32>) -> Self {
        let set = |name: &str| env.get(name).filter(|value| !value.is_empty()).cloned();
        let fixed = set(USER).zip(set(PASSWORD)).map(|(user, password)| FixedLogin {
            user,
            password: password.into(),
            host: set(HOST),
            origin: format!("the variables {USER} and {PASSWORD}"),
        });
        let lacks = match (set(USER), set(PASSWORD)) {
            (Some(_), None) => Some(PASSWORD),
            (None, Some(_)) => Some(USER),
            _ => None,
        };
        Self { credentials: CredentialSettings { fixed, files: files(&set, user_id) }, lacks }
    }

    /// What a command that speaks to these registries may use: a login of the environment must not be
    /// shown to a registry that it is not for.
    pub fn settings(&self, hosts: &[&str]) -> Result<CredentialSettings, Failure> {
        if let Some(lacks) = self.lacks {
            return Err(Failure::usage(format!(
                "{lacks} is not set: a login is {USER} and {PASSWORD}"
            )));
        }
        match &self.credentials.fixed {
            Some(FixedLogin { host: None, .. }) if hosts.len() > 1 => {
                let hosts = hosts.join(" and ");
                Err(Failure::usage(format!(
                    "{USER} could be for {hosts}: set {HOST} to the one that it is for"
                )))
            }
            _ => Ok(self.credentials.clone()),
        }
    }
}

/// The files of containers-auth.json(5), then Docker's own.
fn files(set: &impl Fn(&str) -> Option<String>, user_id: Option<u32>) -> Vec<Utf8PathBuf> {
    if let Some(only) = set("REGISTRY_AUTH_FILE") {
        return vec![only.into()];
    }
    let below = |dir: Option<String>, path: &str| dir.map(|dir| Utf8Path::new(&dir).join(path));
    let runtime = set("XDG_RUNTIME_DIR").or(user_id.map(|id| format!("/run/containers/{id}")));
    let runtime = runtime.map(|dir| match set("XDG_RUNTIME_DIR") {
        Some(dir) => Utf8Path::new(&dir).join("containers/auth.json"),
        None => Utf8Path::new(&dir).join("auth.json"),
    });
    let config = set("XDG_CONFIG_HOME").or(set("HOME").map(|home| format!("{home}/.config")));
    let docker = set("DOCKER_CONFIG").or(set("HOME").map(|home| format!("{home}/.docker")));
    let found = [runtime, below(config, "containers/auth.json"), below(docker, "config.json")];
    found.into_iter().flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn logins(env: &[(&str, &str)]) -> Logins {
        let env = env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Logins::of(&env.collect(), Some(7))
    }

    #[test]
    fn files_are_those_of_other_tools() {
        for (env, expected) in [
            (&[("REGISTRY_AUTH_FILE", "/a.json"), ("HOME", "/h")][..], vec!["/a.json"]),
            (
                &[("XDG_RUNTIME_DIR", "/run/user/7"), ("HOME", "/h")],
                vec![
                    "/run/user/7/containers/auth.json",
                    "/h/.config/containers/auth.json",
                    "/h/.docker/config.json",
                ],
            ),
            (
                &[("DOCKER_CONFIG", "/d"), ("XDG_CONFIG_HOME", "/c")],
                vec!["/run/containers/7/auth.json", "/c/containers/auth.json", "/d/config.json"],
            ),
        ] {
            assert_eq!(logins(env).credentials.files, expected, "{env:?}");
        }
    }

    #[test]
    fn a_login_goes_to_one_registry() {
        let both = [(USER, "ada"), (PASSWORD, "enchantress")];
        assert!(logins(&both).settings(&["a.example"]).unwrap().fixed.is_some());
        assert!(logins(&both).settings(&["a.example", "b.example"]).is_err());
        let one = [both[0], both[1], (HOST, "b.example")];
        assert!(logins(&one).settings(&["a.example", "b.example"]).is_ok());
        assert!(logins(&both[..1]).settings(&["a.example"]).is_err());
        assert!(logins(&both[1..]).settings(&["a.example"]).is_err());
        assert!(logins(&[]).settings(&["a.example", "b.example"]).is_ok());
        assert!(!format!("{:?}", logins(&both)).contains("enchantress"));
    }
}
