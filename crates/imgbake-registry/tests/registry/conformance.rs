//! A layout's image is an image.

use imgbake_build::Registry;
use imgbake_testkit::conformance;

use crate::common::Fixture;

#[tokio::test]
async fn a_layout_passes_the_suite() {
    let fixture = Fixture::new();
    for seed in 1..=3 {
        fixture.publish("team/web", seed).await;
    }
    conformance::image(&|| fixture.layout.image("team/web")).await;
}
