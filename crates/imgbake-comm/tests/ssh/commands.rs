//! Commands over one connection to a real OpenSSH server.

use std::time::Duration;

use crate::support::{LIMIT, Sshd};
use imgbake_comm::{CommErrorKind, Communicator, Exec, Exit, Ssh};
use imgbake_types::event::Stream;
use tokio::io::AsyncReadExt;

async fn exit(ssh: &Ssh, command: &str) -> Exit {
    ssh.run(Exec::new(command), &mut |_, _| {}).await.unwrap()
}

#[tokio::test]
async fn tells_how_a_command_ended() {
    let sshd = Sshd::start();
    let ssh = sshd.connect().await;
    for (command, expected) in [
        ("true", Exit::Code(0)),
        ("exit 7", Exit::Code(7)),
        ("exit 255", Exit::Code(255)),
        ("no-such-program", Exit::Code(127)),
        ("kill -TERM $$", Exit::Signal("TERM".to_owned())),
        ("kill -KILL $$", Exit::Signal("KILL".to_owned())),
        ("kill -USR2 $$", Exit::Signal("USR2".to_owned())),
    ] {
        assert_eq!(exit(&ssh, command).await, expected, "{command}");
    }
    let comm: &dyn Communicator = &ssh;
    let error = comm.check(Exec::new("echo why >&2; exit 3")).await.unwrap_err();
    assert_eq!(error.kind(), CommErrorKind::Failed);
    assert!(error.to_string().contains("exit code 3: why"), "{error}");
    assert_eq!(comm.check(Exec::new(comm.as_root("id -u"))).await.unwrap().trim(), "0");
}

#[tokio::test]
async fn keeps_the_outputs_apart_and_live() {
    let sshd = Sshd::start();
    let ssh = sshd.connect().await;
    // The command goes on only when the first line was seen here.
    let (seen, reported) = tokio::sync::oneshot::channel();
    let mut seen = Some(seen);
    let (mut near, far) = tokio::io::duplex(16);
    let answer = async move {
        reported.await.unwrap();
        tokio::io::AsyncWriteExt::write_all(&mut near, b"go\n").await.unwrap();
    };
    let mut got = (String::new(), String::new());
    let exec = Exec::new("echo one; read x; echo $x; echo two >&2").stdin(far);
    let mut sink = |stream: Stream, bytes: &[u8]| {
        let text = std::str::from_utf8(bytes).unwrap();
        if stream == Stream::Stdout {
            got.0.push_str(text);
        } else {
            got.1.push_str(text);
        }
        if let Some(seen) = seen.take() {
            seen.send(()).unwrap();
        }
    };
    let (exit, ()) = tokio::join!(ssh.run(exec, &mut sink), answer);
    assert_eq!(exit.unwrap(), Exit::Code(0));
    assert_eq!(got, ("one\ngo\n".to_owned(), "two\n".to_owned()));
}

/// Bytes that no text protocol lets through unharmed.
fn noise(len: usize) -> Vec<u8> {
    let mut state = 1_u32;
    let next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_le_bytes()[3]
    };
    std::iter::repeat_with(next).take(len).collect()
}

#[tokio::test]
async fn echoes_much_more_than_the_windows() {
    let sshd = Sshd::start();
    let ssh = sshd.connect().await;
    let sent = noise(50 << 20);
    let mut got = Vec::with_capacity(sent.len());
    let exec = Exec::new("cat").stdin_bytes(sent.clone()).timeout(Duration::from_secs(300));
    let exit = ssh.run(exec, &mut |_, bytes| got.extend_from_slice(bytes)).await.unwrap();
    assert_eq!(exit, Exit::Code(0));
    assert!(got == sent, "{} of {} bytes came back, or other ones", got.len(), sent.len());
}

#[tokio::test]
async fn a_command_need_not_read_its_input() {
    let sshd = Sshd::start();
    let ssh = sshd.connect().await;
    for command in ["exit 4", "head -c 10 >/dev/null; exit 4", "exec <&-; sleep 0.2; exit 4"] {
        let exec = Exec::new(command).stdin(tokio::io::repeat(7).take(64 << 20)).timeout(LIMIT);
        assert_eq!(ssh.run(exec, &mut |_, _| {}).await.unwrap(), Exit::Code(4), "{command}");
    }
}

#[tokio::test]
async fn a_daemon_that_holds_the_output_holds_nobody() {
    let sshd = Sshd::start();
    let ssh = sshd.connect().await;
    let pid = sshd.dir.path().join("pid");
    let command = format!("sleep 3600 & echo $! >{}; echo done; exit 3", pid.display());
    let mut out = String::new();
    let mut sink = |_: Stream, bytes: &[u8]| out.push_str(std::str::from_utf8(bytes).unwrap());
    let ended = ssh.run(Exec::new(command), &mut sink).await.unwrap();
    assert_eq!((ended, out.as_str()), (Exit::Code(3), "done\n"));
    // The daemon lives on.
    assert_eq!(exit(&ssh, &format!("kill $(cat {})", pid.display())).await, Exit::Code(0));
}

#[tokio::test]
async fn a_daemon_that_talks_on_holds_nobody() {
    let sshd = Sshd::start();
    let ssh = sshd.connect().await;
    let mut out = String::new();
    let mut sink = |_: Stream, bytes: &[u8]| out.push_str(std::str::from_utf8(bytes).unwrap());
    // It ends by itself only after the command's limit.
    let command = "for i in $(seq 300); do echo tick; sleep 0.2; done & echo $!; exit 3";
    let exec = Exec::new(command).timeout(Duration::from_secs(30));
    assert_eq!(ssh.run(exec, &mut sink).await.unwrap(), Exit::Code(3));
    let pid = out.lines().find(|line| *line != "tick").unwrap();
    assert_eq!(exit(&ssh, &format!("kill {pid}")).await, Exit::Code(0), "it was ended");
}

#[tokio::test]
async fn what_a_login_shell_prints_is_no_output() {
    let home = tempfile::tempdir().unwrap();
    let greeting = "echo Welcome; echo 'no locale' >&2; printf 'no end of line'\n";
    std::fs::write(home.path().join(".bashrc"), greeting).unwrap();
    let sshd = Sshd::start_at_home(home.path());
    let ssh = sshd.connect().await;
    let comm: &dyn Communicator = &ssh;
    let (ended, out, err) = comm.capture(Exec::new("echo own; echo error >&2")).await.unwrap();
    assert_eq!((ended, out.as_str(), err.as_str()), (Exit::Code(0), "own\n", "error\n"));
    // One whose greeting ends it: its output is the only reason there is.
    std::fs::write(home.path().join(".bashrc"), "echo 'not today' >&2; exit 5\n").unwrap();
    let error = comm.check(Exec::new("echo own")).await.unwrap_err();
    assert!(error.to_string().contains("exit code 5: not today"), "{error}");
}

#[tokio::test]
async fn a_login_shell_adds_nothing_at_the_end_and_takes_nothing_at_the_start() {
    let home = tempfile::tempdir().unwrap();
    let rc = home.path().join(".bashrc");
    let sshd = Sshd::start_at_home(home.path());
    let ssh = sshd.connect().await;
    let comm: &dyn Communicator = &ssh;
    for noise in ["trap 'echo killed; echo killed >&2' EXIT\n", "trap 'echo debug' DEBUG\n"] {
        std::fs::write(&rc, noise).unwrap();
        for (command, expected) in
            [("printf own", "own"), ("true", ""), ("printf 'a\\036b'", "a\u{1e}b")]
        {
            let (ended, out, err) = comm.capture(Exec::new(command)).await.unwrap();
            assert_eq!(
                (ended, out.as_str(), err.as_str()),
                (Exit::Code(0), expected, ""),
                "{noise}"
            );
        }
        let echoed = comm.capture(Exec::new("cat").stdin_bytes(b"in\n".to_vec())).await.unwrap();
        assert_eq!(echoed.1, "in\n", "{noise}");
    }
    // One that reads would take a script's first line, and the rest would be run without it.
    std::fs::write(&rc, "read -r _stolen\n").unwrap();
    let script = comm.script("root", None, "exit 9\n");
    let error = comm.check(script).await.unwrap_err().to_string();
    assert!(
        error.contains("exit code 125: imgbake: the login shell reads what is sent"),
        "{error}"
    );
    assert_eq!(comm.check(Exec::new("echo own")).await.unwrap(), "own\n", "nothing is sent to it");
}

#[tokio::test]
async fn ends_what_takes_too_long() {
    let sshd = Sshd::start();
    let ssh = sshd.connect().await;
    let mark = sshd.dir.path().join("ended");
    let command = format!("cat; touch {}", mark.display());
    let (near, far) = tokio::io::duplex(1);
    let exec = Exec::new(command).stdin(far).timeout(Duration::from_secs(1));
    let error = ssh.run(exec, &mut |_, _| {}).await.unwrap_err();
    drop(near);
    assert_eq!(error.kind(), CommErrorKind::TimedOut);
    assert!(error.to_string().contains("1s"), "{error}");
    // The connection lives, and the command saw its end.
    let wait = format!("until [ -e {} ]; do sleep 0.1; done", mark.display());
    assert_eq!(exit(&ssh, &wait).await, Exit::Code(0));
}

#[tokio::test]
async fn a_dropped_command_is_ended() {
    let sshd = Sshd::start();
    let ssh = sshd.connect().await;
    let mark = sshd.dir.path().join("ended");
    let (near, far) = tokio::io::duplex(1);
    let (up, mut is_up) = tokio::sync::mpsc::unbounded_channel();
    let mut sink = |_: Stream, _: &[u8]| {
        let _ = up.send(());
    };
    tokio::select! {
        ended = ssh.run(Exec::new(format!("echo up; cat; touch {}", mark.display())).stdin(far), &mut sink) => {
            panic!("{ended:?}")
        }
        _ = is_up.recv() => {}
    }
    let wait = format!("until [ -e {} ]; do sleep 0.1; done", mark.display());
    assert_eq!(exit(&ssh, &wait).await, Exit::Code(0));
    drop(near);
}

#[tokio::test]
async fn runs_more_at_once_than_the_server_has_sessions() {
    let sshd = Sshd::start();
    let ssh = sshd.connect().await;
    let runs = (0..40).map(|n| {
        let ssh = &ssh;
        async move {
            let mut out = String::new();
            let mut sink =
                |_: Stream, bytes: &[u8]| out.push_str(std::str::from_utf8(bytes).unwrap());
            let exit = ssh.run(Exec::new(format!("echo {n}; exit {n}")), &mut sink).await.unwrap();
            assert_eq!((exit, out), (Exit::Code(n), format!("{n}\n")));
        }
    });
    futures::future::join_all(runs).await;
}

#[tokio::test]
async fn a_cut_connection_is_lost() {
    let sshd = Sshd::start();
    let ssh = sshd.connect().await;
    let (up, mut is_up) = tokio::sync::mpsc::unbounded_channel();
    let mut sink = |_: Stream, _: &[u8]| {
        let _ = up.send(());
    };
    let cut = async {
        is_up.recv().await;
        sshd.cut();
    };
    let (ended, ()) = tokio::join!(ssh.run(Exec::new("echo up; exec sleep 30"), &mut sink), cut);
    assert_eq!(ended.unwrap(), Exit::Lost);
    let error = ssh.run(Exec::new("true"), &mut |_, _| {}).await.unwrap_err();
    assert_eq!(error.kind(), CommErrorKind::Lost, "{error}");
    assert!(ssh.is_closed());
}

#[tokio::test]
async fn a_machine_that_froze_is_lost() {
    let sshd = Sshd::start();
    let ssh = sshd.connect().await;
    let (up, mut is_up) = tokio::sync::mpsc::unbounded_channel();
    let mut sink = |_: Stream, _: &[u8]| {
        let _ = up.send(());
    };
    let freeze = async {
        is_up.recv().await;
        sshd.freeze();
    };
    // Without the keepalives this would take all of the command's hour.
    let exec = Exec::new("echo up; exec sleep 30").timeout(Duration::from_secs(3600));
    let (ended, ()) = tokio::join!(ssh.run(exec, &mut sink), freeze);
    assert_eq!(ended.unwrap(), Exit::Lost);
}

#[tokio::test]
async fn an_unreadable_input_is_no_end_of_input() {
    let sshd = Sshd::start();
    let ssh = sshd.connect().await;
    let input = failing_reader();
    let error = ssh.run(Exec::new("cat").stdin(input), &mut |_, _| {}).await.unwrap_err();
    assert_eq!(error.kind(), CommErrorKind::Io, "{error}");
}

/// A reader that gives something and then fails.
fn failing_reader() -> impl tokio::io::AsyncRead + Send + Unpin + 'static {
    struct Failing(bool);
    impl tokio::io::AsyncRead for Failing {
        fn poll_read(
            mut self: std::pin::Pin<&mut Self>,
            _: &mut std::task::Context<'_>,
            buf: &mut tokio::io::ReadBuf<'_>,
        ) -> std::task::Poll<std::io::Result<()>> {
            if std::mem::replace(&mut self.0, true) {
                return std::task::Poll::Ready(Err(std::io::Error::other("the disk is gone")));
            }
            buf.put_slice(b"some");
            std::task::Poll::Ready(Ok(()))
        }
    }
    Failing(false)
}
