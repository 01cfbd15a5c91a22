//! Users with the tools of Debian; those of busybox are played by scripts.

use std::fs;
use std::os::unix::fs::MetadataExt;

use imgbake_comm::KeyPair;
use imgbake_types::secret::marker;
use serde_json::json;

use super::{Machine, changed, find};

const HASH: &str = "$6$salt$Zq7kLm0pWy9vT3s8uN1xRb5";

#[tokio::test]
async fn a_user_is_as_declared() {
    let machine = Machine::debian();
    machine.guest.job.secrets().add("hash", HASH);
    machine.program("/usr/sbin/visudo", "grep -q ALL= \"$4\"");
    fs::create_dir_all(machine.at("/etc/sudoers.d")).unwrap();
    let settings = json!({
        "user": "deploy.er", "uid": 4321, "groups": ["imgtest-web", "adm"], "shell": "/bin/sh",
        "home": "/srv/it's home", "comment": "The \"deployer\" $HOME, 2", "password": marker("hash"),
        "authorized_keys": ["ssh-ed25519 AAAA a@b", "ssh-ed25519 BBBB it's"], "sudo": "nopasswd",
    });
    let first = machine.converges("user", settings.clone()).await;
    assert_eq!(first, ["group[imgtest-web]", "user[deploy.er]"]);
    let passwd = machine.text("/etc/passwd");
    let line = passwd.lines().find(|line| line.starts_with("deploy.er:")).unwrap();
    assert!(
        line.starts_with("deploy.er:x:4321:4321:")
            && line.ends_with(":The \"deployer\" $HOME, 2:/srv/it's home:/bin/sh"),
        "{line}"
    );
    assert!(machine.text("/etc/shadow").contains(&format!("deploy.er:{HASH}:")));
    for group in ["adm", "imgtest-web"] {
        let groups = machine.text("/etc/group");
        assert!(
            groups
                .lines()
                .any(|line| line.starts_with(&format!("{group}:")) && line.ends_with("deploy.er")),
            "{groups}"
        );
    }
    let keys = machine.at("/srv/it's home/.ssh/authorized_keys");
    assert_eq!(fs::read_to_string(&keys).unwrap(), "ssh-ed25519 AAAA a@b\nssh-ed25519 BBBB it's\n");
    let metadata = fs::metadata(&keys).unwrap();
    assert_eq!((metadata.uid(), metadata.gid(), metadata.mode() & 0o777), (4321, 4321, 0o600));
    assert_eq!(fs::metadata(keys.parent().unwrap()).unwrap().mode() & 0o777, 0o700);
    assert_eq!(machine.text("/etc/sudoers.d/deploy%er"), "deploy.er ALL=(ALL:ALL) NOPASSWD: ALL\n");
    assert_eq!(fs::metadata(machine.at("/etc/sudoers.d/deploy%er")).unwrap().mode() & 0o777, 0o440);

    // One thing after another is changed by hand, and put right.
    for (change, declared, diff) in [
        ("usermod -s /bin/dash deploy.er", settings.clone(), "-shell: /bin/dash\n+shell: /bin/sh"),
        (
            "usermod -c x deploy.er",
            settings.clone(),
            "-comment: x\n+comment: The \"deployer\" $HOME, 2",
        ),
        ("gpasswd -d deploy.er adm", settings.clone(), "-group: not in adm\n+group: in adm"),
        (
            "echo deploy.er:other | chpasswd -e",
            settings.clone(),
            "-password: set\n+password: set anew",
        ),
        (
            "echo x >'/srv/it'\\''s home/.ssh/authorized_keys'",
            settings.clone(),
            "-(not shown)\n+(not shown)",
        ),
        ("chmod 666 /etc/sudoers.d/deploy%er", settings.clone(), "-sudo: 0:0 666\n+sudo: 0:0 440"),
        ("", json!({"user": "deploy.er", "sudo": "none"}), "-sudo: allowed\n+sudo: none"),
        ("", json!({"user": "deploy.er", "sudo": "password"}), "-sudo: absent\n+sudo: 0:0 440"),
    ] {
        machine.sh(change).await;
        let (end, report) = machine.run("user", declared.clone()).await;
        end.unwrap_or_else(|error| panic!("{change}: {error}"));
        let user = find(&report, "user[deploy.er]");
        assert!(user.diff.as_deref().unwrap_or_default().contains(diff), "{change}: {user:?}");
        assert!(!serde_json::to_string(&report).unwrap().contains("Zq7kLm"));
        assert_eq!(changed(&machine.run("user", declared).await.1), [""; 0], "{change}");
    }
    assert!(!machine.guest.comm.commands.lock().unwrap().concat().contains("Zq7kLm"));

    let gone = json!({"user": "deploy.er", "absent": true, "remove_home": true});
    assert_eq!(machine.converges("user", gone).await, ["user[deploy.er]"]);
    assert!(
        !machine.text("/etc/passwd").contains("deploy.er")
            && !machine.at("/srv/it's home").exists()
    );
    assert!(!machine.at("/etc/sudoers.d/deploy%er").exists());
}

#[tokio::test]
async fn no_password_fits_a_new_user() {
    let machine = Machine::debian();
    let shadow = |name: &str| {
        let all = machine.text("/etc/shadow");
        let line = all.lines().find(|line| line.starts_with(&format!("{name}:"))).unwrap();
        line.split(':').nth(1).unwrap().to_owned()
    };
    machine.converges("user", json!({"user": "imgtest-a", "system": true})).await;
    assert_eq!(shadow("imgtest-a"), "*");
    let passwd = machine.text("/etc/passwd");
    let line = passwd.lines().find(|line| line.starts_with("imgtest-a:")).unwrap();
    assert!(
        line.ends_with("/nologin")
            && line.split(':').nth(2).unwrap().parse::<u32>().unwrap() < 1000,
        "{line}"
    );

    assert!(!machine.at("/home/imgtest-a").exists());
    machine.sh("passwd -d imgtest-a").await;
    let (_, report) = machine.run("user", json!({"user": "imgtest-a"})).await;
    assert_eq!(
        find(&report, "user[imgtest-a]").diff.as_deref(),
        Some("-password: empty\n+password: locked")
    );
    machine.sh("echo imgtest-a:kept | chpasswd -e").await;
    assert_eq!(machine.converges("user", json!({"user": "imgtest-a"})).await, [""; 0]);
    assert_eq!(shadow("imgtest-a"), "kept");
}

#[tokio::test]
async fn what_the_tools_refuse_is_reported() {
    let machine = Machine::debian();
    for (settings, part) in [
        (json!({"user": "imgtest", "uid": 0}), "useradd: UID 0 is not unique"),
        (json!({"user": "root", "uid": 1}), "`usermod` ended with exit code"),
        (
            json!({"user": "root", "sudo": "nopasswd", "env": {"PATH": "/usr/bin:/usr/sbin"}}),
            "`visudo` ended with exit code 1: >>> no rule",
        ),
    ] {
        machine.program("/usr/sbin/visudo", "echo '>>> no rule' >&2; exit 1");
        let (end, report) = machine.run("user", settings).await;
        let error = end.unwrap_err();
        assert!(error.contains("user[") && error.contains(part), "{error}");
        assert_eq!(report.counts.failed, 1);
    }
}

#[tokio::test]
async fn busybox_has_tools_of_its_own() {
    let machine = Machine::busybox();
    machine.write("/etc/shadow", "root:*:1::::::\n");
    machine.program(
        "/bin/adduser",
        r#"echo adduser "$@" >>/calls; for user; do :; done
mkdir -p /home/$user; echo "$user:x:1000:1000:$3:/home/$user:/bin/sh" >>/etc/passwd; echo "$user:!:1::::::" >>/etc/shadow"#,
    );
    machine.program(
        "/bin/addgroup",
        r#"echo addgroup "$@" >>/calls; if [ "$1" = -S ]; then echo "$2:x:99:" >>/etc/group; else sed -i "s/^$2:.*/&$1/" /etc/group; fi"#,
    );
    machine.program(
        "/bin/chpasswd",
        r#"IFS=: read -r user hash; sed -i "s/^$user:[^:]*/$user:$hash/" /etc/shadow"#,
    );
    machine.program("/bin/deluser", r#"echo deluser "$@" >>/calls; sed -i "/^$1:/d" /etc/passwd"#);
    let settings = json!({"user": "app", "groups": ["web"], "comment": "a b", "authorized_keys": ["ssh-rsa A"]});
    assert_eq!(machine.converges("user", settings).await, ["group[web]", "user[app]"]);
    assert_eq!(
        machine.text("/calls"),
        "addgroup -S web\nadduser -D -g a b -s /bin/sh app\naddgroup app web\n"
    );
    assert_eq!(machine.text("/home/app/.ssh/authorized_keys"), "ssh-rsa A\n");
    assert!(machine.text("/etc/shadow").contains("app:*:"), "keys let in, passwords do not");
    for (settings, part) in [
        (json!({"user": "app", "shell": "/bin/ash"}), "the machine has no `usermod`"),
        (
            json!({"user": "app", "sudo": "nopasswd"}),
            "the machine has no `visudo`: install the package sudo",
        ),
    ] {
        let error = machine.run("user", settings).await.0.unwrap_err();
        assert!(error.contains(part), "{error}");
    }
    assert_eq!(
        machine.converges("user", json!({"user": "app", "absent": true})).await,
        ["user[app]"]
    );
}

#[tokio::test]
async fn a_group_of_that_name_is_the_users_own() {
    let machine = Machine::debian();
    machine.sh("groupadd --gid 7654 imgtest").await;
    let settings = json!({"user": "imgtest", "groups": ["imgtest"]});
    assert_eq!(machine.converges("user", settings).await, ["user[imgtest]"]);
    machine.sh("[ \"$(id -g imgtest)\" = 7654 ]").await;
}

/// sudo takes `.` in a file's name for no rule, and rules of two users need two files.
#[tokio::test]
async fn each_user_has_a_sudo_rule_that_sudo_reads() {
    let machine = Machine::debian();
    machine.program("/usr/sbin/visudo", "");
    for user in ["img.test", "img_test"] {
        machine.converges("user", json!({"user": user, "sudo": "nopasswd"})).await;
    }
    let rules = machine.sorted_names("/etc/sudoers.d");
    assert_eq!(rules.len(), 2, "{rules:?}");
    assert!(!rules.iter().any(|name| name.contains('.')), "{rules:?}");
}

/// The build would lock itself out without its key; the seal removes it.
#[tokio::test]
async fn the_login_of_the_build_stays() {
    let mut machine = Machine::debian();
    let (key, private) = (KeyPair::generate(), machine.guest.at("key"));
    fs::write(&private, key.private_openssh()).unwrap();
    machine.guest.access.key = private;
    let (own, build) = ("ssh-ed25519 AAAA a@b", key.public_openssh());
    machine.write("/root/.ssh/authorized_keys", &format!("{build} build\nssh-rsa other\n"));
    let settings = json!({"user": "root", "authorized_keys": [own]});
    assert_eq!(machine.converges("user", settings).await, ["user[root]"]);
    assert_eq!(machine.text("/root/.ssh/authorized_keys"), format!("{own}\n{build} build\n"));
    // It comes into no other file, and not back.
    machine.write("/root/.ssh/authorized_keys", "");
    machine.converges("user", json!({"user": "root", "authorized_keys": [own]})).await;
    assert_eq!(machine.text("/root/.ssh/authorized_keys"), format!("{own}\n"));

    let error = machine.run("user", json!({"user": "root", "absent": true})).await.0.unwrap_err();
    assert!(error.contains("is the build's own login"), "{error}");
}
