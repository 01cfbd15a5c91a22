//! From an address to a connection: against a real OpenSSH server and hostile ones.

use std::net::SocketAddr;
use std::time::Duration;

use crate::support::{LIMIT, Sshd, free_port};
use imgbake_comm::{CommErrorKind, Communicator, Exec, KeyPair, Ssh};
use imgbake_runtime::Cancel;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;

/// A limit for what cannot succeed.
const SHORT: Duration = Duration::from_secs(4);

async fn whoami(ssh: &Ssh) -> String {
    let comm: &dyn Communicator = ssh;
    comm.check(Exec::new("id -un")).await.unwrap().trim().to_owned()
}

#[tokio::test]
async fn logs_in_and_out() {
    let sshd = Sshd::start();
    let ssh = sshd.connect().await;
    assert_eq!(whoami(&ssh).await, sshd.user);
    assert_eq!(ssh.user(), sshd.user);
    assert!(!ssh.is_closed());
    ssh.close().await;
    let error = ssh.run(Exec::new("true"), &mut |_, _| {}).await.unwrap_err();
    assert_eq!(error.kind(), CommErrorKind::Lost, "{error}");
}

#[tokio::test]
async fn waits_for_a_server_that_comes_later() {
    let port = free_port();
    let (user_key, host_key) = (KeyPair::generate(), KeyPair::generate());
    let cancel = Cancel::new();
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let host_text = host_key.public_openssh();
    let early = Ssh::connect(&cancel, address, "root", &user_key, &host_text, LIMIT);
    let late = async {
        // Nothing listens at first: the first tries are over when this one was refused.
        assert!(tokio::net::TcpStream::connect(address).await.is_err());
        Sshd::start_at(port, true)
    };
    // Another server than the expected one: seen at once when it is up.
    let (error, _sshd) = tokio::join!(early, late);
    assert_eq!(error.unwrap_err().kind(), CommErrorKind::HostKey);
}

#[tokio::test]
async fn refuses_another_host_key_at_once() {
    let sshd = Sshd::start();
    let other = KeyPair::generate();
    let error = Ssh::connect(
        &Cancel::new(),
        sshd.address,
        &sshd.user,
        &sshd.user_key,
        &other.public_openssh(),
        Duration::from_secs(3600),
    )
    .await
    .unwrap_err();
    assert_eq!(error.kind(), CommErrorKind::HostKey);
    let text = error.to_string();
    assert!(
        text.contains(&sshd.host_key.fingerprint()) && text.contains(&other.fingerprint()),
        "{text}"
    );
}

#[tokio::test]
async fn names_a_key_that_is_not_accepted() {
    let sshd = Sshd::start_at(free_port(), false);
    let error = sshd.connect_within(SHORT).await.unwrap_err();
    assert_eq!(error.kind(), CommErrorKind::Auth, "{error}");
    assert!(error.to_string().contains("key not accepted"), "{error}");
}

#[tokio::test]
async fn waits_for_the_key_to_be_installed() {
    let mut sshd = Sshd::start_at(free_port(), false);
    let host_key = sshd.host_key.public_openssh();
    let (address, user, user_key) = (sshd.address, sshd.user.clone(), sshd.user_key.clone());
    let cancel = Cancel::new();
    let connecting = Ssh::connect(&cancel, address, &user, &user_key, &host_key, LIMIT);
    let refused = tokio::task::spawn_blocking(move || {
        sshd.wait_for_log("Connection closed by authenticating user");
        sshd.install_key();
        sshd
    });
    let (ssh, _sshd) = tokio::join!(connecting, refused);
    assert_eq!(whoami(&ssh.unwrap()).await, user);
}

#[tokio::test]
async fn cancels() {
    let cancel = Cancel::new();
    cancel.cancel();
    let key = KeyPair::generate();
    let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let error = Ssh::connect(&cancel, address, "root", &key, &key.public_openssh(), LIMIT)
        .await
        .unwrap_err();
    assert_eq!(error.kind(), CommErrorKind::Cancelled);
}

/// What a server does with a connection.
#[derive(Clone, Copy)]
enum Does {
    Nothing,
    Close,
    Say(&'static [u8]),
}

async fn hostile(does: Does) -> SocketAddr {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let mut held = Vec::new();
        while let Ok((mut stream, _)) = listener.accept().await {
            match does {
                Does::Nothing => held.push(stream),
                Does::Close => drop(stream),
                Does::Say(text) => {
                    let _ = stream.write_all(text).await;
                    held.push(stream);
                }
            }
        }
    });
    address
}

#[tokio::test]
async fn tells_what_it_waited_for() {
    let closed = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let cases = [
        (closed, "no TCP"),
        (
            hostile(Does::Nothing).await,
            "no ssh banner: the connection was accepted, but nothing was said",
        ),
        (hostile(Does::Close).await, "no ssh banner: the connection was accepted and c"),
        (hostile(Does::Say(b"HTTP/1.1 400 Bad Request\r\n\r\n")).await, ""),
        (hostile(Does::Say(b"SSH-2.0-half")).await, ""),
        (
            hostile(Does::Say(b"SSH-2.0-x\r\n\xff\xff\xff\xff garbage garbage garbage")).await,
            "no ssh key exchange",
        ),
    ];
    let tries = cases.map(|(address, expected)| async move {
        let key = KeyPair::generate();
        let host_key = key.public_openssh();
        let tried = Ssh::connect(&Cancel::new(), address, "root", &key, &host_key, SHORT).await;
        let error = tried.unwrap_err();
        assert_eq!(error.kind(), CommErrorKind::Unreachable, "{error}");
        assert!(error.to_string().contains(expected), "{expected}: {error}");
    });
    futures::future::join_all(tries).await;
}

#[tokio::test]
async fn finds_the_one_connection_that_is_answered() {
    // As user networking does: the first connections are swallowed, a later one reaches the guest.
    let sshd = Sshd::start();
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let front = listener.local_addr().unwrap();
    let (target, swallowed) = (sshd.address, 2);
    tokio::spawn(async move {
        let mut held = Vec::new();
        for _ in 0..swallowed {
            held.push(listener.accept().await.unwrap());
        }
        while let Ok((mut near, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut far = tokio::net::TcpStream::connect(target).await.unwrap();
                let _ = tokio::io::copy_bidirectional(&mut near, &mut far).await;
            });
        }
    });
    let host_key = sshd.host_key.public_openssh();
    let ssh = Ssh::connect(&Cancel::new(), front, &sshd.user, &sshd.user_key, &host_key, LIMIT)
        .await
        .unwrap();
    assert_eq!(whoami(&ssh).await, sshd.user);
}
