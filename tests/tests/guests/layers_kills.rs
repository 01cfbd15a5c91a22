//! `kill -9` at random moments of saving, restoring and publishing: nothing is left, and the next build
//! is right.
use std::time::Duration;

use camino::Utf8PathBuf;
use imgbake_testkit::{EventLog, Random, Root, TestHome, lock_guests, shell, tiny_template};
use serde_json::Value;

/// What a build does when it is killed.
#[derive(Debug, Clone, Copy)]
enum Moment {
    Save,
    Restore,
    Publish,
}

impl Moment {
    fn begins(self, event: &Value) -> bool {
        match self {
            Self::Save => {
                event["type"] == "stage_finished"
                    && event["stage"] == "provision"
                    && event["name"] == "two"
            }
            Self::Restore => event["type"] == "stage_started" && event["stage"] == "restore",
            Self::Publish => event["type"] == "stage_started" && event["stage"] == "publish",
        }
    }

    fn ends(self, event: &Value) -> bool {
        match self {
            Self::Save => event["type"] == "stage_started",
            Self::Restore => event["type"] == "stage_finished" && event["stage"] == "restore",
            Self::Publish => event["type"] == "build_finished",
        }
    }

    /// How long it takes.
    fn length(self, log: &EventLog) -> Duration {
        Duration::from_secs_f64(log.between(|e| self.begins(e), |e| self.ends(e)))
    }
}

/// Each round's second step is another: the first one's layer is always there.
fn template(home: &TestHome, round: usize) -> Utf8PathBuf {
    let one = shell(
        "one",
        "head -c 4000000 /dev/urandom > /var/lib/blob; sha256sum /var/lib/blob > /etc/sum",
    );
    let two = shell("two", &format!("sha256sum -c /etc/sum; echo {round} > /etc/round"));
    tiny_template(home, "tiny", &format!("[verify]\nenabled = false\n{one}{two}"))
}

#[test]
fn twenty_kills_at_random_moments() {
    let home = TestHome::new();
    let mut dice = Random::new();
    eprintln!("the kills are those of IMGBAKE_TEST_SEED={}", dice.seed());
    let _lock = lock_guests();
    home.build(&[template(&home, 0).as_str()]).exits(0);
    let warm = home.build(&[template(&home, 1).as_str()]).exits(0);
    assert_eq!(warm.layers("restored"), ["one"]);
    let moments = [Moment::Save, Moment::Restore, Moment::Publish];
    for round in 2..22 {
        let moment = moments[round % 3];
        let after = dice.time(moment.length(&warm));
        let what = format!("killed {after:?} into {moment:?}, round {round}");
        let template = template(&home, round);
        let events = home.free_events();
        let mut child = home.spawn("killed", &["build", template.as_str(), "--events", &events]);
        assert!(home.wait_for(&events, &mut child, |event| moment.begins(event)), "{what}");
        Random::kill(&mut child, after);
        home.run(&["images"]).exits(0);
        assert_eq!(home.leftovers(), Vec::<String>::new(), "{what}");

        let next = home.build(&[template.as_str()]).exits(0);
        assert_eq!(next.reasons(), [""; 0], "{what}");
        assert!(!next.ran().contains(&"one"), "{what}: {:?}", next.ran());
        is_right(&home, round, &what);
    }
}

/// The newest version holds what its template says, whole.
fn is_right(home: &TestHome, round: usize, what: &str) {
    home.run(&["pull", "tiny", "-o", "check.raw"]).exits(0);
    let root = Root::open(&home.dir().join("check.raw"));
    assert_eq!(root.read("/etc/round"), format!("{round}\n").into_bytes(), "{what}");
    let sum = String::from_utf8(root.read("/etc/sum")).unwrap();
    assert_eq!(&sum[..64], root.digest("/var/lib/blob"), "{what}");
    assert_eq!(home.leftovers(), Vec::<String>::new(), "{what}");
}
