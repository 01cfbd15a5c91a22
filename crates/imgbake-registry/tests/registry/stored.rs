//! What earlier imgbakes stored is read, and what only a later one reads, or nobody, hides nothing else.

use std::fs;

use imgbake_build::evidence::{EvidenceKind, Origin};
use imgbake_build::{BuildErrorKind, Registry};
use imgbake_registry::{GcReport, GcRequest, Layout, Retention};
use imgbake_testkit::{StoredLayout, TestHome};
use imgbake_types::Reference;
use imgbake_types::record::{ListedVersion, Problem, VerifyStatus, VersionView};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

/// The fixtures of every form that was ever stored.
const FORMS: [&str; 1] = ["format-1"];
/// What each has: image, version, channels, verify status.
const VERSIONS: [(&str, &str, &str, VerifyStatus); 5] = [
    ("base", "2026.11.20-1", "prod", VerifyStatus::Passed),
    ("base", "2026.11.22-1", "", VerifyStatus::Passed),
    ("web", "2026.11.21-1", "prod", VerifyStatus::Passed),
    ("web", "2026.11.22-1", "", VerifyStatus::Failed),
    ("web", "2026.11.23-1", "dev", VerifyStatus::Passed),
];
const WEB: &str = "2026.11.23-1";

struct Stored {
    home: TestHome,
    layout: Layout,
}

impl Stored {
    fn open(form: &str) -> Self {
        let home = TestHome::stored(form);
        let layout = Layout::open(home.home().join("registry")).unwrap();
        Self { home, layout }
    }

    fn files(&self) -> StoredLayout {
        self.home.layout()
    }

    async fn list(&self) -> Vec<ListedVersion> {
        self.layout.versions(None).await.unwrap()
    }

    async fn resolve(&self, text: &str) -> Result<VersionView, imgbake_build::BuildError> {
        self.layout.resolve(&text.parse::<Reference>().unwrap()).await
    }

    /// What cannot be read, and why.
    async fn problems(&self) -> Vec<(String, String)> {
        let unreadable = |version: ListedVersion| match version {
            ListedVersion::Readable(_) => None,
            ListedVersion::Unreadable(it) => {
                Some((format!("{}:{}", it.name, it.version), it.problem.to_string()))
            }
        };
        self.list().await.into_iter().filter_map(unreadable).collect()
    }

    async fn gc(&self, keep: usize) -> GcReport {
        let request = GcRequest {
            retention: Retention { keep: Some(keep), ..Retention::default() },
            grace: SignedDuration::ZERO,
            dry_run: false,
            now: Timestamp::now() + SignedDuration::from_hours(24 * 1000),
            clock: None,
        };
        self.layout.gc(request).await.unwrap()
    }
}

fn readable(list: &[ListedVersion]) -> Vec<(String, String, String, VerifyStatus)> {
    let entry = |version: &VersionView| {
        let channels = version.channels.join(" ");
        (version.name.clone(), version.version.to_string(), channels, version.verify.status)
    };
    let mut all: Vec<_> = list.iter().filter_map(ListedVersion::readable).map(entry).collect();
    all.sort_by(|one, other| (&one.0, &one.1).cmp(&(&other.0, &other.1)));
    all
}

fn expected() -> Vec<(String, String, String, VerifyStatus)> {
    let own = |(name, version, channels, status): (&str, &str, &str, _)| {
        (name.to_owned(), version.to_owned(), channels.to_owned(), status)
    };
    VERSIONS.into_iter().map(own).collect()
}

#[tokio::test]
async fn every_form_is_read() {
    for form in FORMS {
        let stored = Stored::open(form);
        assert_eq!(readable(&stored.list().await), expected(), "{form}");
        let web = stored.resolve("web:dev").await.unwrap();
        assert_eq!((web.version.as_str(), web.stages.len()), (WEB, 6), "{form}");
        assert_eq!(web.proof.tests[0].user(), "admin");
        assert_eq!(web.proof.tests[1].run, "test -n \"⟦secret:token⟧\"");
        assert_eq!((web.proof.verify.clones(), web.proof.verify.firmware.len()), (2, 2));
        assert_eq!(web.labels["team"], "web");
        let base = stored.resolve("base").await.unwrap();
        assert_eq!(web.parent.unwrap().digest, base.digest);
        let moves = stored.layout.image("web").history(&"prod".parse().unwrap()).await.unwrap();
        assert_eq!(moves.len(), 3, "{form}");
        assert_eq!(moves[0].entry.reason.as_deref(), Some("rolled back"));
        let into = stored.home.dir().join("disk");
        let file = fs::File::create(&into).unwrap();
        let restored =
            stored.layout.restore(&web.digest, file, imgbake_build::Whole::Hash, Box::new(|_| {}));
        assert_eq!(restored.await.unwrap(), web.disk.sha256, "{form}");
        // The name that gc took away is not given again.
        let again = imgbake_build::Naming::Fixed("2026.11.19-1".parse().unwrap());
        let disk = crate::common::capture(stored.home.dir(), &crate::common::disk(1));
        let refused =
            stored.layout.publish(&disk, crate::common::config("base"), &again).await.unwrap_err();
        assert!(refused.to_string().contains("gc took away"), "{refused}");
        // Its evidence is from before anybody kept where it came from.
        let image = stored.layout.image("web");
        let found = image.evidence(&web.digest, Some(&EvidenceKind::VERIFY)).await.unwrap();
        let origins: Vec<Origin> = found.items.iter().map(|item| item.origin).collect();
        assert_eq!(origins, [Origin::Unknown; 2], "{form}");
        assert_eq!(stored.gc(1).await.blocked_by, Vec::<String>::new());
    }
}

/// Changes the documents of a version that is being made.
type Change = fn(&mut Value, &mut Value, &mut Value);

const NEWER: [(&str, Change, &str); 4] = [
    (
        "a record",
        |_, _, config| {
            config["io.imgbake.image"] = json!({ "format": 99, "needs": "0.9.0" });
        },
        "needs imgbake ≥ 0.9.0",
    ),
    (
        "an index",
        |index, _, _| {
            index["artifactType"] = "application/vnd.imgbake.image.v2".into();
            index["annotations"]["io.imgbake.needs"] = "0.9.0".into();
        },
        "needs imgbake ≥ 0.9.0",
    ),
    (
        "an index that does not say what it needs",
        |index, _, _| index["artifactType"] = "application/vnd.imgbake.image.v2".into(),
        "needs a newer imgbake",
    ),
    (
        "a manifest",
        |index, manifest, _| {
            manifest["artifactType"] = "application/vnd.imgbake.disk.chunked.v2".into();
            index["annotations"]["io.imgbake.needs"] = "0.9.0".into();
        },
        "needs imgbake ≥ 0.9.0",
    ),
];

#[tokio::test]
async fn a_newer_version_is_listed_and_changes_nothing_else() {
    for (what, change, words) in NEWER {
        let stored = Stored::open(FORMS[0]);
        let name = "2030.01.01-1";
        let digest = stored.files().add_version(("web", WEB, name), change);
        let label = format!("web:{name}");
        assert_eq!(stored.problems().await, [(label.clone(), words.to_owned())], "{what}");
        assert_eq!(readable(&stored.list().await), expected(), "{what}");
        for text in [label.as_str(), &format!("web@{digest}"), "web"] {
            let error = stored.resolve(text).await.unwrap_err();
            assert_eq!(error.kind(), BuildErrorKind::Lacking, "{what}: {error}");
            let said = format!("{error}: {}", std::error::Error::source(&error).unwrap());
            assert!(said.contains(&label) && said.contains(words), "{what}: {said}");
        }
        assert_eq!(stored.resolve("web:dev").await.unwrap().version.as_str(), WEB);
        // A build of the image: its chunks are left out, its name is not given again.
        let known = stored.layout.known("web", None).await;
        assert!(known.is_ok(), "{what}");
        let disk = crate::common::capture(stored.home.dir(), &crate::common::disk(1));
        let naming = imgbake_build::Naming::Dated { day: "2030.01.01".to_owned() };
        let config = crate::common::config("web");
        let version = stored.layout.publish(&disk, config, &naming).await.unwrap();
        assert_eq!(version.version.as_str(), "2030.01.01-2", "{what}");
        // gc takes neither it nor any blob that it names, nor its parent.
        let report = stored.gc(1).await;
        assert_eq!(report.blocked_by, Vec::<String>::new(), "{what}");
        let gone: Vec<String> = report
            .versions
            .iter()
            .filter(|version| !version.kept)
            .map(|version| format!("{}:{}", version.name, version.version))
            .collect();
        assert_eq!(gone, ["web:2026.11.23-1"; 0], "{what}");
        assert_eq!(stored.problems().await.len(), 1, "{what}");
    }
}

#[tokio::test]
async fn newer_evidence_and_moves_hide_nothing_else() {
    let stored = Stored::open(FORMS[0]);
    let files = stored.files();
    let digest = files.label(&format!("web:{WEB}")).unwrap()["digest"].clone();
    let digest = digest.as_str().unwrap();
    let newer = json!({ "format": 99, "needs": "0.9.0" });
    let evidence = files.attach("web", digest, EvidenceKind::VERIFY.media_type(), &newer);
    files.add_move("base", "prod", &newer);
    assert_eq!(readable(&stored.list().await), expected());
    let web = stored.resolve("web:dev").await.unwrap();
    let unreadable = &web.verify.unreadable;
    assert_eq!(unreadable.len(), 1);
    assert_eq!(unreadable[0].digest.to_string(), evidence);
    let problem = Problem::Newer { format: Some(99), needs: Some("0.9.0".to_owned()) };
    assert_eq!(unreadable[0].problem, problem);
    // Who knows what the history of base:prod says: every base stays.
    let report = stored.gc(1).await;
    let kept: Vec<&str> = report
        .versions
        .iter()
        .filter(|version| version.kept && version.name == "base")
        .map(|version| version.version.as_str())
        .collect();
    assert_eq!(kept, ["2026.11.20-1", "2026.11.22-1"]);
    assert_eq!(report.blocked_by, Vec::<String>::new());
}

/// Cut, emptied, or gone: each of all blobs in turn.
#[tokio::test]
async fn each_damaged_blob_hides_no_other_version() {
    let stored = Stored::open(FORMS[0]);
    let files = stored.files();
    let all = expected();
    let mut hidden = 0;
    for digest in files.blobs() {
        let path = files.blob(&digest);
        let good = fs::read(&path).unwrap();
        for damage in ["cut", "empty", "gone"] {
            match damage {
                "cut" => fs::write(&path, &good[..good.len() - 1]).unwrap(),
                "empty" => fs::write(&path, b"").unwrap(),
                _ => fs::remove_file(&path).unwrap(),
            }
            let list = stored.list().await;
            assert_eq!(list.len(), all.len(), "{digest} {damage}");
            let problems = stored.problems().await;
            hidden += problems.len();
            // Configs, manifests and indexes are each one version's own.
            assert!(problems.len() <= 1, "{digest} {damage}: {problems:?}");
            for (label, why) in problems {
                assert!(why.starts_with("damaged: ") && why.contains(&digest), "{label}: {why}");
            }
            // Nothing that somebody may still need is deleted meanwhile.
            let before = files.blobs();
            let report = stored.gc(9).await;
            if !report.blocked_by.is_empty() {
                assert_eq!(files.blobs(), before, "{digest} {damage}");
            }
            fs::write(&path, &good).unwrap();
        }
    }
    assert!(hidden >= 5 * 3 * 3, "{hidden}");
    assert_eq!(readable(&stored.list().await), all);
    assert!(stored.gc(9).await.blocked_by.is_empty());
}
