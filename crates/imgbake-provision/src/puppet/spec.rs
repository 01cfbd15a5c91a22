//! What the author of a step with Puppet wrote.

use std::collections::BTreeMap;

use camino::Utf8PathBuf;
use imgbake_types::Span;
use imgbake_types::spec::rules::{At, Mistake, absolute, not_empty};
use imgbake_types::spec::{Converge, HostPath, ProvisionerSettings};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::guest::{DryRun, Install};

/// Arguments with which Puppet changes nothing.
pub(super) const DRY: DryRun = DryRun { long: &["noop"], short: "", valued: "", words: &[] };

/// `type = "puppet"`: a manifest, applied in the machine without a server (`puppet apply`).
///
/// Puppet is in the machine, or `install` brings it for the build. Its own configuration there counts, except that its
/// report goes to imgbake alone and to none of the report processors of `puppet.conf`, that `noop` is off, and that no schedule keeps a resource from
/// being applied.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PuppetSpec {
    /// The manifest, beside the template: a file, or a folder whose `.pp` files are read in the order of their names.
    #[schemars(with = "String")]
    pub manifest: Utf8PathBuf,
    /// Folders of modules, in the order in which they are searched; those that the machine has in its
    /// `basemodulepath` come after them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "Vec<String>")]
    pub modules: Vec<Utf8PathBuf>,
    /// Hiera's configuration, a `hiera.yaml`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub hiera_config: Option<Utf8PathBuf>,
    /// The folder of Hiera's data. It is where it is on the host, seen from `hiera_config`: a relative `datadir` that
    /// is right there is right in the machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub hiera_data: Option<Utf8PathBuf>,
    /// Further facts: texts, numbers, lists, tables. They may be sensitive.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub facts: BTreeMap<String, Value>,
    /// `--environment`. One that the machine does not have is empty.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub environment: Option<String>,
    /// `--certname`: the name of the node. Default: the machine's full name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certname: Option<String>,
    /// Further arguments of `puppet apply`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub args: Vec<String>,
    /// Environment variables of Puppet.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
    /// Whether, and how, Puppet is installed in the machine where it is missing; it is taken out again before the seal.
    /// Default: it must be there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub install: Option<Install>,
    /// How long it may take. Default: `1h`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Span>,
    /// The program in the machine. Default: `puppet` in `PATH`, else `/opt/puppetlabs/bin/puppet`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub puppet_bin: Option<String>,
}

impl ProvisionerSettings for PuppetSpec {
    const SENSITIVE: &'static [&'static str] = &["facts", "env"];
    const RESULTS: bool = true;
    const CONVERGE: Converge = Converge::Once;
    const SHUFFLES: bool = true;

    fn check(settings: &Map<String, Value>) -> Vec<Mistake> {
        let lists = ["modules", "args"].iter().filter_map(|key| not_empty(settings, key));
        let data = (settings.contains_key("hiera_data") && !settings.contains_key("hiera_config"))
            .then(|| {
                let message = "`hiera_data` has no meaning without `hiera_config`";
                Mistake::new("missing-key", At::key("hiera_data"), message)
                    .help("name the `hiera.yaml` that says what is in it: hiera_config = \"…\"")
            });
        lists.chain(data).chain(common(settings)).collect()
    }

    fn host_paths(&self) -> Vec<HostPath> {
        let modules = (0..self.modules.len()).map(|at| format!("/modules/{at}"));
        let config = self.hiera_config.iter().map(|_| HostPath::read("/hiera_config"));
        let data = self.hiera_data.iter().map(|_| HostPath::read_sources("/hiera_data", &[]));
        std::iter::once(HostPath::read_sources("/manifest", &[]))
            .chain(modules.map(|at| HostPath::read_sources(&at, &[])))
            .chain(config)
            .chain(data)
            .collect()
    }
}

/// `type = "puppet-agent"`: a run of the machine's Puppet agent against a server.
///
/// Puppet is in the machine, or `install` brings it for the build. Its own configuration there counts, its `report` among
/// it, except that `noop` is off, and that no schedule keeps a resource from being applied. Keys and certificates that are
/// in its `ssldir` there are used and left there, for seal's `agent-keys` to take out; those that the run makes are in
/// memory, and in no image. A server signs one certificate for a name: at the next build, clean that name on the server,
/// or give another `certname`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PuppetAgentSpec {
    /// `--server`: the server's name.
    pub server: String,
    /// `--certname`: the name of the node and of its certificate. Default: the machine's full name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certname: Option<String>,
    /// `--environment`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub environment: Option<String>,
    /// How often to ask whether the certificate is signed, until `timeout` ends. Default: not at all; a server that
    /// does not sign at once fails the step.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waitforcert: Option<Span>,
    /// Further arguments of `puppet agent`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub args: Vec<String>,
    /// Environment variables of Puppet; `FACTER_NAME` is a fact. They may be sensitive.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
    /// Whether, and how, Puppet is installed in the machine where it is missing; it is taken out again before the seal.
    /// Default: it must be there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub install: Option<Install>,
    /// How long it may take. Default: `1h`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Span>,
    /// The program in the machine. Default: `puppet` in `PATH`, else `/opt/puppetlabs/bin/puppet`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub puppet_bin: Option<String>,
}

impl ProvisionerSettings for PuppetAgentSpec {
    const SENSITIVE: &'static [&'static str] = &["env"];
    const RESULTS: bool = true;
    const CONVERGE: Converge = Converge::Once;

    fn check(settings: &Map<String, Value>) -> Vec<Mistake> {
        let server = settings.get("server").and_then(Value::as_str).filter(|name| name.is_empty());
        let server = server.map(|_| {
            Mistake::new("bad-value", At::value("server"), "`server` is empty")
                .help("the server's name, as its certificate has it")
        });
        server.into_iter().chain(not_empty(settings, "args")).chain(common(settings)).collect()
    }
}

/// What both kinds have.
fn common(settings: &Map<String, Value>) -> Vec<Mistake> {
    let text = |key| settings.get(key).and_then(Value::as_str);
    let is_word = |name: &str| {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        !name.is_empty() && name.bytes().all(plain)
    };
    let environment = text("environment").filter(|name| !is_word(name)).map(|name| {
        let message = format!("`{name}` is not the name of an environment");
        Mistake::new("bad-value", At::value("environment"), message).help("letters, digits and `_`")
    });
    let certname = text("certname")
        .filter(|name| name.is_empty() || name.bytes().any(|byte| byte.is_ascii_uppercase()))
        .map(|name| {
            let message = format!("`{name}` is not the name of a certificate");
            Mistake::new("bad-value", At::value("certname"), message)
                .help("a name without capital letters")
        });
    let others = environment.into_iter().chain(certname).chain(absolute(settings, "puppet_bin"));
    others.chain(DRY.mistakes(settings)).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn mistakes_are_found_before_any_machine() {
        let apply = |settings: Value| PuppetSpec::check(settings.as_object().unwrap());
        for (settings, message) in [
            (json!({"manifest": "a.pp"}), ""),
            (json!({"manifest": "a.pp", "environment": "test_1", "certname": "web.example"}), ""),
            (json!({"environment": null, "certname": null, "puppet_bin": null, "args": null}), ""),
            (json!({"modules": []}), "`modules` is empty"),
            (json!({"hiera_data": "data"}), "`hiera_data` has no meaning without `hiera_config`"),
            (json!({"environment": "a-b"}), "`a-b` is not the name of an environment"),
            (json!({"certname": "Web"}), "`Web` is not the name of a certificate"),
            (
                json!({"puppet_bin": "bin/puppet"}),
                "`puppet_bin` is a path in the machine and must be absolute",
            ),
        ] {
            let found: Vec<_> =
                apply(settings.clone()).into_iter().map(|one| one.message).collect();
            assert_eq!(found.join("\n"), message, "{settings}");
        }
        let found = PuppetAgentSpec::check(json!({"server": "", "args": []}).as_object().unwrap());
        assert_eq!(found.len(), 2, "{found:?}");
    }

    #[test]
    fn what_it_reads_decides_its_key() {
        let settings = json!({"manifest": "a.pp", "modules": ["m", "n"], "hiera_config": "h", "hiera_data": "d"});
        let spec: PuppetSpec = serde_json::from_value(settings).unwrap();
        let paths: Vec<String> = spec.host_paths().into_iter().map(|path| path.pointer).collect();
        assert_eq!(
            paths,
            ["/manifest", "/modules/0", "/modules/1", "/hiera_config", "/hiera_data"]
        );
    }
}
