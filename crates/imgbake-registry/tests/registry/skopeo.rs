//! The layout read by skopeo, without imgbake.

use imgbake_build::evidence::record_verify;
use imgbake_build::{BlobFile, Naming, PlainFile, Registry, Whole};
use imgbake_registry::Layout;
use imgbake_runtime::{Job, Tool};
use imgbake_types::Digest;
use imgbake_types::record::VerifyStatus;
use imgbake_types::spec::PlainFormat;
use serde_json::Value;

use crate::common::{Fixture, capture, config, disk, json_of, verified};

const SKOPEO: Tool = Tool::new("skopeo", "skopeo");

pub(crate) async fn skopeo(job: &Job, args: &[&str]) -> Vec<u8> {
    SKOPEO.command().unwrap().arg("--insecure-policy").args(args).run(job).await.unwrap()
}

#[tokio::test]
async fn skopeo_inspects_and_copies() {
    let fixture = Fixture::new();
    let job = fixture.job();
    let version = fixture.publish("team/web", 1).await;
    let record = verified(&version, VerifyStatus::Passed);
    record_verify(&*fixture.layout.image("team/web"), &record).await.unwrap();
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
    assert_eq!(copied.image("team/web").history(&"dev".parse().unwrap()).await.unwrap().len(), 1);
    let path = fixture.dir.join("copied.raw");
    let file =
        std::fs::File::options().read(true).write(true).create_new(true).open(&path).unwrap();
    copied.restore(&view.digest, file, Whole::Hash, Box::new(|_| {})).await.unwrap();
    assert!(std::fs::read(path).unwrap() == disk(1));
    job.end().unwrap();
}

#[tokio::test]
async fn a_plain_file_is_there_for_other_tools() {
    let fixture = Fixture::new();
    let job = fixture.job();
    let mut captured = capture(&fixture.dir, &disk(1));
    let path = fixture.dir.join("whole");
    std::fs::write(&path, "all of it").unwrap();
    let (digest, size) = (Digest::sha256("all of it"), 9);
    let file = BlobFile { path, digest: digest.clone(), size };
    captured.plain = Some(PlainFile { format: PlainFormat::Qcow2, file });
    let naming = Naming::Fixed("7".parse().unwrap());
    let layout = &fixture.layout;
    let version = layout.publish(&captured, config("team/web"), &naming).await.unwrap();
    let from = format!("oci:{}:team/web:7", layout.root());
    let copy = fixture.dir.join("copy");
    skopeo(&job, &["copy", "--all", &from, &format!("oci:{copy}:team/web:7")]).await;
    let copied = Layout::open(copy.clone()).unwrap();
    let view = copied.resolve(&"team/web".parse().unwrap()).await.unwrap();
    assert_eq!(view.digest, version.digest);
    let index = json_of(&fixture, &version.digest.to_string().into());
    let forms: Vec<_> = index["manifests"].as_array().unwrap().iter().collect();
    assert_eq!(forms[0]["annotations"]["io.imgbake.disk"], "chunked");
    assert_eq!(forms[1]["annotations"]["io.imgbake.disk"], "qcow2");
    let plain = json_of(&fixture, &forms[1]["digest"]);
    let layer = &plain["layers"][0];
    assert_eq!(layer["annotations"]["org.opencontainers.image.title"], "web-7.qcow2");
    assert_eq!(layer["digest"], digest.to_string());
    let kept = copy.join("blobs/sha256").join(digest.hex());
    assert_eq!(std::fs::read_to_string(kept).unwrap(), "all of it");
    job.end().unwrap();
}
