//! The key that this machine signs with, as settings and environment name it.

use std::collections::BTreeMap;

use camino::Utf8PathBuf;
use imgbake_bless::keys::{CommandKey, PrivateKey, PublicKey, Signer};
use imgbake_build::{BuildError, BuildErrorKind};
use secrecy::{ExposeSecret, SecretString};

use crate::failure::Failure;
use crate::text;

/// The variable that holds the key itself.
const PEM: &str = "IMGBAKE_SIGNING_KEY_PEM";
/// The variable with the password of an encrypted key.
const PASSWORD: &str = "IMGBAKE_SIGNING_PASSWORD";

/// Where the key is.
#[derive(Debug, Clone, Default)]
pub struct SigningKey {
    /// Its file, from the setting `signing_key`.
    file: Option<Utf8PathBuf>,
    /// A program that signs, and the file of its public key.
    command: Option<(Vec<String>, Utf8PathBuf)>,
    pem: Option<SecretString>,
    password: Option<SecretString>,
}

impl SigningKey {
    /// Reads the environment; the rest comes from the settings.
    ///
    /// # Errors
    /// A program without a public key, or a public key without a program.
    pub fn of(
        env: &BTreeMap<String, String>,
        file: Option<Utf8PathBuf>,
        (command, public): (Option<Vec<String>>, Option<Utf8PathBuf>),
    ) -> Result<Self, Failure> {
        let set = |name: &str| env.get(name).filter(|value| !value.is_empty()).cloned();
        let command = match (command, public) {
            (Some(command), Some(public)) => Some((command, public)),
            (None, None) => None,
            _ => {
                return Err(Failure::usage(
                    "`signing_command` and `signing_public` belong together: the program that signs, and the file of \
                     its public key",
                ));
            }
        };
        let (pem, password) = (set(PEM).map(Into::into), set(PASSWORD).map(Into::into));
        Ok(Self { file, command, pem, password })
    }

    /// The password of an encrypted key.
    pub fn password(&self) -> Option<&str> {
        self.password.as_ref().map(ExposeSecret::expose_secret)
    }

    /// The key; none where nobody named one.
    ///
    /// # Errors
    /// It cannot be used, or two are named.
    pub fn load(&self) -> Result<Option<Box<dyn Signer>>, Failure> {
        let named = [
            self.file.as_ref().map(|_| "the setting `signing_key`"),
            self.command.as_ref().map(|_| "the setting `signing_command`"),
            self.pem.as_ref().map(|_| PEM),
        ];
        let named: Vec<&str> = named.into_iter().flatten().collect();
        if named.len() > 1 {
            return Err(Failure::usage(format!(
                "{} each name a signing key: take all but one out",
                named.join(" and ")
            )));
        }
        let usage = |text: String, help: Option<&str>| {
            BuildError::new(BuildErrorKind::Usage, text).help_if_any(help.map(str::to_owned))
        };
        if let Some((command, public)) = &self.command {
            let pem = text::read("public key", public)?;
            let key: PublicKey = pem
                .parse()
                .map_err(|error| usage(format!("the public key {public}: {error}"), None))?;
            return Ok(Some(Box::new(CommandKey::new(command.clone(), key)?)));
        }
        let key = match (&self.file, &self.pem) {
            (Some(file), _) => PrivateKey::from_file(file, self.password())?,
            (None, Some(pem)) => {
                let key = PrivateKey::from_pem(pem.expose_secret(), self.password());
                key.map_err(|error| {
                    usage(
                        format!("the signing key in {PEM} cannot be used: {error}"),
                        error.help_text(),
                    )
                })?
            }
            (None, None) => return Ok(None),
        };
        Ok(Some(Box::new(key)))
    }
}
