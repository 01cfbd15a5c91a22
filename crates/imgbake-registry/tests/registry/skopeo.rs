//! The layout read by skopeo, without imgbake.

use imgbake_build::{Registry, Whole};
use imgbake_registry::Layout;
use imgbake_runtime::{Job, Tool};
use imgbake_types::record::VerifyStatus;
use serde_json::Value;

use crate::common::{Fixture, disk, verified};

const SKOPEO: Tool = Tool::new("skopeo", "skopeo");

pub(crate) async fn skopeo(job: &Job, args: &[&str]) -> Vec<u8> {
    SKOPEO.command().unwrap().arg("--insecure-policy").args(args).run(job).await.unwrap()
}

#[tokio::test]
async fn skopeo_inspects_and_copies() {
    let fixture = Fixture::new();
    let job = fixture.job();
    let version = fixture.publish("team/web", 1).await;
    fixture
        .layout
        .record_verify("team/web", &verified(&version, VerifyStatus::Passed))
        .await
        .unwrap();
    fixture.move_to("team/web", "dev", &version).await;
    let root = fixture.layout.root();
    for tag in ["2026.11.23-1", "dev"] {
        let shown = skopeo(&job, &["inspect", &format!("oci:{root}:team/web:{tag}")]).await;
        let shown: Value = serde_json::from_slice(&shown).unwrap();
        assert_eq!(shown["Digest"], version.digest.to_string());
        assert_eq!(shown["Architecture"], "amd64");
        assert_eq!(shown["Labels"]["team"], "web");
        assert_eq!(shown["Created"], "2026-11-23T10:00:00Z");
    }
    // A copy is a registry by itself: name, digest and disk are the same.
    let copy = fixture.dir.join("copy");
    for tag in ["2026.11.23-1", "dev", "dev.history", &format!("sha256-{}", version.digest.hex())] {
        let (from, to) =
            (format!("oci:{root}:team/web:{tag}"), format!("oci:{copy}:team/web:{tag}"));
        skopeo(&job, &["copy", "--all", &from, &to]).await;
    }
    let copied = Layout::open(copy).unwrap();
    let view = copied.resolve(&"team/web:dev".parse().unwrap()).await.unwrap();
    assert_eq!(view.digest, version.digest);
    assert_eq!(view.channels, ["dev"]);
    assert_eq!(view.verify.status, VerifyStatus::Passed);
    assert_eq!(copied.history("team/web", "dev").await.unwrap().len(), 1);
    let path = fixture.dir.join("copied.raw");
    let file =
        std::fs::File::options().read(true).write(true).create_new(true).open(&path).unwrap();
    copied.restore(&view.digest, file, Whole::Hash, Box::new(|_| {})).await.unwrap();
    assert!(std::fs::read(path).unwrap() == disk(1));
    job.end().unwrap();
}
