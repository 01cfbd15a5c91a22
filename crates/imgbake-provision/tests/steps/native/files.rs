use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

use imgbake_types::record::step::ResourceOutcome;
use serde_json::{Value, json};

use super::{Machine, changed, find};

/// The state of a path before, what is declared, and what the diff says.
fn cases() -> Vec<(&'static str, Value, Option<&'static str>)> {
    let content = json!({"content": "new\n"});
    vec![
        ("", content.clone(), Some("-file: absent\n+file: 0:0 644")),
        ("echo new >/x", content.clone(), None),
        ("echo old >/x", content.clone(), Some("-old\n+new")),
        // What is no text has no lines to show.
        ("printf '\\0a' >/x", content.clone(), Some("-2 bytes, SHA-256 ")),
        ("printf '\\377\\0' >/x", json!({"content": "a\u{1}b"}), Some("+3 bytes, SHA-256 ")),
        ("printf new >/x", content.clone(), Some("-new")),
        ("echo new >/x; chmod 600 /x", content.clone(), Some("-file: 0:0 600\n+file: 0:0 644")),
        ("echo new >/x; chown 1:3 /x", content.clone(), Some("-file: 1:3 644\n+file: 0:0 644")),
        ("echo new >/x; chown 1:3 /x", json!({"content": "new\n", "owner": "1:3"}), None),
        ("echo new >/x; chmod 755 /x", json!({"content": "new\n", "mode": "0755"}), None),
        ("echo new >/x; chmod 4755 /x", json!({"content": "new\n", "mode": "4755"}), None),
        (
            "echo new >/x; chmod 4755 /x",
            json!({"content": "new\n", "mode": "0755"}),
            Some("-file: 0:0 4755\n+file: 0:0 755"),
        ),
        // What some users may not read is shown to nobody.
        (
            "echo old >/x; chmod 640 /x",
            content.clone(),
            Some("-file: 0:0 640\n+file: 0:0 644\n-(not shown)\n+(not shown)"),
        ),
        (
            "echo old >/x",
            json!({"content": "new\n", "mode": "0600"}),
            Some("-file: 0:0 644\n+file: 0:0 600\n-(not shown)\n+(not shown)"),
        ),
        ("ln -s /etc/passwd /x", content, Some("-file: a link to /etc/passwd\n+file: 0:0 644")),
        ("", json!({"content": ""}), Some("+file: 0:0 644")),
        ("", json!({"link": "a b"}), Some("-link: absent\n+link: a b")),
        ("ln -s 'a b' /x", json!({"link": "a b"}), None),
        ("ln -s other /x", json!({"link": "a b"}), Some("-link: other\n+link: a b")),
        ("", json!({"link": "-f"}), Some("+link: -f")),
        ("touch /x", json!({"link": "a b"}), Some("-link: a file\n+link: a b")),
        ("", json!({"directory": true}), Some("-directory: absent\n+directory: present")),
        ("mkdir -m 700 /x", json!({"directory": true}), None),
        (
            "mkdir -m 700 /x",
            json!({"directory": true, "mode": "0750"}),
            Some("-directory: 0:0 700\n+directory: 0:0 750"),
        ),
        (
            "mkdir /x; chmod 2755 /x",
            json!({"directory": true, "mode": "755"}),
            Some("-directory: 0:0 2755\n+directory: 0:0 755"),
        ),
        ("mkdir /x; chmod 1777 /x", json!({"directory": true, "mode": "1777"}), None),
        (
            "mkdir /x; chown 1 /x",
            json!({"directory": true, "owner": "root"}),
            Some("-directory: 1:0 755"),
        ),
        ("", json!({"absent": true}), None),
        ("touch /x", json!({"absent": true}), Some("-file: present\n+file: absent")),
        ("ln -s nowhere /x", json!({"absent": true}), Some("-file: present\n+file: absent")),
        (
            "mkdir -p /x/y; touch /x/y/z",
            json!({"absent": true}),
            Some("-file: a folder\n+file: absent"),
        ),
    ]
}

#[tokio::test]
async fn each_is_as_declared_afterwards() {
    for machine in [Machine::debian(), Machine::busybox()] {
        let (mut before, mut entries) = ("mkdir /all; cd /all; ".to_owned(), Vec::new());
        for (index, (first, mut declared, _)) in cases().into_iter().enumerate() {
            before.extend([first.replace("/x", &format!("/all/{index}")).as_str(), "\n"]);
            declared["destination"] = json!(format!("/all/{index}"));
            entries.push(declared);
        }
        machine.sh(&before).await;
        let settings = json!({ "files": entries });
        let (end, report) = machine.run("files", settings.clone()).await;
        end.unwrap();
        for ((first, declared, diff), resource) in cases().iter().zip(&report.resources) {
            let shown = resource.diff.as_deref();
            match diff {
                None => assert_eq!(shown, None, "{first} {declared}"),
                Some(part) => assert!(
                    shown.is_some_and(|shown| shown.contains(part)),
                    "{first} {declared}: {shown:?}"
                ),
            }
            assert_eq!(
                resource.outcome == ResourceOutcome::Changed,
                diff.is_some(),
                "{first} {declared}"
            );
        }
        let (_, second) = machine.run("files", settings).await;
        assert_eq!(changed(&second), [""; 0]);
        assert_eq!(second.counts.unchanged, cases().len() as u64);
    }
}

#[tokio::test]
async fn what_is_in_the_way_is_reported() {
    let machine = Machine::busybox();
    for (before, declared, part) in [
        ("mkdir /x", json!({"content": ""}), "there is a folder of that name"),
        ("mkdir /x", json!({"link": "y"}), "there is a folder of that name"),
        ("touch /x", json!({"directory": true}), "there is something else of that name"),
        ("mkfifo /x", json!({"content": ""}), "is neither a file nor a link"),
        ("", json!({"content": "", "owner": "nobody-knows"}), "nobody-knows"),
    ] {
        machine.sh(&format!("rm -rf /x; {}", before.replace("mkfifo", "busybox mkfifo"))).await;
        let mut entry = declared;
        entry["destination"] = json!("/x");
        let (end, _) = machine.run("files", json!({"files": [entry]})).await;
        let error = end.unwrap_err();
        assert!(error.contains("[/x] failed: ") && error.contains(part), "{error}");
        machine.sh("rm -rf /x; [ \"$(ls -A / | grep imgbake)\" = '' ]").await;
    }
}

#[tokio::test]
async fn folders_and_files_of_the_host_come_whole() {
    let machine = Machine::debian();
    let host = machine.guest.at("host");
    fs::create_dir_all(host.join("sub dir")).unwrap();
    fs::write(host.join("sub dir/it's"), "tool").unwrap();
    fs::set_permissions(host.join("sub dir/it's"), fs::Permissions::from_mode(0o750)).unwrap();
    fs::write(host.join("a"), "a").unwrap();
    symlink("a", host.join("link")).unwrap();
    let one = json!({"destination": "/opt/bin/", "source": host.join("a"), "mode": "0700", "owner": "1:3"});
    let settings =
        json!({"files": [{"destination": "/opt/all", "source": host, "owner": "7:8"}, one]});
    // A folder that is there keeps its owner.
    machine.sh("mkdir -p /opt/all; chown 5:6 /opt/all; umask 077").await;
    let first = machine.converges("files", settings.clone()).await;
    assert_eq!(
        first,
        [
            "file[/opt/all/a]",
            "link[/opt/all/link]",
            "directory[/opt/all/sub dir]",
            "file[/opt/all/sub dir/it's]",
            "file[/opt/bin/a]"
        ]
    );
    let metadata = fs::metadata(machine.at("/opt/all/sub dir/it's")).unwrap();
    assert_eq!((metadata.mode() & 0o7777, metadata.uid(), metadata.gid()), (0o750, 7, 8));
    for (folder, expected) in [
        ("/opt/all", (0o755, 5, 6)),
        ("/opt/all/sub dir", (0o755, 7, 8)),
        // A parent that no entry names.
        ("/opt/bin", (0o755, 0, 0)),
    ] {
        let metadata = fs::metadata(machine.at(folder)).unwrap();
        assert_eq!(
            (metadata.mode() & 0o7777, metadata.uid(), metadata.gid()),
            expected,
            "{folder}"
        );
    }
    let metadata = fs::metadata(machine.at("/opt/bin/a")).unwrap();
    assert_eq!((metadata.mode() & 0o7777, metadata.uid(), metadata.gid()), (0o700, 1, 3));

    fs::write(host.join("a"), "b").unwrap();
    let (_, report) = machine.run("files", settings).await;
    assert_eq!(changed(&report), ["file[/opt/all/a]", "file[/opt/bin/a]"]);
    let diff = find(&report, "file[/opt/all/a]").diff.as_ref().unwrap();
    assert!(diff.contains("\n-a\n"), "{diff}");
    let gone = json!({"files": [{"destination": "/x", "source": host.join("none")}]});
    assert!(machine.run("files", gone).await.0.unwrap_err().contains("host/none"));
}

/// A folder such as conf.d is read while a file in it is replaced: it holds the old file or the new one, and no third.
#[tokio::test]
async fn no_folder_sees_a_file_that_is_half_written() {
    for machine in [Machine::debian(), Machine::busybox()] {
        machine.write("/etc/conf.d/a", "old\n");
        // Programs come before those of the machine: what is in the folder while they run is written down.
        for name in ["cp", "chown", "chmod", "mv"] {
            let busybox = machine.at("/bin/busybox").exists();
            let program = if busybox { format!("busybox {name}") } else { format!("/bin/{name}") };
            machine.program(
                &format!("/usr/local/sbin/{name}"),
                &format!("ls -A /etc/conf.d >>/seen; exec {program} \"$@\""),
            );
        }
        let files = json!({"files": [
            {"destination": "/etc/conf.d/a", "content": "new\n"},
            {"destination": "/etc/conf.d/b", "content": "b\n"},
        ]});
        machine.run("files", files).await.0.unwrap();
        let names = machine.sorted_names("/etc/conf.d");
        assert_eq!(names, ["a", "b"]);
        if let Ok(seen) = fs::read_to_string(machine.at("/seen")) {
            assert!(seen.lines().all(|name| ["a", "b"].contains(&name)), "{seen}");
        }
        assert!(!machine.sorted_names("/").iter().any(|name| name.contains("imgbake")));
    }
}
