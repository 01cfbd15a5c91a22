//! The library of `provisioners/` on a real Debian: a role of Ansible, a module of Puppet and a state of Salt each
//! configure nginx in one run, report truly what they did, and leave nothing of themselves in the image.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use camino::Utf8PathBuf;
use imgbake_testkit::{EventLog, TestHome, lock_all_guests, repository};
use serde_json::Value;

/// What the images are made from; it has lists of packages, which each of them would get otherwise.
fn base(home: &TestHome) {
    let template = home.write(
        "base.toml",
        "[image]\nname = \"base\"\n\
         [source]\nbootstrap = { distribution = \"debian\", suite = \"bookworm\", packages = [\"curl\"] }\n\
         [builder.qemu]\nmemory = \"1GiB\"\ndisk = \"4GiB\"\n\
         [[provision]]\nname = \"lists\"\ntype = \"shell\"\n\
         inline = [\"apt-get -q -o Acquire::Languages=none update\"]\n\
         [verify]\nenabled = false\n[publish]\nversion = \"1\"\n",
    );
    home.build(&[template.as_str()]).exits(0);
}

/// A template of an image that serves a page; `tests` are names and commands.
fn web(home: &TestHome, name: &str, steps: &str, tests: &[(&str, &str)]) -> Utf8PathBuf {
    let mut text = format!(
        "[image]\nname = \"{name}\"\n[source]\nimage = \"base:1\"\n[builder.qemu]\nmemory = \"1GiB\"\n\
         {steps}\n[verify]\nclones = 1\n[publish]\nversion = \"1\"\n"
    );
    let served = [
        ("serves the page", "curl -fsS localhost | grep -qx 'a page'"),
        ("nginx is there", "dpkg-query -W -f '${db:Status-Status}' nginx | grep -qx installed"),
    ];
    for (name, run) in served.iter().chain(tests) {
        let _ = write!(text, "[[test]]\nname = \"{name}\"\nrun = '''{run}'''\n");
    }
    home.write(&format!("{name}.toml"), &text)
}

/// What a step of a version did, after the proof that a second run of it changed nothing.
fn converged(home: &TestHome, image: &str, step: &str) -> Value {
    let steps = home.run(&["show", &format!("{image}:1"), "--results", "--json"]).json();
    let step = steps.as_array().unwrap().iter().find(|one| one["name"] == step).unwrap().clone();
    let proof = &step["convergence"];
    assert_eq!(proof["converged"], true, "{proof:#}");
    assert_eq!(proof["place"], "copy", "{proof:#}");
    assert_eq!(proof["counts"]["changed"], 0, "{proof:#}");
    assert!(proof["counts"]["unchanged"].as_u64() > Some(5), "{proof:#}");
    step
}

/// What a step counts.
fn count(step: &Value, outcome: &str) -> u64 {
    let listed = step["resources"].as_array().unwrap().iter();
    let listed = listed.filter(|resource| resource["outcome"] == outcome).count() as u64;
    assert_eq!(step["counts"][outcome], listed, "{outcome}: {step:#}");
    listed
}

/// The numbers in the words of a line, `NAME=NUMBER`.
fn numbers(line: &str) -> BTreeMap<&str, u64> {
    let pairs = line.split_whitespace().filter_map(|word| word.split_once('='));
    pairs.filter_map(|(name, number)| Some((name, number.parse().ok()?))).collect()
}

/// Ansible's own count, at the end of its output.
fn recap(events: &EventLog, step: &str) -> BTreeMap<String, u64> {
    let lines = events.lines(step, "default ");
    let line = lines.iter().map(|(_, line)| *line).find(|line| line.contains("unreachable="));
    numbers(line.unwrap()).into_iter().map(|(name, number)| (name.to_owned(), number)).collect()
}

const PLAYBOOK: &str = r#"
- hosts: all
  roles: [baseline, nginx, node_agent]
  vars:
    baseline_users: [{name: ana, key: "ssh-ed25519 AAAA ana"}]
"#;

const MANIFEST: &str = r#"
class { 'baseline':
  users => { 'ana' => 'ssh-ed25519 AAAA ana' },
}
class { 'nginx':
  page => "a page\n",
}
include node_agent
"#;

/// What the library brings beside nginx, for users that are named as in [`PLAYBOOK`] and [`MANIFEST`].
const OTHERS: [(&str, &str); 5] = [
    ("the administrator has a key", "grep -qx 'ssh-ed25519 AAAA ana' ~ana/.ssh/authorized_keys"),
    ("the administrator has sudo", "su ana -c 'sudo -n true'"),
    ("ssh takes no passwords", "sshd -T | grep -qx 'passwordauthentication no'"),
    ("apt upgrades nothing by itself", "! systemctl is-enabled apt-daily.timer"),
    ("figures are served", "curl -fsS localhost:9100/metrics | grep -q ^node_boot_time_seconds"),
];

#[test]
#[ignore = "two images that install packages take eight minutes under emulation"]
fn a_role_and_a_module_are_done_in_one_run() {
    let home = TestHome::new();
    let _lock = lock_all_guests();
    base(&home);
    let library = repository().join("provisioners");
    home.write("site.yml", PLAYBOOK);
    let role = format!(
        "[[provision]]\nname = \"site\"\ntype = \"ansible\"\nplaybook = \"site.yml\"\n\
         roles_path = [\"{library}/ansible/roles\"]\nextra_vars = {{ nginx_page = \"a page\\n\" }}\n"
    );
    let gone = [(
        "nothing of Ansible is left",
        "! find / -xdev -name '*ansible*' ! -path '*/cloudinit/*' ! -path '*/cloud-init/*' | grep .",
    )];
    let ansible = web(&home, "ansible", &role, &[&OTHERS[..], &gone].concat());

    home.write("site.pp", MANIFEST);
    // Puppet's own count is in the machine, until it is taken out.
    let module = format!(
        "[[provision]]\nname = \"site\"\ntype = \"puppet\"\nmanifest = \"site.pp\"\n\
         modules = [\"{library}/puppet/modules\"]\ninstall = true\n\
         [[provision]]\nname = \"summary\"\ntype = \"shell\"\ninline = ['''\
         find / -xdev -name last_run_summary.yaml -exec sed -n '/^resources:/,/^[a-z]/s/^  \\(.*\\): /own \\1=/p' {{}} +''']\n"
    );
    let gone = [
        (
            "Puppet is gone",
            "! command -v puppet && ! find / -xdev -name '*puppet*' ! -path '*/cloudinit/*' | grep . && ! grep puppet /etc/passwd /etc/group",
        ),
        ("what it pulled in is gone", "! dpkg -l | grep -E '^.. +(puppet|facter|ruby|libruby)'"),
    ];
    let puppet = web(&home, "puppet", &module, &[&OTHERS[..], &gone].concat());

    let events = home.build(&[ansible.as_str(), puppet.as_str(), "--parallel", "2"]).exits(0);

    let step = converged(&home, "ansible", "site");
    let own = recap(&events.of_image("ansible"), "site");
    assert!(own["changed"] > 10, "{own:?}");
    assert_eq!(count(&step, "changed"), own["changed"]);
    assert_eq!(count(&step, "unchanged"), own["ok"] - own["changed"]);
    assert_eq!(count(&step, "skipped"), own["skipped"]);
    assert_eq!(count(&step, "failed"), own["failed"]);

    let step = converged(&home, "puppet", "site");
    let events = events.of_image("puppet");
    let own = events.lines("summary", "own ").into_iter();
    let own: BTreeMap<&str, u64> = own.flat_map(|(_, line)| numbers(line)).collect();
    assert!(own["changed"] > 10, "{own:?}");
    for outcome in ["changed", "failed", "skipped"] {
        assert_eq!(count(&step, outcome), own[outcome], "{outcome}: {own:?}");
    }
    assert_eq!(home.leftovers(), Vec::<String>::new());
}

#[test]
#[ignore = "pip compiles a part of Salt and installs 240 MB: too long under emulation for every run"]
fn a_state_is_done_in_one_run() {
    let home = TestHome::new();
    let _lock = lock_all_guests();
    base(&home);
    let library = repository().join("provisioners");
    // The way out of this host may have a certificate that only the host knows.
    let state = format!(
        "[[provision]]\nname = \"certificates\"\ntype = \"file\"\n\
         source = \"/etc/ssl/certs/ca-certificates.crt\"\ndestination = \"/root/host-ca.crt\"\n\
         [[provision]]\nname = \"site\"\ntype = \"salt\"\nstates = \"{library}/salt\"\nstate = [\"nginx\"]\n\
         pillar_vars = {{ nginx = {{ page = \"a page\\n\" }} }}\ninstall = true\nenv = {{ PIP_CERT = \"/root/host-ca.crt\" }}\n"
    );
    let gone = [
        (
            "Salt is gone",
            "! command -v salt-call && ! find / -xdev -name '*salt-*' -path '*bin*' | grep .",
        ),
        ("what it pulled in is gone", "! dpkg -l | grep -E '^.. +(gcc|python3-dev|python3-venv) '"),
    ];
    let salt = web(&home, "salt", &state, &gone);
    home.build(&[salt.as_str()]).exits(0);
    let step = converged(&home, "salt", "site");
    assert_eq!((count(&step, "failed"), count(&step, "skipped")), (0, 0));
    let resources = step["resources"].as_array().unwrap().iter();
    let mut kinds: Vec<&str> = resources
        .filter(|one| one["outcome"] == "changed")
        .map(|one| one["type"].as_str().unwrap())
        .collect();
    kinds.sort_unstable();
    assert_eq!(
        kinds,
        [
            "file.absent",
            "file.directory",
            "file.managed",
            "file.managed",
            "file.symlink",
            "pkg.installed",
            "service.running"
        ]
    );
    assert_eq!(home.leftovers(), Vec::<String>::new());
}

#[test]
#[ignore = "the rest of the library: three images with a container runtime take long under emulation"]
fn scripts_and_container_runtimes_are_done_in_one_run() {
    let home = TestHome::new();
    let _lock = lock_all_guests();
    base(&home);
    let library = repository().join("provisioners");
    let script = |name: &str, env: &str| {
        format!(
            "[[provision]]\nname = \"{name}\"\ntype = \"shell\"\nscript = \"{library}/{name}.sh\"\n\
             converge = \"check\"\nenv = {{ {env} }}\n"
        )
    };
    let scripts = [
        script("baseline", "BASELINE_USERS = \"ana ssh-ed25519 AAAA ana\""),
        script("nginx", "NGINX_PAGE = \"a page\""),
        script("node-agent", ""),
        script("container-runtime", ""),
    ];
    let works = |run: &str| format!("{{% raw %}}{run}{{% endraw %}} | grep -qx journald");
    let podman = works("podman info --format '{{.Host.LogDriver}}'");
    let podman = [&OTHERS[..], &[("podman works", podman.as_str())]].concat();
    let docker = works("docker info --format '{{.LoggingDriver}}'");
    let docker = [&OTHERS[..], &[("Docker works", docker.as_str())]].concat();
    let shell = web(&home, "shell", &scripts.concat(), &podman);

    home.write("site.yml", &PLAYBOOK.replace("nginx,", "nginx, container_runtime,"));
    let role = format!(
        "[[provision]]\nname = \"site\"\ntype = \"ansible\"\nplaybook = \"site.yml\"\n\
         roles_path = [\"{library}/ansible/roles\"]\n\
         extra_vars = {{ nginx_page = \"a page\\n\", container_runtime = \"docker\" }}\n"
    );
    let ansible = web(&home, "ansible", &role, &docker);

    home.write("site.pp", &format!("{MANIFEST}include container_runtime\n"));
    let module = format!(
        "[[provision]]\nname = \"site\"\ntype = \"puppet\"\nmanifest = \"site.pp\"\n\
         modules = [\"{library}/puppet/modules\"]\ninstall = true\n"
    );
    let puppet = web(&home, "puppet", &module, &podman);

    let templates = [shell.as_str(), ansible.as_str(), puppet.as_str(), "--parallel", "2"];
    home.build(&templates).exits(0);
    converged(&home, "ansible", "site");
    converged(&home, "puppet", "site");
    let shown = home.run(&["show", "shell:1", "--json"]).json();
    for name in ["baseline", "nginx", "node-agent", "container-runtime"] {
        let stages = shown["stages"].as_array().unwrap();
        let stage = stages.iter().find(|stage| stage["name"] == name).unwrap();
        assert_eq!(stage["report"]["convergence"]["converged"], true, "{name}");
    }
    assert_eq!(home.leftovers(), Vec::<String>::new());
}
