//! Promotion over a real layout.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on shall panic")]

use std::sync::Arc;

use async_trait::async_trait;
use camino::Utf8Path;
use imgbake_bless::keys::{Algorithm, PrivateKey, Signer as _};
use imgbake_bless::trust::{Trust, check_channel, check_move};
use imgbake_bless::{Answer, Candidate, Gate, MoveRequest, Promotion, Verified, promote, rollback};
use imgbake_build::evidence::{EvidenceKind, record_verify};
use imgbake_build::{BuildError, BuildErrorKind, Capture, Image, Naming, Registry};
use imgbake_disk::chunk::ChunkTable;
use imgbake_registry::Layout;
use imgbake_testkit::image_config;
use imgbake_types::record::{RecordedMove, TestOutcome, VerifyRecord, VerifyStatus, VersionView};
use imgbake_types::{Action, Actor, ChannelName, Digest};

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
            time: jiff::Timestamp::now(),
            status,
            tests: vec![test("boots", true), test("serves", status == VerifyStatus::Passed)],
            seconds: 2.0,
            disk_sha256: None,
        };
        record_verify(&*self.layout.image("web"), &record).await.unwrap();
    }

    fn image(&self) -> Box<dyn Image> {
        self.layout.image("web")
    }

    async fn promote(&self, from: &str, to: &str) -> Result<Promotion, BuildError> {
        let gates: [Box<dyn Gate>; 1] = [Box::new(Verified)];
        self.promote_by(&gates, from, to).await
    }

    async fn promote_by(
        &self,
        gates: &[Box<dyn Gate>],
        from: &str,
        to: &str,
    ) -> Result<Promotion, BuildError> {
        let version = self.layout.resolve(&from.parse().unwrap()).await?;
        let (channel, who) = (to.parse()?, "ada@host".parse().unwrap());
        let source = Some(from.to_owned());
        promote(&*self.image(), gates, version, &request(&channel, &who, Action::Promote, source))
            .await
    }

    async fn rollback(&self, to: Option<&str>) -> Result<Promotion, BuildError> {
        let gates: [Box<dyn Gate>; 1] = [Box::new(Verified)];
        let (channel, who) = ("prod".parse()?, "bob@host".parse().unwrap());
        let to = to.map(|to| to.parse().unwrap());
        let request = request(&channel, &who, Action::Rollback, None);
        rollback(&*self.image(), &gates, to.as_ref(), &request).await
    }

    async fn history(&self, channel: &str) -> Vec<RecordedMove> {
        self.image().history(&channel.parse().unwrap()).await.unwrap()
    }

    async fn points_at(&self, reference: &str) -> Option<Digest> {
        self.layout.resolve(&reference.parse().unwrap()).await.ok().map(|version| version.digest)
    }
}

fn request<'a>(
    channel: &'a ChannelName,
    who: &'a Actor,
    action: Action,
    source: Option<String>,
) -> MoveRequest<'a> {
    MoveRequest {
        channel,
        who,
        action,
        source,
        reason: Some("tested"),
        dry_run: false,
        trust: Trust::default(),
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
    let moved = promotion.moved.unwrap().entry;
    assert_eq!(
        (moved.source.as_deref(), moved.reason.as_deref()),
        (Some("web:dev"), Some("tested"))
    );
    assert_eq!((moved.who.as_str(), moved.action.as_str()), ("ada@host", "promote"));
    assert_eq!((moved.number, &moved.previous), (1, &None));
    // What the gates said is part of the record.
    let [verdict] = &moved.verdicts[..] else { panic!("{moved:?}") };
    assert!(verdict.gate == "verified" && verdict.passed, "{verdict:?}");
    let evidence = fixture.image().evidence(&first.digest, None).await.unwrap();
    let [item] = &evidence.items[..] else { panic!("{evidence:?}") };
    assert_eq!(verdict.evidence, std::slice::from_ref(&item.digest));
    assert_eq!(fixture.points_at("web:prod").await, Some(first.digest.clone()));

    let second = fixture.publish(VerifyStatus::Passed).await;
    let promotion = fixture.promote(&format!("web@{}", second.digest), "prod").await.unwrap();
    assert!(
        promotion.describe().contains("and was 2026.11.23-1 before"),
        "{}",
        promotion.describe()
    );
    assert_eq!(fixture.points_at("web:dev").await, Some(first.digest));
    let history = fixture.history("prod").await;
    let versions: Vec<_> = history.iter().map(|moved| moved.entry.to.version.as_str()).collect();
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
            "it failed verification: 1 of 2 tests failed\n  serves (verify-1): exit code 7",
        ),
        (VerifyStatus::Unverified, "it was never verified"),
    ] {
        let bad = fixture.publish(status).await;
        let error = fixture.promote("web", "prod").await.unwrap_err();
        assert_eq!(error.kind(), BuildErrorKind::Refused);
        let said =
            format!("web:{} cannot be promoted to web:prod: {why} (gate `verified`)", bad.version);
        assert_eq!(error.to_string(), said);
        let help = error.help_text().unwrap();
        assert!(help.contains(&format!("imgbake test web:{}", bad.version)), "{help}");
        assert_eq!(fixture.points_at("web:prod").await, Some(good.digest.clone()));
        assert_eq!(fixture.history("prod").await.len(), 1);
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
    assert_eq!(fixture.history("prod").await.len(), 1);
}

#[tokio::test]
async fn wrong_names_are_the_users_mistake() {
    let fixture = Fixture::new();
    fixture.publish(VerifyStatus::Passed).await;
    for (from, to, kind) in [
        ("web", "2026.11.23-1", BuildErrorKind::Usage),
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

#[async_trait]
impl Gate for Closed {
    fn name(&self) -> &str {
        self.0
    }

    async fn check(&self, candidate: Candidate<'_>) -> Result<Answer, BuildError> {
        Ok(match candidate.channel.as_str() {
            "prod" => Answer::refused("prod is closed"),
            _ => Answer::passed("it is open"),
        })
    }
}

#[tokio::test]
async fn every_gate_is_asked_and_told() {
    let fixture = Fixture::new();
    fixture.publish(VerifyStatus::Unverified).await;
    let gates: [Box<dyn Gate>; 3] =
        [Box::new(Closed("a")), Box::new(Verified), Box::new(Closed("b"))];
    let refused = fixture.promote_by(&gates, "web", "prod").await.unwrap_err();
    for part in [
        "prod is closed (gate `a`)",
        "never verified (gate `verified`)",
        "prod is closed (gate `b`)",
    ] {
        assert!(refused.to_string().contains(part), "{refused}");
    }
    let open: [Box<dyn Gate>; 1] = [Box::new(Closed("a"))];
    assert!(fixture.promote_by(&open, "web", "dev").await.is_ok());
}

/// A gate that asks for evidence of a kind of its own.
struct Scanned;

const SCAN: &str = "application/vnd.example.scan+json";

#[async_trait]
impl Gate for Scanned {
    fn name(&self) -> &'static str {
        "scanned"
    }

    async fn check(&self, candidate: Candidate<'_>) -> Result<Answer, BuildError> {
        let found = candidate.evidence.items.iter().find(|item| item.kind.media_type() == SCAN);
        Ok(match found {
            Some(item) => Answer::passed("no findings").based_on([item.digest.clone()]),
            None => Answer::refused("it was never scanned"),
        })
    }
}

#[tokio::test]
async fn a_gate_sees_evidence_of_any_kind() {
    let fixture = Fixture::new();
    let version = fixture.publish(VerifyStatus::Passed).await;
    let gates: [Box<dyn Gate>; 2] = [Box::new(Verified), Box::new(Scanned)];
    let refused = fixture.promote_by(&gates, "web", "prod").await.unwrap_err();
    assert!(refused.to_string().contains("never scanned (gate `scanned`)"), "{refused}");
    let kind = EvidenceKind::new(SCAN);
    let scan = fixture
        .image()
        .attach(&version.digest, &kind, jiff::Timestamp::now(), b"{}".to_vec())
        .await
        .unwrap();
    let moved = fixture.promote_by(&gates, "web", "prod").await.unwrap().moved.unwrap();
    assert_eq!(moved.entry.verdicts[1].evidence, [scan.digest]);
}

#[tokio::test]
async fn a_dry_run_asks_every_gate_and_moves_nothing() {
    let fixture = Fixture::new();
    fixture.publish(VerifyStatus::Passed).await;
    let version = fixture.layout.resolve(&"web".parse().unwrap()).await.unwrap();
    let gates: [Box<dyn Gate>; 2] = [Box::new(Verified), Box::new(Closed("a"))];
    let (channel, who) = ("prod".parse().unwrap(), "ada@host".parse().unwrap());
    let request = MoveRequest { dry_run: true, ..request(&channel, &who, Action::Promote, None) };
    let asked = promote(&*fixture.image(), &gates, version, &request).await.unwrap();
    let passed: Vec<_> = asked.verdicts.iter().map(|verdict| verdict.passed).collect();
    assert_eq!((passed, &asked.moved), (vec![true, false], &None));
    assert_eq!(asked.refusal().unwrap().kind(), BuildErrorKind::Refused);
    assert_eq!(fixture.points_at("web:prod").await, None);
}

#[tokio::test]
async fn a_rollback_goes_where_the_channel_was() {
    let fixture = Fixture::new();
    let missing = fixture.rollback(None).await.unwrap_err();
    assert_eq!(missing.kind(), BuildErrorKind::NotFound, "{missing}");
    let mut versions = Vec::new();
    for _ in 0..3 {
        versions.push(fixture.publish(VerifyStatus::Passed).await);
        fixture.promote("web", "prod").await.unwrap();
        if versions.len() == 1 {
            let first = fixture.rollback(None).await.unwrap_err();
            assert!(first.to_string().contains("it pointed at nothing before"), "{first}");
        }
    }
    let moved = fixture.rollback(None).await.unwrap().moved.unwrap().entry;
    assert_eq!((moved.action, moved.number, moved.who.as_str()), (Action::Rollback, 4, "bob@host"));
    assert_eq!(fixture.points_at("web:prod").await, Some(versions[1].digest.clone()));
    fixture.rollback(Some("2026.11.23-1")).await.unwrap();
    assert_eq!(fixture.points_at("web:prod").await, Some(versions[0].digest.clone()));
    // Where it never was is promote's business.
    let other = fixture.publish(VerifyStatus::Passed).await;
    let never = fixture.rollback(Some(other.version.as_str())).await.unwrap_err();
    assert_eq!(never.kind(), BuildErrorKind::Usage);
    // The gates are asked again.
    fixture.verify(&versions[1], VerifyStatus::Failed).await;
    let refused = fixture.rollback(None).await.unwrap_err();
    assert_eq!(refused.kind(), BuildErrorKind::Refused, "{refused}");
    assert_eq!(fixture.history("prod").await.len(), 5);
}

/// A gate during which somebody else moves the channel.
struct Meanwhile(Box<dyn Image>, VersionView);

#[async_trait]
impl Gate for Meanwhile {
    fn name(&self) -> &'static str {
        "meanwhile"
    }

    async fn check(&self, candidate: Candidate<'_>) -> Result<Answer, BuildError> {
        let who = "eve@elsewhere".parse().unwrap();
        let request = request(candidate.channel, &who, Action::Promote, None);
        promote(&*self.0, &[], self.1.clone(), &request).await?;
        Ok(Answer::passed("it took its time"))
    }
}

#[tokio::test]
async fn who_is_not_first_is_refused_and_hears_who_was() {
    let fixture = Fixture::new();
    let first = fixture.publish(VerifyStatus::Passed).await;
    let second = fixture.publish(VerifyStatus::Passed).await;
    let gates: [Box<dyn Gate>; 1] = [Box::new(Meanwhile(fixture.image(), second.clone()))];
    let lost =
        fixture.promote_by(&gates, &format!("web:{}", first.version), "prod").await.unwrap_err();
    assert_eq!(lost.kind(), BuildErrorKind::Refused);
    let said = lost.to_string();
    for part in ["eve@elsewhere moved it first, at 2", "it points at 2026.11.23-2 now"] {
        assert!(said.contains(part), "{said}");
    }
    assert_eq!(fixture.history("prod").await.len(), 1);
    assert_eq!(fixture.points_at("web:prod").await, Some(second.digest));
}

#[tokio::test]
async fn a_signed_record_is_stored_with_its_signature() {
    let fixture = Fixture::new();
    let version = fixture.publish(VerifyStatus::Passed).await;
    fixture.promote("web", "prod").await.unwrap();
    let world = imgbake_testkit::fake::FakeWorld::new(imgbake_testkit::fake::Features::ALL);
    let (job, _events) = world.begin();
    let key = PrivateKey::generate(Algorithm::Ed25519).unwrap();
    let keys = [key.public().clone()];
    let (channel, who) = ("prod".parse().unwrap(), "ada@host".parse().unwrap());
    let trust = Trust { signer: Some((&job, &key)), keys: &keys };
    let second = fixture.publish(VerifyStatus::Passed).await;
    let signed = MoveRequest { trust, ..request(&channel, &who, Action::Promote, None) };
    let promotion = promote(&*fixture.image(), &[], second, &signed).await.unwrap();
    let moved = promotion.moved.unwrap();
    let history = fixture.history("prod").await;
    assert_eq!(history[0], moved);
    assert_eq!(check_move(&history[0], "web", &channel, &keys), Ok(key.public().id()));
    assert!(history[1].signatures.is_empty());
    let image = fixture.image();
    let digest = moved.entry.to.digest.clone();
    assert_eq!(check_channel(&*image, &channel, &digest, &keys).await.unwrap(), key.public().id());
    // What the channel does not point at, an unsigned channel, and another key.
    let other = [PrivateKey::generate(Algorithm::P256).unwrap().public().clone()];
    fixture.promote("web", "dev").await.unwrap();
    for (channel, digest, keys, part) in [
        ("prod", &version.digest, &keys, "and its newest record says"),
        ("prod", &digest, &other, "which may not move this channel"),
        ("dev", &digest, &keys, "it is not signed"),
        ("none", &digest, &keys, "no record says"),
    ] {
        let found = check_channel(&*image, &channel.parse().unwrap(), digest, keys).await;
        let error = found.unwrap_err();
        assert_eq!(error.kind(), BuildErrorKind::Refused, "{error}");
        assert!(error.to_string().contains(part), "{part}: {error}");
    }
    assert!(moved.entry.verdicts.iter().any(|verdict| verdict.gate == "keys" && verdict.passed));
    // Without the key, back is no way either.
    let unsigned = Trust { signer: None, keys: &keys };
    let back = MoveRequest { trust: unsigned, ..request(&channel, &who, Action::Rollback, None) };
    let error = rollback(&*fixture.image(), &[], None, &back).await.unwrap_err();
    assert_eq!(error.kind(), BuildErrorKind::Refused);
    assert!(error.to_string().contains("(gate `keys`)"), "{error}");
    let back = MoveRequest { trust, ..request(&channel, &who, Action::Rollback, None) };
    rollback(&*fixture.image(), &[], None, &back).await.unwrap();
    assert_eq!(fixture.points_at("web:prod").await, Some(version.digest));
    job.end().unwrap();
}
