//! A full Debian: bootstrapped twice to the same bytes, baked, and booted by plain QEMU with a seed that
//! imgbake did not make.
use camino::Utf8Path;
use imgbake_testkit::{
    PlainGuest, Root, TestHome, Volatile, differences, lock_all_guests, run_tool, shell,
};

#[test]
fn a_real_debian_is_reproducible_baked_and_boots_anywhere() {
    let home = TestHome::new();
    let _lock = lock_all_guests();
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
    let tests = shown["verify"]["tests"].as_array().unwrap();
    let boots = |machine: &str| {
        let boots = tests.iter().find(|one| one["name"] == "boots" && one["machine"] == machine);
        boots.unwrap()["detail"].as_str().unwrap().to_owned()
    };
    assert!(!boots("verify-1").contains("datasource"), "{}", boots("verify-1"));
    assert!(boots("verify-2").ends_with("without a datasource"), "{}", boots("verify-2"));
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
    warm_is_cold(&home, &template);
    assert_eq!(home.leftovers(), Vec::<String>::new());
}

/// What two images of one template may differ in.
const VOLATILE: [Volatile; 0] = [];

/// With one step more, on the layers that are there and from scratch: the same packages and files.
fn warm_is_cold(home: &TestHome, template: &Utf8Path) {
    let text = std::fs::read_to_string(template).unwrap();
    let (head, rest) = text.split_once("[verify]").unwrap();
    let (_, tests) = rest.split_once("[[test]]").unwrap();
    // What was not verified enters no channel.
    let tests = tests.replace("channel = \"dev\"\n", "");
    let added = shell("added", "useradd --create-home added && date --utc +%Y > /etc/added");
    let text = format!("{head}{added}[verify]\nenabled = false\n[[test]]{tests}");
    let longer = home.write("templates/longer.toml", &text);
    let harden = imgbake_testkit::repository().join("provisioners/harden.sh");
    home.write("provisioners/harden.sh", &std::fs::read_to_string(harden).unwrap());

    let warm = home.build(&[longer.as_str()]).exits(0);
    assert_eq!((warm.layers("restored"), warm.ran()), (vec!["motd"], vec!["added"]));
    home.run(&["pull", "debian-12", "-o", "warm.raw"]).exits(0);
    let cold = home.build(&[longer.as_str(), "--no-cache"]).exits(0);
    assert_eq!(cold.ran(), ["source", "boot", "harden", "motd", "added"]);
    home.run(&["pull", "debian-12", "-o", "cold.raw"]).exits(0);

    let roots = ["warm.raw", "cold.raw"].map(|disk| Root::open(&home.dir().join(disk)));
    let packages = roots.each_ref().map(|root| root.read("/var/lib/dpkg/status"));
    assert!(packages[0].windows(14).any(|line| line == b"\nPackage: curl"), "no list of packages");
    assert!(packages[0] == packages[1], "the packages differ");
    assert_eq!(differences(&roots[0], &roots[1], &VOLATILE), Vec::<String>::new());
}
