//! What a machine says: QEMU's own answers, its console, what its scripts print, its boot loader's
//! configuration.
#![no_main]
#![expect(clippy::unwrap_used, reason = "a target that lacks its ground has failed")]

use std::sync::LazyLock;

use imgbake_fuzz::{choose, seed, tagged};
use imgbake_qemu::fuzzing::{console_text, ssh_port};
use imgbake_qemu::grub::first_entry;
use imgbake_qemu::qmp::Qmp;
use imgbake_runtime::{LineRedactor, Secrets};
use imgbake_seal::fuzzing::kept_of_report;
use libfuzzer_sys::fuzz_target;
use tokio::io::AsyncWriteExt;
use tokio::runtime::Runtime;

const SECRET: &str = "hunter2-hunter2";

static RUNTIME: LazyLock<Runtime> =
    LazyLock::new(|| tokio::runtime::Builder::new_current_thread().build().unwrap());

fn sound() -> Vec<Vec<u8>> {
    [
        (0, "{\"QMP\":{\"version\":{}}}\n{\"return\":{},\"id\":0}\n{\"event\":\"STOP\",\"data\":{\"a\":1}}\n{\"error\":{\"class\":\"x\",\"desc\":\"no\"},\"id\":1}\n"),
        (0, "{\"QMP\":{}}\n{\"return\":{},\"id\":0}\n{\"return\":\"text\",\"id\":1}\n"),
        (1, "Hub -1 (net0):\r\n  Protocol[State]    FD  Source Address  Port\r\n  TCP[HOST_FORWARD]  13       127.0.0.1 37531       10.0.2.15    22     0     0\r\n"),
        (2, "\u{1b}[0;32m  OK  \u{1b}[0m pw hunter2-hunter2\r\n\u{1b}cboot\u{7}\r\nlogin: "),
        (3, "op\tssh\nitem\t12\t/etc/ssh/x\n-rw-r--r-- 1 0 0 5 Jan 1 10:00 /a b\nlrwxrwxrwx 1 0 0 5 Jan 1 10:00 /a -> /b\nnote\tx\nfail\ty\n[ 1.0] imgbake-seal:nonce:op\tssh\r\nimgbake-seal:nonce:item\t5\t/b\nend\n"),
        (4, "menuentry 'x' {\n linux /boot/vmlinuz root=UUID=1 ro $vt_handoff\n initrd /boot/initrd.img\n}\n"),
    ]
    .map(|(kind, text)| tagged(kind, text))
    .into()
}

/// One command on a connection whose other end says this, and ends.
fn qmp(bytes: &[u8]) {
    RUNTIME.block_on(async {
        let (ours, mut theirs) = tokio::io::duplex(bytes.len() + (1 << 16));
        theirs.write_all(bytes).await.unwrap();
        theirs.shutdown().await.unwrap();
        let Ok((qmp, mut events)) = Qmp::connect(ours).await else { return };
        let _ = qmp.human("info usernet").await;
        while events.recv().await.is_some() {}
    });
}

/// In pieces of a length of the machine's own choice.
fn console(bytes: &[u8]) {
    let Some((len, bytes)) = bytes.split_first() else { return };
    let secrets = Secrets::default();
    secrets.add("token", SECRET);
    let pieces = bytes.chunks(usize::from(*len).max(1));
    let text = console_text(LineRedactor::new(secrets), pieces);
    let wrong = |c: char| c.is_control() && !matches!(c, '\n' | '\t');
    assert!(!text.contains(wrong), "what is shown is plain");
    // Of a secret that may be words, every twelve bytes count.
    let shown = |line: &str| {
        SECRET
            .as_bytes()
            .windows(12)
            .any(|part| line.as_bytes().windows(12).any(|seen| seen == part))
    };
    assert!(!text.lines().any(shown), "what is shown holds no secret");
}

fuzz_target!(init: seed(sound()), |input: &[u8]| {
    let Some((choice, bytes)) = choose(input, 5) else { return };
    let text = String::from_utf8_lossy(bytes);
    match choice {
        0 => qmp(bytes),
        1 => assert_ne!(ssh_port(&text), Some(0)),
        2 => console(bytes),
        3 => {
            let (paths, notes) = kept_of_report(&text, "nonce");
            assert!(paths <= 5 && notes <= 20, "a report is short: {paths} paths, {notes} notes");
        }
        _ => {
            let Ok(entry) = first_entry(&text) else { return };
            let words = [Some(entry.kernel), entry.initrd];
            let one = |word: String| word.split_whitespace().count() == 1;
            assert!(words.into_iter().flatten().all(one), "a path is one word");
            assert!(!entry.cmdline.contains('\n') && entry.cmdline.contains("root="));
        }
    }
});
