//! Repositories that earlier imgbakes pushed to are read, and newer versions hide nothing else there.

use imgbake_build::{BuildErrorKind, Evidence, EvidenceKind, Versions};
use imgbake_registry::RemoteImage;
use imgbake_registry::pull::RemoteVersion;
use imgbake_testkit::{Habits, TestHome, TestRegistry};
use imgbake_types::record::{ListedVersion, VerifyStatus, format};
use imgbake_types::{Digest, Target};
use serde_json::{Value, json};

use crate::fixture::{Fixture, INDEX, MANIFEST, put_untagged};

const NAME: &str = "team/web";
/// Every form that was ever pushed, with the habits of its registry.
const FORMS: [(&str, &str, bool); 2] =
    [("format-1", "remote", false), ("format-1", "remote-without-referrers", true)];
const VERSIONS: [(&str, &str, VerifyStatus); 3] = [
    ("2026.11.21-1", "prod", VerifyStatus::Passed),
    ("2026.11.22-1", "", VerifyStatus::Failed),
    ("2026.11.23-1", "", VerifyStatus::Passed),
];

async fn start(form: &str, folder: &str, no_referrers: bool) -> TestRegistry {
    let registry = TestRegistry::start(Habits { no_referrers, ..Habits::default() }).await;
    registry.load(NAME, &TestHome::stored(form).dir().join(folder));
    registry
}

fn readable(list: &[ListedVersion]) -> Vec<(String, String, VerifyStatus)> {
    let readable = list.iter().filter_map(ListedVersion::readable);
    readable.map(|it| (it.version.to_string(), it.channels.join(" "), it.verify.status)).collect()
}

fn expected() -> Vec<(String, String, VerifyStatus)> {
    let own = |(version, channels, status): (&str, &str, _)| {
        (version.to_owned(), channels.to_owned(), status)
    };
    VERSIONS.into_iter().map(own).collect()
}

#[tokio::test]
async fn every_form_is_read_and_more_evidence_is_attached() {
    for (form, folder, no_referrers) in FORMS {
        let (fixture, registry) = (Fixture::new(), start(form, folder, no_referrers).await);
        let repository = fixture.repository(&registry.host(), NAME).await;
        let image = RemoteImage::new(&fixture.job, repository.clone());
        assert_eq!(readable(&image.versions().await.unwrap()), expected(), "{folder}");
        let target = Target::Tag("2026.11.22-1".to_owned());
        let version = RemoteVersion::find(&repository, &target).await.unwrap();
        let found = image.evidence(version.digest(), Some(&EvidenceKind::VERIFY)).await.unwrap();
        let mut record = found.newest_verify(version.digest()).record.unwrap();
        record.status = VerifyStatus::Passed;
        record.time = "2026-11-30T10:00:00Z".parse().unwrap();
        let document = format::write(&record).unwrap();
        let kind = EvidenceKind::VERIFY;
        image.attach(version.digest(), &kind, record.time, document).await.unwrap();
        let view = version.view(Vec::new()).await.unwrap();
        assert_eq!(view.verify.status, VerifyStatus::Passed, "{folder}");
        let steps = EvidenceKind::STEPS;
        image.attach(version.digest(), &steps, record.time, b"{}".to_vec()).await.unwrap();
        let all = image.evidence(version.digest(), None).await.unwrap();
        assert_eq!((all.items.len(), all.unreadable.len()), (3, 0), "{folder}");
    }
}

#[tokio::test]
async fn newer_and_damaged_versions_hide_no_other() {
    let (form, folder, no_referrers) = FORMS[0];
    let (fixture, registry) = (Fixture::new(), start(form, folder, no_referrers).await);
    let repository = fixture.repository(&registry.host(), NAME).await;
    let target = Target::Tag("2026.11.23-1".to_owned());
    let raw = repository.manifest(&target).await.unwrap().unwrap();
    let index: Value = serde_json::from_slice(&raw.bytes).unwrap();
    let put = |tag: &str, change: &dyn Fn(&mut Value)| {
        let mut index = index.clone();
        index["annotations"]["org.opencontainers.image.version"] = tag.into();
        change(&mut index);
        registry.put_manifest(NAME, tag, INDEX, index.to_string().as_bytes());
    };
    put("newer", &|index| {
        index["artifactType"] = "application/vnd.imgbake.image.v2".into();
        index["annotations"]["io.imgbake.needs"] = "0.9.0".into();
    });
    put("damaged", &|index| {
        index["manifests"][0]["digest"] = Digest::sha256("gone").to_string().into();
    });
    // A registry may hold what is no version at all.
    let other = json!({ "schemaVersion": 2, "mediaType": MANIFEST, "config": {}, "layers": [] });
    put_untagged(&registry, NAME, MANIFEST, other.to_string().as_bytes());
    let image = RemoteImage::new(&fixture.job, repository.clone());
    let list = image.versions().await.unwrap();
    assert_eq!(readable(&list), expected());
    let problems: Vec<(String, String)> = list
        .iter()
        .filter_map(|version| match version {
            ListedVersion::Readable(_) => None,
            ListedVersion::Unreadable(it) => Some((it.version.to_string(), it.problem.to_string())),
        })
        .collect();
    assert_eq!(problems.len(), 2, "{problems:?}");
    assert!(problems[0].0 == "damaged" && problems[0].1.contains("lacks the manifest"));
    assert_eq!(problems[1], ("newer".to_owned(), "needs imgbake ≥ 0.9.0".to_owned()));
    let error = RemoteVersion::find(&repository, &Target::Tag("newer".to_owned())).await;
    assert_eq!(error.unwrap_err().kind(), BuildErrorKind::Lacking);
}
