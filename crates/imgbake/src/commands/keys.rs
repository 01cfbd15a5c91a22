//! `imgbake keys`: the keys that sign channel moves.

use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;

use camino::{Utf8Path, Utf8PathBuf};
use imgbake_bless::keys::{Algorithm, PrivateKey, PublicKey, Signer as _};
use serde::Serialize;

use crate::app::App;
use crate::cli::{KeyAlgorithm, KeysCommand};
use crate::failure::Failure;
use crate::text;

/// A public key as it is printed.
#[derive(Serialize)]
struct Shown {
    id: String,
    algorithm: &'static str,
    public: String,
}

pub(super) fn run(app: &App, command: &KeysCommand) -> Result<(), Failure> {
    match command {
        KeysCommand::Generate { file, algorithm } => generate(app, file, *algorithm),
        KeysCommand::Show { file, json } => {
            let key = match file {
                Some(file) => public(file)?,
                None => own(app)?,
            };
            show(app, &key, *json)
        }
    }
}

/// Writes a new key and, beside it, its public half.
fn generate(app: &App, file: &Utf8Path, algorithm: KeyAlgorithm) -> Result<(), Failure> {
    let algorithm = match algorithm {
        KeyAlgorithm::Ed25519 => Algorithm::Ed25519,
        KeyAlgorithm::EcdsaP256 => Algorithm::P256,
    };
    let password = app.config.signing.password();
    let key = PrivateKey::generate(algorithm)?;
    let pem = key.to_pem(password)?;
    let public = Utf8PathBuf::from(format!("{file}.pub"));
    // The public half first: what is there already is found before anything secret is written.
    create(&public, key.public().to_pem().as_bytes(), 0o644)?;
    if let Err(error) = create(file, pem.as_bytes(), 0o600) {
        let _ = std::fs::remove_file(&public);
        return Err(error);
    }
    let protected = if password.is_some() { "encrypted" } else { "not encrypted" };
    app.print(&format!(
        "key {} ({}, {protected}): {file}\npublic key: {public}\n",
        key.public().id(),
        key.public().algorithm()
    ))
}

/// Writes a file that is not there.
fn create(path: &Utf8Path, bytes: &[u8], mode: u32) -> Result<(), Failure> {
    let failed = |error: std::io::Error| match error.kind() {
        std::io::ErrorKind::AlreadyExists => {
            Failure::usage(format!("{path} is there already: name another file"))
        }
        _ => Failure::usage(format!("cannot write {path}: {error}")),
    };
    let mut options = std::fs::OpenOptions::new();
    let mut file = options.write(true).create_new(true).mode(mode).open(path).map_err(failed)?;
    let written = file.write_all(bytes).and_then(|()| file.sync_all());
    written.map_err(|error| {
        let _ = std::fs::remove_file(path);
        failed(error)
    })
}

fn public(file: &Utf8Path) -> Result<PublicKey, Failure> {
    let pem = text::read("public key", file)?;
    pem.parse().map_err(|error| Failure::usage(format!("the public key {file}: {error}")))
}

/// The public half of the key that this machine signs with.
fn own(app: &App) -> Result<PublicKey, Failure> {
    let signer = app.config.signing.load()?.ok_or_else(|| {
        Failure::usage(
            "there is no signing key: set `signing_key`, or give the file of a public key",
        )
    })?;
    Ok(signer.public().clone())
}

fn show(app: &App, key: &PublicKey, json: bool) -> Result<(), Failure> {
    let shown =
        Shown { id: key.id().to_string(), algorithm: key.algorithm(), public: key.to_pem() };
    if json {
        return app.print_json(&shown);
    }
    app.print(&format!("key {} ({})\n{}", shown.id, shown.algorithm, shown.public))
}
