//! The locale; `locale` and `locale-gen` are played by scripts, as making a locale takes long.

use std::fs;

use serde_json::json;

use super::Machine;

/// A machine that knows two locales, and has one.
fn machine() -> Machine {
    let machine = Machine::debian();
    machine.write(
        "/usr/share/i18n/SUPPORTED",
        "de_DE.UTF-8 UTF-8\nde_DE ISO-8859-1\nfr_FR.UTF-8 UTF-8\nxx_XX UTF-8\n",
    );
    machine.write("/locales", "C.utf8\nfr_FR.utf8\n");
    machine.program("/usr/local/sbin/locale", "cat /locales");
    machine.program(
        "/usr/local/sbin/locale-gen",
        "grep -v '^#' /etc/locale.gen | grep -v xx_XX | sed 's/ .*//; s/UTF-8/utf8/' >>/locales; echo made; echo run >>/runs",
    );
    machine
}

#[tokio::test]
async fn the_locale_is_as_declared() {
    let machine = machine();
    machine.write("/etc/locale.gen", "# de_DE.UTF-8 UTF-8\n");
    machine.write("/etc/default/locale", "#LANG=x\nLANG=\"C\"\nLC_TIME=C.UTF-8\n");
    machine.write("/etc/default/keyboard", "XKBMODEL=\"pc105\"\nXKBLAYOUT=\"us\"\n");
    let settings = json!({"locale": "de_DE.UTF-8", "locales": ["fr_FR.UTF-8", "C.UTF-8"], "timezone": "Europe/Berlin", "keymap": "de"});
    let first = machine.converges("locale", settings).await;
    assert_eq!(
        first,
        ["locale[de_DE.UTF-8]", "language[de_DE.UTF-8]", "timezone[Europe/Berlin]", "keymap[de]"]
    );
    assert_eq!(machine.text("/etc/locale.gen"), "# de_DE.UTF-8 UTF-8\nde_DE.UTF-8 UTF-8\n");
    assert_eq!(machine.text("/etc/default/locale"), "#LANG=x\nLANG=de_DE.UTF-8\nLC_TIME=C.UTF-8\n");
    assert_eq!(machine.text("/etc/default/keyboard"), "XKBMODEL=\"pc105\"\nXKBLAYOUT=\"de\"\n");
    assert_eq!(machine.text("/etc/timezone"), "Europe/Berlin\n");
    assert_eq!(
        fs::read_link(machine.at("/etc/localtime")).unwrap().to_str(),
        Some("/usr/share/zoneinfo/Europe/Berlin")
    );
    assert_eq!(machine.text("/runs"), "run\n", "once");
}

#[tokio::test]
async fn what_is_not_there_is_reported() {
    let machine = machine();
    for (settings, part) in [
        (json!({"locale": "qq_QQ.UTF-8"}), "locale[qq_QQ.UTF-8] failed: there is no such locale"),
        (json!({"locales": ["xx_XX"]}), "locale[xx_XX] failed: `locale-gen` did not make it: made"),
        (
            json!({"timezone": "Europe/Nowhere"}),
            "timezone[Europe/Nowhere] failed: there is no such time zone",
        ),
        (json!({"timezone": "Europe"}), "there is no such time zone"),
    ] {
        let error = machine.run("locale", settings).await.0.unwrap_err();
        assert!(error.contains(part), "{error}");
    }
    let bare = Machine::busybox();
    for (settings, part) in [
        (json!({"locale": "de_DE.UTF-8"}), "the machine has no `locale-gen`"),
        (json!({"timezone": "Etc/UTC"}), "install the package tzdata"),
    ] {
        let error = bare.run("locale", settings).await.0.unwrap_err();
        assert!(error.contains(part), "{error}");
    }
    assert_eq!(bare.converges("locale", json!({"keymap": "de"})).await, ["keymap[de]"]);
    assert_eq!(bare.text("/etc/vconsole.conf"), "KEYMAP=de\n");
}
