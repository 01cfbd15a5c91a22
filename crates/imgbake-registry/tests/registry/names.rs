//! Names of versions and channels: never used twice, never for both.

use imgbake_build::{BuildErrorKind, Naming, Registry};
use imgbake_types::record::VersionView;

use crate::common::{Fixture, capture, config, disk, entry};

async fn fixed(fixture: &Fixture, version: &str) -> Result<VersionView, imgbake_build::BuildError> {
    let capture = capture(&fixture.dir, &disk(9));
    fixture.layout.publish(&capture, config("web"), &Naming::Fixed(version.parse().unwrap())).await
}

#[tokio::test]
async fn a_days_numbers_go_on_after_the_highest() {
    let fixture = Fixture::new();
    fixed(&fixture, "2026.11.23-7").await.unwrap();
    fixed(&fixture, "2026.11.22-9").await.unwrap();
    assert_eq!(fixture.publish("web", 1).await.version.as_str(), "2026.11.23-8");
    assert_eq!(fixture.publish("db", 1).await.version.as_str(), "2026.11.23-1");
}

#[tokio::test]
async fn a_name_is_a_version_or_a_channel_for_ever() {
    let fixture = Fixture::new();
    let version = fixed(&fixture, "1.0").await.unwrap();
    fixture.move_to("web", "dev", &version).await;
    for taken in ["1.0", "dev", "dev.history", "sha256-00"] {
        let error = fixed(&fixture, taken).await.unwrap_err();
        assert_eq!(error.kind(), BuildErrorKind::Usage, "{taken}: {error}");
    }
    for channel in ["1.0", "2026.11.23-1", "x.history", "sha256-00", "-x"] {
        let error = fixture.layout.move_channel("web", entry(channel, &version)).await.unwrap_err();
        assert_eq!(error.kind(), BuildErrorKind::Usage, "{channel}: {error}");
    }
    assert_eq!(fixture.layout.versions(None).await.unwrap().len(), 1);
    assert_eq!(fixture.resolve("web:1.0").await.unwrap().digest, version.digest);
}
