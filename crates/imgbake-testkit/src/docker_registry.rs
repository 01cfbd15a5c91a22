//! The registry of Debian's package `docker-registry`, on loopback, until it is dropped.

use std::fmt::Write as _;
use std::fs;
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use camino::{Utf8Path, Utf8PathBuf};

use crate::run_tool;

/// The one user of a registry with logins.
pub const USER: &str = "ada";
/// The user's password.
pub const PASSWORD: &str = "enchantress";
/// Both, as the registry reads them: bcrypt, five rounds.
const HTPASSWD: &str = "ada:$2b$05$8bmN9Gb4Idw/owBYXF41O.AT8dEgiCuAv3By30DmEbb5TP.61SQgC\n";

/// What a registry shall be like.
#[derive(Debug, Clone, Copy, Default)]
pub struct DockerSettings {
    /// It speaks TLS, with a certificate of an authority that nobody knows.
    pub tls: bool,
    /// It wants a login: that of [`USER`].
    pub logins: bool,
}

/// A running `docker-registry`.
#[derive(Debug)]
pub struct DockerRegistry {
    child: Child,
    port: u16,
    dir: tempfile::TempDir,
}

impl DockerRegistry {
    /// Starts one and waits until it listens.
    pub fn start(settings: DockerSettings) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = Utf8Path::from_path(dir.path()).unwrap();
        // Somebody else may take the port before the registry does: then another.
        for _ in 0..10 {
            let port = TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port();
            let mut child = serve(path, port, settings);
            if listens(&mut child, port) {
                return Self { child, port, dir };
            }
        }
        panic!("docker-registry does not start: {}", fs::read_to_string(path.join("log")).unwrap());
    }

    /// `127.0.0.1:PORT`
    pub fn host(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// The certificate of the authority, where it speaks TLS.
    pub fn ca(&self) -> Utf8PathBuf {
        Utf8Path::from_path(self.dir.path()).unwrap().join("ca.pem")
    }

    /// Runs its own clean-up, which takes what no tag leads to.
    pub fn collect_garbage(&self) {
        let config = self.dir.path().join("config.yml");
        let args = ["garbage-collect", "--delete-untagged", config.to_str().unwrap()];
        let run = run_tool("docker-registry", &args);
        assert_eq!(run.code, 0, "{}", run.stderr);
    }
}

impl Drop for DockerRegistry {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn serve(dir: &Utf8Path, port: u16, settings: DockerSettings) -> Child {
    let mut config = format!(
        "version: 0.1\nlog: {{level: error, accesslog: {{disabled: true}}}}\n\
         storage: {{filesystem: {{rootdirectory: {dir}/store}}, delete: {{enabled: true}}}}\n\
         http:\n  addr: 127.0.0.1:{port}\n  secret: of-a-test\n"
    );
    if settings.tls {
        certificates(dir);
        writeln!(config, "  tls: {{certificate: {dir}/server.pem, key: {dir}/server.key}}")
            .unwrap();
    }
    if settings.logins {
        fs::write(dir.join("htpasswd"), HTPASSWD).unwrap();
        writeln!(config, "auth: {{htpasswd: {{realm: test, path: {dir}/htpasswd}}}}").unwrap();
    }
    let path = dir.join("config.yml");
    fs::write(&path, config).unwrap();
    let log = fs::File::create(dir.join("log")).unwrap();
    Command::new("docker-registry")
        .args(["serve", path.as_str()])
        .stdin(Stdio::null())
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .spawn()
        .unwrap()
}

fn listens(child: &mut Child, port: u16) -> bool {
    let limit = Instant::now() + Duration::from_secs(60);
    let mut wait = Duration::from_millis(10);
    while Instant::now() < limit && child.try_wait().unwrap().is_none() {
        if TcpStream::connect(("127.0.0.1", port)).is_ok() {
            return child.try_wait().unwrap().is_none();
        }
        std::thread::sleep(wait);
        wait = (wait * 2).min(Duration::from_millis(200));
    }
    let _ = child.kill();
    let _ = child.wait();
    false
}

/// An authority, and a server's certificate that it signed.
fn certificates(dir: &Utf8Path) {
    let path = |name: &str| dir.join(name).into_string();
    let openssl = |args: &[&str]| {
        let run = run_tool("openssl", args);
        assert_eq!(run.code, 0, "{}", run.stderr);
    };
    let key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
    let (ca, ca_key) = (path("ca.pem"), path("ca.key"));
    let mut args = vec!["req", "-x509", "-days", "2", "-subj", "/CN=test authority"];
    args.extend(key.iter().chain(&["-keyout", &ca_key, "-out", &ca]));
    openssl(&args);
    let (request, server_key) = (path("server.csr"), path("server.key"));
    let mut args = vec!["req", "-subj", "/CN=127.0.0.1"];
    args.extend(key.iter().chain(&["-keyout", &server_key, "-out", &request]));
    openssl(&args);
    let (names, server) = (path("names"), path("server.pem"));
    fs::write(&names, "subjectAltName=IP:127.0.0.1,DNS:localhost\nextendedKeyUsage=serverAuth\n")
        .unwrap();
    let sign = ["x509", "-req", "-days", "2", "-in", &request, "-CA", &ca, "-CAkey", &ca_key];
    let mut args = sign.to_vec();
    args.extend(["-CAcreateserial", "-extfile", &names, "-out", &server]);
    openssl(&args);
}
