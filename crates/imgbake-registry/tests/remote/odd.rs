//! Registries as users have them: each oddity is lived with, and nothing is lost silently.

use std::time::Duration;

use imgbake_oci::{FixedLogin, RemoteOptions};
use imgbake_registry::transfer::End;
use imgbake_testkit::{Accepts, Habits, Odd, TestRegistry};

use crate::fixture::{Fixture, VERSION, seed};

const ODDITIES: [Odd; 11] = [
    Odd::ReferrersUnauthorized,
    Odd::NullReferrers,
    Odd::DashIsDigest,
    Odd::ManyLinks,
    Odd::EmptyPage,
    Odd::PieceOutOfRange,
    Odd::PingForbidden,
    Odd::OneAcceptLine,
    Odd::BasicFirst,
    Odd::TagsScope,
    Odd::UploadRedirected,
];

fn habits(odd: Odd) -> Habits {
    let accepts = match odd {
        Odd::BasicFirst | Odd::TagsScope => Accepts::Token("u", "p", Duration::from_secs(60)),
        _ => Accepts::All,
    };
    let largest_upload = if odd == Odd::PieceOutOfRange { 256 << 10 } else { 0 };
    Habits { accepts, largest_upload, odd: Some(odd), ..Habits::default() }
}

fn options() -> RemoteOptions {
    let mut options = RemoteOptions::default();
    options.credentials.fixed = Some(FixedLogin {
        user: "u".into(),
        password: "p".to_owned().into(),
        host: None,
        origin: "the test".into(),
    });
    options
}

#[tokio::test]
async fn a_version_goes_through_every_oddity_with_all_that_refers_to_it() {
    let sound = TestRegistry::start(Habits::default()).await;
    let digest = seed(&sound, "web", VERSION, 7);
    for odd in ODDITIES {
        let (here, there) = (Fixture::new(), Fixture::new());
        let from = here.remote(&sound.host(), "web").await;
        here.copy(&from, &here.local("web")).await.unwrap();
        let registry = TestRegistry::start(habits(odd)).await;
        let host = registry.host();
        let repository = here.repository_with(&host, "web", &options()).await.unwrap();
        let out = End::remote(&here.job, repository.clone());
        let copied = here.copy(&here.local("web"), &out).await.unwrap();
        assert_eq!((&copied.digest, copied.referrers), (&digest, 2), "{odd:?}");
        let repository = there.repository_with(&host, "web", &options()).await.unwrap();
        let back = End::remote(&there.job, repository);
        let copied = there.copy(&back, &there.local("web")).await.unwrap();
        assert_eq!((&copied.digest, copied.referrers), (&digest, 2), "{odd:?}");
        assert_eq!(there.blobs(), here.blobs(), "{odd:?}");
    }
}

#[tokio::test]
async fn all_tags_are_listed() {
    for odd in [Odd::ManyLinks, Odd::EmptyPage, Odd::TagsScope] {
        let fixture = Fixture::new();
        let registry = TestRegistry::start(habits(odd)).await;
        let mut tags: Vec<String> = (0..30).map(|number| format!("1.0.{number}")).collect();
        for tag in &tags {
            registry.put_manifest("web", tag, crate::fixture::MANIFEST, b"{}");
        }
        tags.sort();
        let repository =
            fixture.repository_with(&registry.host(), "web", &options()).await.unwrap();
        let listed: Vec<String> = repository.tags().await.unwrap().into_iter().collect();
        assert_eq!(listed, tags, "{odd:?}");
    }
}
