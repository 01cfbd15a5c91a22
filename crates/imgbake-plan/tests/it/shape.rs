//! A plan's own form, and what is said of missing files.

use imgbake_plan::PlanError;
use imgbake_types::plan::{Checksum, Source};

use crate::common::{Case, Files};

#[test]
fn a_plan_is_this_json() {
    let plan = Case::default().plan().unwrap();
    let shown = serde_json::to_string_pretty(&plan).unwrap();
    insta::assert_snapshot!(shown);
    assert_eq!(plan.digest, plan.steps.last().unwrap().key);
    let read: imgbake_types::Plan = serde_json::from_str(&shown).unwrap();
    assert_eq!(read, plan);
}

#[test]
fn every_missing_file_is_told_at_once() {
    let mut case = Case {
        files: Files::default(),
        ..Case::edit("suite = \"bookworm\"", "suite = \"bookworm\", keyring = \"k.gpg\"")
    };
    let Err(PlanError::Template(found)) = case.plan() else { panic!("no files") };
    let shown = found.to_string();
    insta::assert_snapshot!(shown);
    case.text = Case::source("url = \"a\"\nchecksum = \"file:b\"").text;
    let Err(PlanError::Template(found)) = case.plan() else { panic!("no files") };
    assert_eq!(found.items.len(), 2);
    assert!(found.items.iter().all(|item| item.code == "missing-file"));
}

#[test]
fn locations_are_absolute() {
    let digest = format!("sha512:{}", "b".repeat(128));
    let case = |text: &str| Case {
        files: Files::default().with("/t/base.qcow2", "disk", 0o644).with("/t/SUMS", "sums", 0o644),
        ..Case::source(text)
    };
    let local =
        case(&format!("url = \"file:base.qcow2\"\nchecksum = \"{digest}\"")).plan().unwrap();
    let Some((step, Source::Url(url))) = local.source() else { panic!("url") };
    assert_eq!(url.location, "/t/base.qcow2");
    assert_eq!(step.files[0].digest.to_string(), digest);

    let listed = case("url = \"https://x/y\"\nchecksum = \"file:SUMS\"\nheaders = { A = \"b\" }");
    let listed = listed.plan().unwrap();
    let Some((step, Source::Url(url))) = listed.source() else { panic!("url") };
    assert_eq!(url.checksum, Checksum::Sums { location: "/t/SUMS".into() });
    assert_eq!((url.location.as_str(), step.files.len()), ("https://x/y", 1));

    let open = case("url = \"base.qcow2\"\nchecksum = \"none\"\nallow_unverified = true");
    let open = open.plan().unwrap();
    let Some((_, Source::Url(url))) = open.source() else { panic!("url") };
    assert_eq!(url.checksum, Checksum::Unverified);
}
