//! Promotion over a real layout.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on shall panic")]

use std::sync::Arc;

use camino::Utf8Path;
use imgbake_bless::{Gate, Promotion, Refusal, Verified, promote};
use imgbake_build::{BuildError, BuildErrorKind, Capture, Naming, Registry};
use imgbake_disk::chunk::ChunkTable;
use imgbake_registry::Layout;
use imgbake_testkit::image_config;
use imgbake_types::Digest;
use imgbake_types::record::{TestOutcome, VerifyRecord, VerifyStatus, VersionView};

struct Fixture {
    layout: Layout,
    _temp: tempfile::TempDir,
}

impl Fixture {
    fn new() -> Self {
        let temp = tempfile::tempdir().unwrap();
        let root = Utf8Path::from_path(temp.path()).unwrap().join("registry");
        Self { layout: Layout::open(root).unwrap(), _temp: temp }
    }

    /// Publishes an empty disk, verified or not.
    async fn publish(&self, status: VerifyStatus) -> VersionView {
        let capture = Capture {
            sha256: Some(Digest::sha256("")),
            table: Arc::new(ChunkTable::new(0, &[], Vec::new()).unwrap()),
            packs: Vec::new(),
            read_bytes: 0,
            plain: None,
        };
        let naming = Naming::Dated { day: "2026.11.23".to_owned() };
        let version = self.layout.publish(&capture, image_config("web"), &naming).await.unwrap();
        if status != VerifyStatus::Unverified {
            self.verify(&version, status).await;
        }
        version
    }

    async fn verify(&self, version: &VersionView, status: VerifyStatus) {
        let test = |name: &str, passed| TestOutcome {
            name: name.to_owned(),
            machine: "verify-1".to_owned(),
            passed,
            seconds: 1.0,
            detail: "exit code 7\nmore".to_owned(),
        };
        let record = VerifyRecord {
            subject: version.digest.clone(),
            time: "2026-11-23T11:00:00Z".parse().unwrap(),
            status,
            tests: vec![test("boots", true), test("serves", status == VerifyStatus::Passed)],
            seconds: 2.0,
            disk_sha256: None,
        };
        self.layout.record_verify("web", &record).await.unwrap();
    }

    async fn promote(&self, from: &str, to: &str) -> Result<Promotion, BuildError> {
        let gates: [Box<dyn Gate>; 1] = [Box::new(Verified)];
        promote(
            &self.layout,
            &gates,
            &from.parse().unwrap(),
            to,
            "ada@host",
            "promote",
            Some("tested"),
        )
        .await
    }

    async fn points_at(&self, reference: &str) -> Option<Digest> {
        self.layout.resolve(&reference.parse().unwrap()).await.ok().map(|version| version.digest)
    }
}

#[tokio::test]
async fn a_verified_version_goes_from_channel_to_channel() {
    let fixture = Fixture::new();
    let first = fixture.publish(VerifyStatus::Passed).await;
    assert!(
        fixture
            .promote("web", "dev")
            .await
            .unwrap()
            .describe()
            .ends_with("web:dev is 2026.11.23-1 now")
    );
    let promotion = fixture.promote("web:dev", "prod").await.unwrap();
    let moved = promotion.moved.unwrap();
    assert_eq!(
        (moved.source.as_deref(), moved.reason.as_deref()),
        (Some("web:dev"), Some("tested"))
    );
    assert_eq!((moved.who.as_str(), moved.action.as_str()), ("ada@host", "promote"));
    assert_eq!(fixture.points_at("web:prod").await, Some(first.digest.clone()));

    let second = fixture.publish(VerifyStatus::Passed).await;
    let promotion = fixture.promote(&format!("web@{}", second.digest), "prod").await.unwrap();
    assert!(
        promotion.describe().contains("and was 2026.11.23-1 before"),
        "{}",
        promotion.describe()
    );
    assert_eq!(fixture.points_at("web:dev").await, Some(first.digest));
    let history = fixture.layout.history("web", "prod").await.unwrap();
    let versions: Vec<_> = history.iter().map(|entry| entry.to.version.as_str()).collect();
    assert_eq!(versions, ["2026.11.23-2", "2026.11.23-1"]);
}

#[tokio::test]
async fn what_is_not_verified_is_refused_and_nothing_moves() {
    let fixture = Fixture::new();
    let good = fixture.publish(VerifyStatus::Passed).await;
    fixture.promote("web", "prod").await.unwrap();
    for (status, why) in [
        (
            VerifyStatus::Failed,
            "its verify failed: 1 of 2 tests did not pass\n  serves (verify-1): exit code 7",
        ),
        (VerifyStatus::Unverified, "it was never verified"),
    ] {
        let bad = fixture.publish(status).await;
        let error = fixture.promote("web", "prod").await.unwrap_err();
        assert_eq!(error.kind(), BuildErrorKind::Refused);
        let said = format!("web:{} may not become web:prod: {why} (gate `verified`)", bad.version);
        assert_eq!(error.to_string(), said);
        let help = error.help_text().unwrap();
        assert!(help.contains(&format!("imgbake test web:{}", bad.version)), "{help}");
        assert_eq!(fixture.points_at("web:prod").await, Some(good.digest.clone()));
        assert_eq!(fixture.layout.history("web", "prod").await.unwrap().len(), 1);
        // Once it passes, the same command goes through.
        fixture.verify(&bad, VerifyStatus::Passed).await;
        fixture.promote("web", "staging").await.unwrap();
        assert_eq!(fixture.points_at("web:staging").await, Some(bad.digest));
    }
}

#[tokio::test]
async fn promoting_to_where_it_is_moves_nothing() {
    let fixture = Fixture::new();
    fixture.publish(VerifyStatus::Passed).await;
    fixture.promote("web", "prod").await.unwrap();
    for from in ["web", "web:prod", "web:2026.11.23-1"] {
        let promotion = fixture.promote(from, "prod").await.unwrap();
        assert_eq!(promotion.moved, None);
        assert_eq!(promotion.describe(), "web:prod is 2026.11.23-1 already: nothing moved");
    }
    assert_eq!(fixture.layout.history("web", "prod").await.unwrap().len(), 1);
}

#[tokio::test]
async fn wrong_names_are_the_users_mistake() {
    let fixture = Fixture::new();
    fixture.publish(VerifyStatus::Passed).await;
    for (from, to, kind) in [
        ("web", "2026.11.23-1", BuildErrorKind::Usage),
        ("web", "2027.01.01-1", BuildErrorKind::Usage),
        ("web", "sha256-00", BuildErrorKind::Usage),
        ("web", "prod.history", BuildErrorKind::Usage),
        ("web", "not a tag", BuildErrorKind::Usage),
        ("web:dev", "prod", BuildErrorKind::NotFound),
        ("wbe", "prod", BuildErrorKind::NotFound),
    ] {
        let error = fixture.promote(from, to).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{from} to {to}: {error}");
        assert!(error.help_text().is_some(), "{from} to {to}");
    }
    assert_eq!(fixture.points_at("web:prod").await, None);
}

/// A gate that keeps a channel closed.
struct Closed(&'static str);

impl Gate for Closed {
    fn name(&self) -> &str {
        self.0
    }

    fn check(&self, _version: &VersionView, channel: &str) -> Result<(), Refusal> {
        if channel == "prod" { Err(Refusal::new("prod is closed")) } else { Ok(()) }
    }
}

#[tokio::test]
async fn every_gate_is_asked_and_told() {
    let fixture = Fixture::new();
    fixture.publish(VerifyStatus::Unverified).await;
    let gates: [Box<dyn Gate>; 3] =
        [Box::new(Closed("a")), Box::new(Verified), Box::new(Closed("b"))];
    let from = "web".parse().unwrap();
    let refused = promote(&fixture.layout, &gates, &from, "prod", "ada@host", "promote", None)
        .await
        .unwrap_err();
    for part in [
        "prod is closed (gate `a`)",
        "never verified (gate `verified`)",
        "prod is closed (gate `b`)",
    ] {
        assert!(refused.to_string().contains(part), "{refused}");
    }
    let open: [Box<dyn Gate>; 1] = [Box::new(Closed("a"))];
    assert!(
        promote(&fixture.layout, &open, &from, "dev", "ada@host", "promote", None).await.is_ok()
    );
}
