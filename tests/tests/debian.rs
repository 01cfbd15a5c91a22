//! A full Debian: bootstrapped twice to the same bytes, baked, and booted by plain QEMU with a seed that
//! imgbake did not make.

use imgbake_testkit::{PlainGuest, TestHome, run_tool, turn};

#[test]
fn a_real_debian_is_reproducible_baked_and_boots_anywhere() {
    let home = TestHome::new();
    let _turn = turn();
    let repository = imgbake_testkit::repository();
    let template = repository.join("templates/debian-12.toml");

    // The bootstrap alone, twice, each in a home of its own.
    let sums = [0, 1].map(|_| imgbake_testkit::bootstrap_digest(&template));
    assert_eq!(sums[0], sums[1], "two bootstraps of one template differ");

    // A kill while packages are installed: no process, mount or file of the root is left.
    let mut child = home.spawn("killed", &["build", template.as_str(), "--events", "killed.jsonl"]);
    let installing = |event: &serde_json::Value| {
        event["type"] == "stage_status"
            && event["status"].as_str().is_some_and(|words| words.contains("install"))
    };
    assert!(home.wait_for("killed.jsonl", &mut child, installing), "no package was ever installed");
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(home.run(&["images", "--json"]).json().as_array().unwrap().is_empty());
    assert_eq!(home.leftovers(), Vec::<String>::new());

    home.run(&["build", template.as_str()]).exits(0);
    let shown = home.run(&["show", "debian-12:dev", "--json"]).json();
    assert_eq!(shown["verify"]["status"], "passed");
    home.run(&["promote", "debian-12:dev", "--to", "prod"]).exits(0);
    assert_eq!(home.run(&["show", "debian-12:prod", "--json"]).json()["digest"], shown["digest"]);

    home.run(&["pull", "debian-12:dev", "-o", "d.qcow2"]).exits(0);
    let disk = home.dir().join("d.qcow2");
    run_tool("qemu-img", &["check", disk.as_str()]).exits(0);
    let guests = ["bios", "uefi"].map(|firmware| PlainGuest::boot(&home, &disk, firmware));
    let identities = guests.map(|guest| guest.identity());
    assert_eq!(identities[0].machine_id.len(), 32);
    assert_ne!(identities[0].machine_id, identities[1].machine_id);
    assert!(!identities[0].host_keys.is_empty());
    for key in &identities[0].host_keys {
        assert!(!identities[1].host_keys.contains(key), "both guests have the host key {key}");
    }
    assert_eq!(home.leftovers(), Vec::<String>::new());
}
