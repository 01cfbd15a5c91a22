//! The real registry of Debian's package, and skopeo between it and a layout.

use imgbake_build::LayerShare;
use imgbake_oci::{CredentialSettings, FixedLogin, RemoteOptions};
use imgbake_registry::{Layout, LayoutShare, RemoteShare};
use imgbake_runtime::Tool;
use imgbake_testkit::{DockerRegistry, DockerSettings, PASSWORD, USER};

use super::layer::{NAME, comes, key, layer, share, tag};
use crate::fixture::Fixture;

#[tokio::test]
async fn docker_registry_keeps_layers_and_skopeo_copies_them() {
    let (fixture, docker) = (Fixture::new(), DockerRegistry::start(DockerSettings::default()));
    let remote = share(&docker.host());
    let pushes = ["a", "b", "a"].map(|name| {
        let dir = tempfile::tempdir_in(&fixture.dir).unwrap().keep();
        let layer = layer(camino::Utf8Path::from_path(&dir).unwrap(), name, 1);
        remote.push(&fixture.job, layer)
    });
    let sent = futures::future::try_join_all(pushes).await.unwrap();
    assert!(sent.iter().any(|sent| *sent > 3 << 20), "{sent:?}");
    assert_eq!(remote.push(&fixture.job, layer(&fixture.dir, "a", 1)).await.unwrap(), 0);
    docker.collect_garbage();
    let keys = ["a", "none", "b"].map(key);
    assert_eq!(remote.has(&fixture.job, &keys).await.unwrap(), [key("a"), key("b")]);
    comes(&remote, &fixture, "a", 1).await;

    // To a layout, and from there to another repository.
    let from = |name: &str| format!("docker://{}/{name}:{}", docker.host(), tag("a"));
    let folder = fixture.dir.join("folder");
    let layout = format!("oci:{folder}:{}", tag("a"));
    for (from, to) in [(from(NAME), layout.clone()), (layout, from("copy"))] {
        let skopeo = Tool::new("skopeo", "skopeo").command().unwrap();
        let skopeo = skopeo.args(["--insecure-policy", "copy", "--src-tls-verify=false"]);
        let skopeo = skopeo.args(["--dest-tls-verify=false", &from, &to]);
        skopeo.run(&fixture.job).await.unwrap();
    }
    Layout::open(folder.clone()).unwrap();
    comes(&LayoutShare::open_existing(folder).unwrap(), &fixture, "a", 1).await;
    let copy = RemoteShare::new(&docker.host(), "copy", RemoteOptions::default()).unwrap();
    comes(&copy, &fixture, "a", 1).await;
}

#[tokio::test]
async fn docker_registry_with_tls_and_logins_keeps_layers() {
    let (fixture, docker) =
        (Fixture::new(), DockerRegistry::start(DockerSettings { tls: true, logins: true }));
    let credentials = CredentialSettings {
        fixed: Some(FixedLogin {
            user: USER.to_owned(),
            password: PASSWORD.to_owned().into(),
            host: Some(docker.host()),
            origin: "test".to_owned(),
        }),
        files: Vec::new(),
    };
    let known = RemoteOptions { ca: Some(docker.ca()), insecure_http: false, credentials };
    let remote = RemoteShare::new(&docker.host(), NAME, known.clone()).unwrap();
    remote.push(&fixture.job, layer(&fixture.dir, "a", 1)).await.unwrap();
    comes(&remote, &fixture, "a", 1).await;
    let unknown = RemoteOptions { ca: None, ..known };
    let remote = RemoteShare::new(&docker.host(), NAME, unknown).unwrap();
    let error = remote.has(&fixture.job, &[key("a")]).await.unwrap_err();
    assert!(error.to_string().contains("certificate"), "{error}");
}
