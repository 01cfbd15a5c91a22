//! The program on a home that an earlier one left, without guests; and beside what only a later one reads.
#![expect(clippy::unwrap_used, reason = "a test that lacks its ground has failed")]

use imgbake_testkit::TestHome;
use serde_json::{Value, json};

const FORMS: [&str; 1] = ["format-1"];
const WEB: &str = "2026.11.23-1";

fn words<'a>(list: &'a Value, key: &str) -> Vec<&'a str> {
    list.as_array().unwrap().iter().filter_map(|entry| entry[key].as_str()).collect()
}

#[test]
fn every_command_reads_an_earlier_home() {
    for form in FORMS {
        let home = TestHome::stored(form);
        let images = home.run(&["images", "--json"]).json();
        let versions =
            ["2026.11.20-1", "2026.11.22-1", "2026.11.21-1", "2026.11.22-1", "2026.11.23-1"];
        assert_eq!(words(&images, "version"), versions, "{form}");
        assert!(images.as_array().unwrap().iter().all(|version| version.get("problem").is_none()));
        let show = home.run(&["show", "web:prod", "--json"]).json();
        assert_eq!(show["version"], "2026.11.21-1");
        assert_eq!(show["verify"]["status"], "passed");
        assert_eq!(show["stages"][0]["cached"], true);
        assert!(home.run(&["show", "web:prod"]).exits(0).stdout.contains("2026.11.21-1"));
        let moves = home.run(&["history", "web:prod", "--json"]).json();
        assert_eq!(moves.as_array().unwrap().len(), 3, "{moves}");
        home.run(&["pull", "web:prod", "-o", "out.raw"]).exits(0);
        assert_eq!(home.dir().join("out.raw").metadata().unwrap().len(), 256 << 10);
        home.run(&["promote", "web:2026.11.22-1", "--to", "staging"]).exits(3);
        home.run(&["promote", "web:dev", "--to", "prod"]).exits(0);
        let show = home.run(&["show", "web:prod", "--json"]).json();
        assert_eq!(show["version"], WEB);
        home.run(&["gc", "--dry-run"]).exits(0);
        home.run(&["verify"]).exits(0);
        home.run(&["verify", "--deep"]).exits(0);
        let layers = home.run(&["cache", "ls", "--json"]).json();
        let mut names = words(&layers, "name");
        names.sort_unstable();
        assert_eq!(names, ["boot", "nginx", "source"], "{form}");
    }
}

#[test]
fn a_newer_version_is_listed_and_named_in_one_error() {
    let home = TestHome::stored(FORMS[0]);
    let before = home.run(&["images", "--json"]).json();
    home.layout().add_version(("web", WEB, "2030.01.01-1"), |_, _, config| {
        config["io.imgbake.image"] = json!({ "format": 99, "needs": "0.9.0" });
    });
    let mut after = home.run(&["images", "--json"]).json();
    let newer = after.as_array_mut().unwrap().pop().unwrap();
    assert_eq!(after, before, "the others are as they were");
    assert_eq!(newer["version"], "2030.01.01-1");
    assert_eq!(newer["problem"]["kind"], "newer");
    assert_eq!(newer["problem"]["needs"], "0.9.0");
    let table = home.run(&["images"]).exits(0).stdout;
    assert!(table.contains("needs imgbake ≥ 0.9.0"), "{table}");
    let show = home.run(&["show", "web:2030.01.01-1"]).exits(4);
    assert_eq!(show.stderr.matches("needs imgbake ≥ 0.9.0").count(), 1, "{show}");
    home.run(&["pull", "web:2030.01.01-1", "-o", "out.raw"]).exits(4);
    home.run(&["promote", "web:2030.01.01-1", "--to", "prod"]).exits(4);
    home.run(&["history", "web:prod"]).exits(0);
    home.run(&["verify"]).exits(0);
    let gc = home.run(&["gc", "--dry-run"]).exits(0).stdout;
    assert!(gc.contains("needs imgbake ≥ 0.9.0"), "{gc}");
}

#[test]
fn a_damaged_version_is_listed_and_named_in_one_error() {
    let home = TestHome::stored(FORMS[0]);
    let layout = home.layout();
    let digest = layout.label("web:2026.11.22-1").unwrap()["digest"].as_str().unwrap().to_owned();
    std::fs::remove_file(layout.blob(&digest)).unwrap();
    let images = home.run(&["images", "--json"]).json();
    let problems: Vec<&Value> = images
        .as_array()
        .unwrap()
        .iter()
        .filter(|version| version.get("problem").is_some())
        .collect();
    assert_eq!((images.as_array().unwrap().len(), problems.len()), (5, 1), "{images}");
    assert_eq!(problems[0]["version"], "2026.11.22-1");
    assert_eq!(problems[0]["problem"]["kind"], "damaged");
    home.run(&["show", "web:2026.11.22-1"]).exits(1);
    home.run(&["show", "web:prod"]).exits(0);
    home.run(&["promote", "web:dev", "--to", "prod"]).exits(0);
    let gc = home.run(&["gc"]).exits(0);
    assert!(gc.stderr.contains("no blob is deleted"), "{gc}");
    home.run(&["verify"]).exits(1);
}
