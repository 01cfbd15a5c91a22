//! Keys, against OpenSSL.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use camino::{Utf8Path, Utf8PathBuf};
use imgbake_build::BuildErrorKind;
use imgbake_runtime::{Cancel, Events, Home, Job, Secrets};

use super::*;

struct Place {
    dir: Utf8PathBuf,
    job: Job,
    _temp: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        let temp = tempfile::tempdir().unwrap();
        let dir = Utf8Path::from_path(temp.path()).unwrap().to_owned();
        let (events, _) = Events::channel("test", Secrets::default());
        let home = Home::new(dir.join("home"));
        let job = Job::begin(&home, "test", Cancel::new(), events, Secrets::default()).unwrap();
        Self { dir, job, _temp: temp }
    }

    #[expect(clippy::disallowed_methods, reason = "a test, whose child ends before it")]
    fn openssl(&self, line: &str) -> bool {
        let mut command = Command::new("openssl");
        command.current_dir(&self.dir).args(line.split_whitespace());
        command.output().unwrap().status.success()
    }

    fn put(&self, name: &str, bytes: impl AsRef<[u8]>, mode: u32) -> Utf8PathBuf {
        let path = self.dir.join(name);
        fs::write(&path, bytes).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        path
    }
}

const ALGORITHMS: [(Algorithm, &str, &str); 2] = [
    (Algorithm::Ed25519, "ed25519", "-algorithm ed25519"),
    (Algorithm::P256, "ecdsa-p256", "-algorithm EC -pkeyopt ec_paramgen_curve:P-256"),
];

#[tokio::test]
async fn what_is_signed_here_is_verified_by_openssl() {
    let place = Place::new();
    for (algorithm, name, _) in ALGORITHMS {
        for password in [None, Some("secret")] {
            let key = PrivateKey::generate(algorithm).unwrap();
            let pem = key.to_pem(password).unwrap();
            assert_eq!(pem.contains("ENCRYPTED"), password.is_some());
            let key = PrivateKey::from_pem(&pem, password).unwrap();
            assert_eq!(key.public().algorithm(), name);
            let signature = key.sign(&place.job, b"a message").await.unwrap();
            assert!(key.public().verifies(b"a message", &signature));
            assert!(!key.public().verifies(b"another", &signature));
            place.put("pub.pem", key.public().to_pem(), 0o644);
            place.put("message", "a message", 0o644);
            place.put("signature", signature, 0o644);
            let digest = if algorithm == Algorithm::P256 { "-digest sha256" } else { "" };
            let verify = format!(
                "pkeyutl -verify -pubin -inkey pub.pem -rawin {digest} -in message -sigfile signature"
            );
            assert!(place.openssl(&verify), "{name}");
            place.put("message", "another", 0o644);
            assert!(!place.openssl(&verify), "{name}");
            place.put("key.pem", pem, 0o600);
            let pass = password.map_or("", |_| "-passin pass:secret");
            assert!(place.openssl(&format!("pkey -in key.pem -noout {pass}")), "{name}");
        }
    }
}

#[tokio::test]
async fn keys_of_openssl_sign_and_have_its_identifiers() {
    let place = Place::new();
    for (_, name, arguments) in ALGORITHMS {
        assert!(place.openssl(&format!("genpkey {arguments} -out key.pem")));
        assert!(place.openssl("pkcs8 -topk8 -in key.pem -out locked.pem -passout pass:word"));
        assert!(place.openssl("pkey -in key.pem -pubout -out pub.pem"));
        assert!(place.openssl("pkey -in key.pem -pubout -outform DER -out pub.der"));
        let public: PublicKey =
            fs::read_to_string(place.dir.join("pub.pem")).unwrap().parse().unwrap();
        let der = fs::read(place.dir.join("pub.der")).unwrap();
        assert_eq!(public.id().as_str(), imgbake_types::Digest::sha256(der).hex());
        assert_eq!(public.algorithm(), name);
        for (file, password) in [("key.pem", None), ("locked.pem", Some("word"))] {
            let path = place.dir.join(file);
            fs::set_permissions(&path, fs::Permissions::from_mode(0o400)).unwrap();
            let key = PrivateKey::from_file(&path, password).unwrap();
            let signature = key.sign(&place.job, b"x").await.unwrap();
            assert!(public.verifies(b"x", &signature));
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        }
    }
}

#[test]
fn keys_that_cannot_be_used_say_why() {
    let place = Place::new();
    let key = PrivateKey::generate(Algorithm::Ed25519).unwrap();
    let (plain, locked) = (key.to_pem(None).unwrap(), key.to_pem(Some("right")).unwrap());
    assert!(place.openssl("genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out rsa.pem"));
    assert!(place.openssl("ecparam -name prime256v1 -genkey -noout -out sec1.pem"));
    let read = |name: &str| fs::read(place.dir.join(name)).unwrap();
    let cut = plain.replace("END", "");
    for (name, bytes, mode, password, part) in [
        ("open", plain.as_bytes().to_vec(), 0o640, None, "others may read or write"),
        ("locked", locked.as_bytes().to_vec(), 0o600, None, "it is encrypted"),
        ("locked", locked.as_bytes().to_vec(), 0o600, Some("wrong"), "its password is wrong"),
        ("rsa", read("rsa.pem"), 0o600, None, "neither an ed25519 nor"),
        ("sec1", read("sec1.pem"), 0o600, None, "not a PKCS#8 `PRIVATE KEY`"),
        ("cut", cut.as_bytes().to_vec(), 0o600, None, "no PKCS#8 private key in PEM"),
        ("empty", Vec::new(), 0o600, None, "no PKCS#8 private key in PEM"),
        ("binary", vec![0xff; 100], 0o600, None, "cannot be read"),
    ] {
        let path = place.put(name, bytes, mode);
        let error = PrivateKey::from_file(&path, password).unwrap_err();
        assert_eq!(error.kind(), BuildErrorKind::Usage, "{name}: {error}");
        assert!(error.to_string().contains(part), "{name}: {error}");
        assert!(error.to_string().contains(path.as_str()), "{name}: {error}");
    }
    let missing = PrivateKey::from_file(&place.dir.join("missing"), None).unwrap_err();
    assert!(missing.to_string().contains("cannot be read"), "{missing}");
    for text in ["", &plain, "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"] {
        assert!(text.parse::<PublicKey>().is_err(), "{text}");
    }
}

#[tokio::test]
async fn a_program_signs_and_a_signature_that_does_not_verify_is_refused() {
    let place = Place::new();
    let key = PrivateKey::generate(Algorithm::Ed25519).unwrap();
    let other = PrivateKey::generate(Algorithm::Ed25519).unwrap();
    let file = place.put("key.pem", key.to_pem(None).unwrap(), 0o600);
    let script = format!(
        "cat >{dir}/m && openssl pkeyutl -sign -inkey {file} -rawin -in {dir}/m | openssl base64",
        dir = place.dir
    );
    let command = |script: &str| vec!["/bin/sh".to_owned(), "-c".to_owned(), script.to_owned()];
    let signer = CommandKey::new(command(&script), key.public().clone()).unwrap();
    let signature = signer.sign(&place.job, b"message").await.unwrap();
    assert!(key.public().verifies(b"message", &signature));

    let wrong = CommandKey::new(command(&script), other.public().clone()).unwrap();
    let error = wrong.sign(&place.job, b"message").await.unwrap_err();
    assert!(error.to_string().contains("does not verify"), "{error}");
    for (script, part) in [
        ("cat >/dev/null; echo 'no base64!'", "no signature in base64"),
        ("cat >/dev/null", "does not verify"),
        ("cat >/dev/null; seq 1 200000", "`/bin/sh`"),
        ("cat >/dev/null; echo 'the HSM is away' >&2; exit 7", "the HSM is away"),
    ] {
        let signer = CommandKey::new(command(script), key.public().clone()).unwrap();
        let error = signer.sign(&place.job, b"message").await.unwrap_err();
        let mut text = error.to_string();
        let mut cause = std::error::Error::source(&error);
        while let Some(one) = cause {
            text += &one.to_string();
            cause = one.source();
        }
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(CommandKey::new(Vec::new(), key.public().clone()).is_err());
}
