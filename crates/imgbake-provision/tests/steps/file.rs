use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

use camino::Utf8Path;
use imgbake_build::{BuildErrorKind, StepEnd};
use imgbake_provision::{Direction, FileSpec};
use imgbake_types::secret::marker;
use imgbake_types::spec::ProvisionSpec;

use crate::local::{LocalGuest, text};

fn to(destination: impl AsRef<Utf8Path>) -> FileSpec {
    FileSpec { destination: destination.as_ref().to_owned(), ..FileSpec::default() }
}

fn step(spec: &FileSpec) -> ProvisionSpec {
    ProvisionSpec::of("file", spec).unwrap()
}

fn mode(path: &Utf8Path) -> u32 {
    path.metadata().unwrap().permissions().mode() & 0o7777
}

#[tokio::test]
async fn content_is_revealed_on_its_way() {
    let place = LocalGuest::new();
    let target = place.at("etc/app.conf");
    let spec = FileSpec { content: Some(format!("token={}\n", marker("token"))), ..to(&target) };
    let (end, bytes) = place.run(&step(&spec)).await.unwrap();
    assert_eq!(text(&target), "token=hunter2'\"$HOME`x`\n");
    assert_eq!((end, bytes), (StepEnd::Running, text(&target).len() as u64));
    assert_eq!(mode(&target), 0o644);
    assert!(!place.comm.commands.lock().unwrap().concat().contains("hunter2"));

    let spec = FileSpec { mode: Some("0600".into()), owner: Some("daemon:sys".into()), ..spec };
    place.run(&step(&spec)).await.unwrap();
    let metadata = target.metadata().unwrap();
    assert_eq!((mode(&target), metadata.uid(), metadata.gid()), (0o600, 1, 3));
}

#[tokio::test]
async fn files_and_folders_go_up() {
    let place = LocalGuest::new();
    let (host, guest) = (place.at("host"), place.at("guest"));
    fs::create_dir_all(host.join("sub")).unwrap();
    fs::write(host.join("sub/tool"), "#!/bin/sh\n").unwrap();
    fs::set_permissions(host.join("sub/tool"), fs::Permissions::from_mode(0o755)).unwrap();
    let upload = |source: &Utf8Path, destination: &Utf8Path| {
        step(&FileSpec { source: Some(source.to_owned()), ..to(destination) })
    };
    assert_eq!(place.run(&upload(&host, &guest)).await.unwrap().1, 10);
    assert_eq!(mode(&guest.join("sub/tool")), 0o755);

    // A destination that ends with / is a folder.
    let folder = place.at("bin/");
    place.run(&upload(&host.join("sub/tool"), &folder)).await.unwrap();
    assert_eq!(
        (text(&folder.join("tool")), mode(&folder.join("tool"))),
        ("#!/bin/sh\n".to_owned(), 0o755)
    );

    let error = place.run(&upload(&place.at("missing"), &guest)).await.unwrap_err();
    assert!(
        error.to_string().contains("step `step`") && error.to_string().contains("missing"),
        "{error}"
    );
    let error = place.run(&upload(&host.join("sub/tool"), &guest.join("sub"))).await.unwrap_err();
    let shown = error.to_string();
    assert!(
        shown.contains("host/sub/tool") && shown.contains("guest/sub") && shown.contains("folder"),
        "{shown}"
    );
}

#[tokio::test]
async fn files_and_folders_come_down() {
    let place = LocalGuest::new();
    let (guest, host) = (place.at("guest"), place.at("out/logs"));
    fs::create_dir_all(&guest).unwrap();
    fs::write(guest.join("a.log"), "line\n").unwrap();
    let download = |source: &Utf8Path, destination: &Utf8Path| {
        let source = Some(source.to_owned());
        step(&FileSpec { source, direction: Direction::Download, ..to(destination) })
    };
    assert_eq!(place.run(&download(&guest, &host)).await.unwrap().1, 5);
    assert_eq!(text(&host.join("a.log")), "line\n");
    // Into a folder that is there, and as a file in a folder that is not.
    let (file, one) = (guest.join("a.log"), place.at("new/one.log"));
    fs::write(&file, "other\n").unwrap();
    assert_eq!(place.run(&download(&file, &host)).await.unwrap().1, 6);
    place.run(&download(&file, &one)).await.unwrap();
    assert_eq!(
        (text(&host.join("a.log")), text(&one)),
        ("other\n".to_owned(), "other\n".to_owned())
    );

    // A link stays, and what it names is replaced; what is no file is not.
    let link = place.at("link.log");
    std::os::unix::fs::symlink(&one, &link).unwrap();
    place.run(&download(&guest.join("a.log"), &link)).await.unwrap();
    assert!(link.is_symlink() && text(&one) == "other\n");
    let (socket, device) = (place.at("socket"), Utf8Path::new("/dev/null"));
    let _listening = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    for special in [socket.as_path(), device] {
        let error = place.run(&download(&file, special)).await.unwrap_err();
        assert!(error.to_string().contains("is no file, and is not replaced"), "{error}");
        assert!(!special.is_file() && special.exists(), "{special}");
    }

    let error = place.run(&download(&guest.join("missing"), &one)).await.unwrap_err();
    assert!(error.to_string().contains("missing"), "{error}");
    assert_eq!(text(&one), "other\n");
    assert_eq!(fs::read_dir(place.job.work()).unwrap().count(), 0);
}

#[tokio::test]
async fn refuses_what_cannot_be() {
    let place = LocalGuest::new();
    let content = Some("x".to_owned());
    let cases = [
        (FileSpec { content: content.clone(), mode: Some("rwx".into()), ..to("/x") }, "octal"),
        (FileSpec { content: content.clone(), mode: Some("77777".into()), ..to("/x") }, "octal"),
        (
            FileSpec { content: content.clone(), owner: Some(marker("token")), ..to("/x") },
            "`owner` holds",
        ),
        (
            FileSpec { content: content.clone(), ..to(format!("/{}", marker("token"))) },
            "`destination` holds",
        ),
        (
            FileSpec { content: content.clone(), source: Some("/a".into()), ..to("/x") },
            "either `source` or `content`",
        ),
        (to("/x"), "either `source` or `content`"),
        (
            FileSpec { content, direction: Direction::Download, ..to("/x") },
            "a download needs `source`",
        ),
    ];
    for (spec, part) in cases {
        let error = place.run(&step(&spec)).await.unwrap_err();
        assert_eq!(error.kind(), BuildErrorKind::Usage, "{error}");
        assert!(error.to_string().contains(part), "{error}");
    }
}
