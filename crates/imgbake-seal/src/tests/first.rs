//! The first phase: what it removes, what it leaves, and what skipping does.

use std::os::unix::fs::{PermissionsExt, symlink};

use super::tree::{KEY, Machine, SHELLS, Shell, spec};
use crate::operations::OPERATIONS;
use crate::report::PhaseReport;

/// How a file shall be afterwards.
#[derive(Debug, Clone, Copy)]
enum After {
    Gone,
    Is(&'static str),
}
use After::{Gone, Is};

/// Operation, path, what it holds, what it holds afterwards.
const RESIDUES: &[(&str, &str, &str, After)] = &[
    ("machine-id", "etc/machine-id", "0123456789abcdef0123456789abcdef\n", Is("")),
    ("dbus-id", "var/lib/dbus/machine-id", "0123456789abcdef0123456789abcdef\n", Gone),
    ("ssh-host-keys", "etc/ssh/ssh_host_rsa_key", "private", Gone),
    (
        "iscsi-initiator",
        "etc/iscsi/initiatorname.iscsi",
        "## DO NOT EDIT\nInitiatorName=iqn.1993-08.org.debian:01:abcdef\n",
        Is("GenerateName=yes\n"),
    ),
    ("nvme-host", "etc/nvme/hostnqn", "nqn.2014-08.org.nvmexpress:uuid:1\n", Gone),
    ("nvme-host", "etc/nvme/hostid", "1\n", Gone),
    ("default-certificate", "etc/ssl/private/ssl-cert-snakeoil.key", "private", Gone),
    ("default-certificate", "etc/ssl/certs/ssl-cert-snakeoil.pem", "public", Gone),
    ("agent-keys", "etc/puppetlabs/puppet/ssl/private_keys/a.pem", "private", Gone),
    ("agent-keys", "etc/salt/pki/minion/minion.pem", "private", Gone),
    ("agent-keys", "etc/salt/minion_id", "build\n", Gone),
    ("agent-keys", "etc/salt/pki/proxy/minion.pem", "private", Gone),
    ("agent-keys", "etc/puppet/ssl/certs/ca.pem", "public", Gone),
    ("agent-keys", "var/lib/puppet/ssl/private_keys/a.pem", "private", Gone),
    ("agent-keys", "home/web/.puppetlabs/etc/puppet/ssl/private_keys/a.pem", "private", Gone),
    ("agent-keys", "etc/chef/client.pem", "private", Gone),
    ("agent-keys", "etc/cinc/validation.pem", "private", Gone),
    ("agent-caches", "var/cache/puppet/state/last_run_report.yaml", "x", Gone),
    ("agent-caches", "var/cache/puppet/public/last_run_summary.yaml", "x", Gone),
    ("agent-caches", "var/cache/puppet/clientbucket/a/b/contents", "x", Gone),
    ("agent-caches", "var/lib/puppet/client_data/catalog/build.json", "x", Gone),
    ("agent-caches", "opt/puppetlabs/puppet/cache/reports/build/1.yaml", "x", Gone),
    ("agent-caches", "var/cache/salt/minion/proc/1", "x", Gone),
    ("agent-caches", "var/chef/backup/etc/motd.chef-1", "x", Gone),
    ("agent-caches", "var/cinc/nodes/build.json", "{\n \"automatic\": {}\n}", Gone),
    ("agent-caches", "root/.ansible/tmp/ansible-tmp-1/AnsiballZ_copy.py", "x", Gone),
    ("agent-caches", "home/web/.ansible_async/123.4", "{}", Gone),
    ("agent-caches", "home/web/.ansible/tmp/x", "x", Gone),
    ("home-credentials", "root/.ansible/galaxy_token", "token: x\n", Gone),
    (
        "wireguard-keys",
        "etc/wireguard/wg0.conf",
        "[Interface]\nPrivateKey = yAnz5TF+lXXJte14tji3zlMNq+hd2rYUIgJBgB3fBmk=\nListenPort = 1\n",
        Is("[Interface]\nListenPort = 1\n"),
    ),
    (
        "wireguard-keys",
        "etc/wireguard/private.key",
        "yAnz5TF+lXXJte14tji3zlMNq+hd2rYUIgJBgB3fBmk=\n",
        Gone,
    ),
    (
        "package-credentials",
        "etc/apt/auth.conf.d/team.conf",
        "machine h login u password p\n",
        Gone,
    ),
    (
        "package-credentials",
        "etc/apt/sources.list.d/team.list",
        "deb https://u:p@h/debian x main\ndeb http://h/a@b x main\n",
        Is("deb https://h/debian x main\ndeb http://h/a@b x main\n"),
    ),
    (
        "package-credentials",
        "home/web/.config/pip/pip.conf",
        "[global]\nindex-url = https://token@h/simple\nfind-links = git+ssh://git@h/x http://u:p@i\n",
        Is("[global]\nindex-url = https://h/simple\nfind-links = git+ssh://git@h/x http://i\n"),
    ),
    ("ssh-host-keys", "etc/ssh/ssh_host_rsa_key.pub", "public", Gone),
    (
        "build-user",
        "etc/shadow",
        "root:*:1::::::\ndeb.ian:!:1::::::\ndebxian:!:1::::::\n",
        Is("root:*:1::::::\ndebxian:!:1::::::\n"),
    ),
    (
        "build-user",
        "etc/group",
        "sudo:x:27:a,deb.ian\nadm:x:4:deb.ian,b\ndeb.ian:x:1000:\nusers:x:100:deb.ian\n",
        Is("sudo:x:27:a\nadm:x:4:b\nusers:x:100:\n"),
    ),
    ("build-user", "etc/gshadow", "sudo:*:deb.ian:a,deb.ian\ndeb.ian:!::\n", Is("sudo:*::a\n")),
    ("build-user", "etc/subuid", "deb.ian:100000:65536\n", Is("")),
    (
        "build-user",
        "etc/sudoers.d/90-cloud-init-users",
        "# Created by cloud-init\n\n# User rules for deb.ian\ndeb.ian ALL=(ALL) NOPASSWD:ALL\n",
        Gone,
    ),
    (
        "build-user",
        "etc/sudoers.d/team",
        "deb.ian ALL=(ALL) ALL\nops ALL=(ALL) ALL\n",
        Is("ops ALL=(ALL) ALL\n"),
    ),
    ("build-user", "home/deb.ian/.profile", "x", Gone),
    ("build-user", "var/mail/deb.ian", "From a\n", Gone),
    ("cloud-init", "var/lib/cloud/instances/i-1/user-data.txt", "#cloud-config", Gone),
    ("cloud-init", "var/lib/cloud/data/result.json", "{}", Gone),
    ("cloud-init", "var/lib/cloud/seed/nocloud/user-data", "x", Gone),
    ("cloud-init", "var/log/cloud-init-output.log", "x", Gone),
    ("cloud-init", "etc/ssh/sshd_config.d/50-cloud-init.conf", "x", Gone),
    ("cloud-init", "etc/netplan/50-cloud-init.yaml", "x", Gone),
    ("cloud-init", "etc/systemd/network/10-cloud-init-eth0.network", "x", Gone),
    (
        "cloud-init",
        "etc/sysconfig/network-scripts/ifcfg-eth0",
        "# Created by cloud-init on\n",
        Gone,
    ),
    ("dhcp-leases", "var/lib/dhcp/dhclient.eth0.leases", "lease {}", Gone),
    ("dhcp-leases", "var/lib/NetworkManager/internal-1-eth0.lease", "x", Gone),
    ("udev-net-rules", "etc/udev/rules.d/70-persistent-net.rules", "x", Gone),
    ("hostname", "etc/hostname", "imgbake-build\n", Is("localhost\n")),
    (
        "hosts",
        "etc/hosts",
        "127.0.0.1 localhost\n127.0.1.1 imgbake-build.lan imgbake-build\n127.0.1.2 imgbake-build web\n::1 localhost imgbake-build\n127.0.0.2 ximgbake-build\n",
        Is("127.0.0.1 localhost\n127.0.1.2 web\n::1 localhost\n127.0.0.2 ximgbake-build\n"),
    ),
    ("resolv-conf", "etc/resolv.conf", "nameserver 10.0.2.3\n", Is("")),
    ("random-seed", "var/lib/systemd/random-seed", "seed", Gone),
    ("random-seed", "boot/efi/loader/random-seed", "seed", Gone),
    ("credential-secret", "var/lib/systemd/credential.secret", "x", Gone),
    ("timesync-clock", "var/lib/systemd/timesync/clock", "", Gone),
    ("logs", "var/log/syslog", "line\n", Is("")),
    ("logs", "var/log/nginx/access.log", "line\n", Is("")),
    ("logs", "var/log/nginx/access.log.1", "line\n", Gone),
    ("logs", "var/log/dpkg.log.2.gz", "x", Gone),
    ("journal", "var/log/journal/0123/system.journal", "x", Gone),
    ("wtmp", "var/log/wtmp", "x", Is("")),
    ("wtmp", "var/log/btmp.1", "x", Gone),
    ("crash-dumps", "var/crash/_usr_bin_x.crash", "x", Gone),
    ("mail", "var/mail/root", "From a\n", Gone),
    ("shell-histories", "root/.bash_history", "ls\n", Gone),
    ("shell-histories", "home/web/.local/share/fish/fish_history", "ls\n", Gone),
    ("shell-histories", "var/lib/postgresql/.psql_history", "select\n", Gone),
    ("home-credentials", "root/.aws/credentials", "x", Gone),
    ("home-credentials", "root/.netrc", "x", Gone),
    ("home-credentials", "home/web/.ssh/id_ed25519", "x", Gone),
    (
        "home-credentials",
        "home/web/.npmrc",
        "registry=https://r\n//r/:_authToken=t\n",
        Is("registry=https://r\n"),
    ),
    ("home-credentials", "home/web/.cargo/credentials.toml", "x", Gone),
    (
        "proxies",
        "etc/apt/apt.conf.d/80proxy",
        "Acquire::http::Proxy \"http://u:p@h:3128\";\n",
        Gone,
    ),
    (
        "proxies",
        "etc/apt/apt.conf",
        "Acquire { http { Proxy \"http://h\"; };\nRetries \"3\"; };\n",
        Is("Acquire { http {  };\nRetries \"3\"; };\n"),
    ),
    (
        "proxies",
        "etc/environment",
        "PATH=/bin\nHTTPS_PROXY=http://u:p@h\nno_proxy=x\n",
        Is("PATH=/bin\n"),
    ),
    (
        "proxies",
        "etc/dnf/dnf.conf",
        "[main]\nproxy=http://h\nproxy_password=p\nbest=1\n",
        Is("[main]\nbest=1\n"),
    ),
    (
        "build-repositories",
        "etc/apt/sources.list.d/build.list",
        "# imgbake: build-only\ndeb http://x y main\n",
        Gone,
    ),
    (
        "build-repositories",
        "etc/apt/sources.list",
        "deb http://a b main\ndeb http://x y main # imgbake: build-only\n",
        Is("deb http://a b main\n"),
    ),
    (
        "build-repositories",
        "etc/apt/sources.list.d/new.imgbake-build-only.sources",
        "Types: deb\nURIs: https://build_only.example/debian/\n  http://a/shared/ http://a/sha\nSuites: x\n",
        Gone,
    ),
    ("build-repositories", "etc/apt/keyrings/new.imgbake-build-only.asc", "key", Gone),
    (
        "build-repositories",
        "etc/apk/repositories",
        "http://a/main\n# imgbake build-only\nhttp://b/main\n# own\nhttp://c/main\n",
        Is("http://a/main\n# own\nhttp://c/main\n"),
    ),
    ("package-caches", "var/cache/apt/archives/a_1_all.deb", "x", Gone),
    ("package-caches", "var/cache/apt/pkgcache.bin", "x", Gone),
    ("package-lists", "var/lib/apt/lists/x_Packages", "x", Gone),
    ("backup-files", "etc/passwd-", "x", Gone),
    ("backup-files", "etc/gshadow-", "x", Gone),
    ("swap-files", "swapfile", "pages", Gone),
    ("tmp", "tmp/a/b c", "x", Gone),
    ("tmp", "var/tmp/.hidden", "x", Gone),
];

/// A provisioner's own files, and what only looks like a residue.
const KEPT: &[(&str, &str)] = &[
    ("etc/sudoers.d/README", "# comments only\n"),
    ("etc/ssh/sshd_config", "PasswordAuthentication no\n"),
    ("etc/ssh/sshd_config.d/10-own.conf", "x"),
    ("var/lib/cloud/scripts/per-boot/own.sh", "#!/bin/sh\n"),
    ("etc/netplan/60-own.yaml", "x"),
    ("etc/sysconfig/network-scripts/ifcfg-eth1", "# by hand\n"),
    ("etc/mailname", "mail.example.org\n"),
    ("root/.ssh/authorized_keys.d", "x"),
    ("root/.profile", "x"),
    ("root/.config/other", "x"),
    ("home/web/.ssh/config", "Host x\n"),
    ("etc/apt/apt.conf.d/20own", "APT::Install-Recommends \"0\";\n"),
    ("etc/apt/sources.list.d/own.sources", "Types: deb\n"),
    ("etc/profile.d/own.sh", "export EDITOR=vi\n"),
    ("var/lib/apt/lists/lock", ""),
    ("etc/apt/keyrings/own.asc", "key"),
    (
        "etc/apt/sources.list.d/shared.list",
        "deb http://a/shared x main\n# deb http://a/sha x main\n",
    ),
    ("var/lib/puppet/facts.d/own.txt", "role=web\n"),
    ("var/cache/puppet/state/agent_disabled.lock", "{}"),
    ("etc/puppet/puppet.conf", "[main]\nserver = p\n"),
    ("etc/salt/minion.d/own.conf", "master: s\n"),
    ("etc/salt/pki/minion/minion_master.pub", "public"),
    ("etc/chef/client.rb", "chef_server_url 'https://c'\n"),
    ("var/chef/cookbooks/own/metadata.rb", "name 'own'\n"),
    ("var/chef/nodes/own.json", "{\"run_list\": [\"recipe[own]\"]}\n"),
    ("etc/puppet/ssl/ca/ca_key.pem", "private"),
    ("etc/salt/pki/master/master.pem", "private"),
    ("var/cache/salt/master/jobs/1", "x"),
    ("etc/ansible/facts.d/own.fact", "{}"),
    ("root/.ansible/roles/own/tasks/main.yml", "[]\n"),
    ("var/backups/dpkg.status.0", "x"),
    ("var/cache/apt/archives/lock", ""),
    ("home/web/index.html", "x"),
    ("opt/app/machine-id", "x"),
    ("lib/open-iscsi/startup-checks.sh", "x"),
    ("etc/ssl/private/own.key", "x"),
    ("etc/puppetlabs/puppetserver/ca/ca_key.pem", "x"),
    ("etc/wireguard/public.key", "yAnz5TF+lXXJte14tji3zlMNq+hd2rYUIgJBgB3fBmk=\n"),
    ("etc/apt/sources.list.d/own.list", "deb http://h/debian x main\n"),
];

fn machine(shell: Shell) -> Machine {
    let machine = Machine::new(shell);
    for (_, path, text, _) in RESIDUES {
        machine.write(path, text);
    }
    for (path, text) in KEPT {
        machine.write(path, text);
    }
    machine.write(
        "etc/passwd",
        "root:x:0:0:root:/root:/bin/sh\ndeb.ian:x:1000:1000::/home/deb.ian:/bin/sh\nweb:x:1001:1001::/home/web:/bin/sh\n\
         postgres:x:105:110::/var/lib/postgresql:/bin/sh\nnobody:x:65534:65534::/nonexistent:/bin/false\n",
    );
    machine
}

#[test]
fn takes_every_residue_and_nothing_else() {
    for shell in SHELLS {
        let machine = machine(shell);
        let reported = machine.seal(&spec(&[], &["package-lists"]));
        for (operation, path, _, after) in RESIDUES {
            let expected = match after {
                Gone => None,
                Is(text) => Some((*text).to_owned()),
            };
            assert_eq!(machine.read(path), expected, "{shell:?} {operation} {path}");
        }
        for (path, text) in KEPT {
            assert_eq!(machine.read(path).as_deref(), Some(*text), "{shell:?} {path}");
        }
        let report = PhaseReport::parse(&reported);
        assert!(report.ended && report.failure.is_none() && report.notes.is_empty(), "{reported}");
        for (operation, path, _, _) in RESIDUES {
            let removal = report.removals.iter().find(|removal| removal.operation == *operation);
            assert!(
                removal.is_some_and(|removal| removal.removed > 0),
                "{shell:?} {operation} {path}: {reported}"
            );
        }
        assert!(machine.path("var/log/nginx").is_dir() && machine.path("var/log/journal").is_dir());
        assert!(!machine.path("home/deb.ian").exists() && !machine.path("root/.aws").exists());
        assert!(!machine.read("etc/passwd").expect("is there").contains("deb.ian"));
    }
}

#[test]
fn reports_paths_and_bytes() {
    let reported = machine(Shell::Dash).seal(&spec(&[], &[]));
    let report = PhaseReport::parse(&reported);
    let of =
        |name: &str| report.removals.iter().find(|removal| removal.operation == name).expect("ran");
    assert_eq!((of("machine-id").removed, of("machine-id").bytes), (1, 33));
    assert_eq!(of("machine-id").paths, ["/etc/machine-id"]);
    assert_eq!(of("ssh-host-keys").bytes, 13);
    assert_eq!(of("tmp").paths, ["/tmp/a", "/tmp/a/b c", "/var/tmp/.hidden"]);
    assert!(report.removals.iter().all(|removal| removal.operation != "package-lists"));
}

#[test]
fn a_skipped_operation_touches_nothing() {
    for operation in OPERATIONS.iter().map(|operation| operation.name) {
        let machine = machine(Shell::Dash);
        machine.seal(&spec(&[operation], &["package-lists"]));
        // A home goes as a whole, whatever is left in it.
        let all = RESIDUES
            .iter()
            .filter(|(name, path, ..)| *name == operation && *path != "var/mail/deb.ian");
        for (_, path, text, _) in all {
            assert_eq!(machine.read(path).as_deref(), Some(*text), "{operation} {path}");
        }
    }
}

#[test]
fn authorized_keys_lose_only_the_builds_line() {
    for shell in SHELLS {
        let machine = machine(shell);
        let build = format!("no-pty,command=\"echo\" ssh-ed25519 {KEY} build\n");
        machine.write("root/.ssh/authorized_keys", &build);
        machine
            .write("home/web/.ssh/authorized_keys", &format!("ssh-ed25519 AAAAother ops\n{build}"));
        machine.write("home/web/.ssh/authorized_keys2", "ssh-ed25519 AAAAother ops\n");
        std::fs::remove_file(machine.path("root/.ssh/authorized_keys.d")).expect("removes");
        machine.seal(&spec(&[], &[]));
        assert_eq!(
            machine.read("home/web/.ssh/authorized_keys").as_deref(),
            Some("ssh-ed25519 AAAAother ops\n")
        );
        assert!(machine.path("home/web/.ssh/authorized_keys2").exists());
        assert!(!machine.path("root/.ssh").exists());
    }
}

#[test]
fn a_provisioners_names_stay() {
    for shell in SHELLS {
        let machine = machine(shell);
        machine.write("etc/hostname", "web-1\n");
        machine.write("etc/hosts", "127.0.0.1 localhost web-1\n# own\n");
        machine.write("etc/resolv.conf", "nameserver 192.0.2.1\n");
        machine.seal(&spec(&[], &[]));
        assert_eq!(machine.read("etc/hostname").as_deref(), Some("web-1\n"));
        assert_eq!(
            machine.read("etc/hosts").as_deref(),
            Some("127.0.0.1 localhost web-1\n# own\n")
        );
        assert_eq!(machine.read("etc/resolv.conf").as_deref(), Some("nameserver 192.0.2.1\n"));
    }
}

#[test]
fn lists_of_the_builds_repositories_go_with_them() {
    for shell in SHELLS {
        let machine = machine(shell);
        let lists = [
            ("build%5fonly.example_debian_dists_x_InRelease", false),
            ("x_dists_y_InRelease", false),
            ("a_shared_dists_x_InRelease", true),
            ("a_sha_dists_x_InRelease", false),
            ("a_dists_b_InRelease", true),
        ];
        for (list, _) in lists {
            machine.write(&format!("var/lib/apt/lists/{list}"), "x");
        }
        machine.seal(&spec(&[], &[]));
        for (list, stays) in lists {
            let is_there = machine.path("var/lib/apt/lists").join(list).exists();
            assert_eq!(is_there, stays, "{shell:?} {list}");
        }
    }
}

#[test]
fn links_are_not_followed_out_of_their_place() {
    let machine = machine(Shell::Dash);
    for link in ["etc/resolv.conf", "var/lib/dbus/machine-id"] {
        std::fs::remove_file(machine.path(link)).expect("removes");
        symlink("../run/x", machine.path(link)).expect("links");
    }
    symlink(machine.path("home/web"), machine.path("tmp/link")).expect("links");
    symlink(machine.path("opt/app"), machine.path("var/log/app")).expect("links");
    machine.seal(&spec(&[], &[]));
    assert!(
        machine.path("etc/resolv.conf").is_symlink()
            && machine.path("var/lib/dbus/machine-id").is_symlink()
    );
    assert!(!machine.path("tmp/link").is_symlink() && machine.path("home/web/index.html").exists());
    assert_eq!(machine.read("opt/app/machine-id").as_deref(), Some("x"));
}

#[test]
fn emptied_files_keep_their_mode() {
    let machine = machine(Shell::Busybox);
    let mode =
        |path: &str| machine.path(path).metadata().expect("is there").permissions().mode() & 0o777;
    for (path, bits) in [
        ("var/log/btmp", 0o660),
        ("var/log/syslog", 0o640),
        ("etc/machine-id", 0o444),
        ("etc/shadow", 0o600),
    ] {
        machine.write("var/log/btmp", "x");
        std::fs::set_permissions(machine.path(path), std::fs::Permissions::from_mode(bits))
            .expect("sets the mode");
    }
    machine.seal(&spec(&[], &[]));
    let modes = ["var/log/syslog", "etc/machine-id", "etc/shadow"].map(mode);
    assert_eq!(modes, [0o640, 0o444, 0o600]);
}

#[test]
fn swap_that_fstab_names_is_made_anew() {
    for shell in SHELLS {
        let machine = machine(shell);
        machine.write("etc/fstab", "/swap.img none swap sw 0 0\n");
        machine.write("swap.img", &"page".repeat(4096));
        machine.write("proc/swaps", "Filename Type Size Used Priority\n/swap.img file 12 0 -2\n/swapfile file 4 0 -3\n/dev/vda9 partition 4 0 -4\n");
        let reported = machine.seal(&spec(&[], &[]));
        assert_eq!(machine.read("swap.img"), Some("\0".repeat(16384)));
        assert!(!machine.path("swapfile").exists());
        assert!(machine.calls().contains(&"mkswap /swap.img".to_owned()), "{:?}", machine.calls());
        assert!(reported.contains("note\tthe swap partition /dev/vda9"), "{reported}");
    }
}

#[test]
fn root_as_the_builds_user_stays() {
    let machine = Machine::new(Shell::Dash);
    let reported = machine.seal(&spec(&[], &[]));
    assert!(PhaseReport::parse(&reported).ended);
    assert_eq!(machine.read("etc/passwd").as_deref(), Some("root:x:0:0:root:/root:/bin/sh\n"));
    assert!(machine.path("root").is_dir());
    assert_eq!(machine.read("etc/machine-id").as_deref(), Some(""));
}
