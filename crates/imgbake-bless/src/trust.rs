//! Who moves a channel: the key that signs a move's record, and the keys that may.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use imgbake_build::{BuildError, BuildErrorKind, Image};
use imgbake_runtime::Job;
use imgbake_types::record::{ChannelMove, ComposedMove, MoveSignature, RecordedMove};
use imgbake_types::{ChannelName, Digest, Reference};

use crate::Answer;
use crate::dsse::pae;
use crate::keys::{KeyId, PublicKey, Signer};

/// What a move is signed with, and whose signatures count.
#[derive(Clone, Copy, Default)]
pub struct Trust<'a> {
    /// The key that signs, with the job that may run its program.
    pub signer: Option<(&'a Job, &'a dyn Signer)>,
    /// The keys that may move the channel; none where nobody named any.
    pub keys: &'a [PublicKey],
}

impl fmt::Debug for Trust<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let signer = self.signer.map(|(_, signer)| signer.public().id());
        f.debug_struct("Trust").field("signer", &signer).field("keys", &self.keys.len()).finish()
    }
}

/// Why a record is not trusted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UntrustedMove {
    /// It has no signature.
    #[error("it is not signed")]
    Unsigned,
    /// None of its signatures is by a key that may move the channel.
    #[error("it is signed by {0}, which may not move this channel")]
    OtherKey(String),
    /// A signature is not of its document.
    #[error("its signature by the key {} is wrong", .0.short())]
    WrongSignature(KeyId),
    /// It is a move of something else.
    #[error("it is a move of {0}")]
    OtherChannel(String),
}

/// Checks that one of some keys signed a record as a move of this channel of this image.
///
/// # Errors
/// Why it is not trusted.
pub fn check_move(
    moved: &RecordedMove,
    image: &str,
    channel: &ChannelName,
    keys: &[PublicKey],
) -> Result<KeyId, UntrustedMove> {
    if moved.signatures.is_empty() {
        return Err(UntrustedMove::Unsigned);
    }
    let message = pae(ChannelMove::PAYLOAD, &moved.document);
    let known = moved.signatures.iter().find_map(|signature| {
        let key = keys.iter().find(|key| key.id().as_str() == signature.keyid)?;
        Some((key, signature))
    });
    let Some((key, signature)) = known else {
        let names: Vec<String> =
            moved.signatures.iter().map(|one| format!("the key {}", short(&one.keyid))).collect();
        return Err(UntrustedMove::OtherKey(names.join(", ")));
    };
    let bytes = STANDARD.decode(&signature.sig).unwrap_or_default();
    if !key.verifies(&message, &bytes) {
        return Err(UntrustedMove::WrongSignature(key.id()));
    }
    // A good signature is of one channel: under another name the same bytes prove nothing.
    let entry = &moved.entry;
    if entry.image.as_deref() != Some(image) || entry.channel != *channel {
        let name = entry.image.as_deref().unwrap_or("an image without a name");
        return Err(UntrustedMove::OtherChannel(format!("{name}:{}", entry.channel)));
    }
    Ok(key.id())
}

/// The name of an image in its store, which its signed moves have: `NAME` of `[HOST/]NAME`.
pub(crate) fn name_of(image: &dyn Image) -> String {
    let label = image.label();
    label.parse::<Reference>().map_or(label, |reference| reference.name)
}

/// Checks that a channel's newest record is by one of some keys, and that it says what the channel points at.
///
/// # Errors
/// [`BuildErrorKind::Refused`]: which check failed. Else the store cannot be read.
pub async fn check_channel(
    image: &dyn Image,
    channel: &ChannelName,
    digest: &Digest,
    keys: &[PublicKey],
) -> Result<KeyId, BuildError> {
    let label = format!("{}:{channel}", image.label());
    let refused = |why: String| {
        let text = format!("{label} is not trusted: {why}");
        BuildError::new(BuildErrorKind::Refused, text)
            .help(format!("`imgbake history {label}` lists its moves and who signed them"))
    };
    let Some(head) = image.state(channel).await?.head else {
        return Err(refused(format!("no record says that it points at {digest}")));
    };
    let key = check_move(&head, &name_of(image), channel, keys).map_err(|why| {
        refused(format!("its newest record, move {}, does not count: {why}", head.entry.number))
    })?;
    if head.entry.to.digest != *digest {
        let says = &head.entry.to.digest;
        return Err(refused(format!("it points at {digest}, and its newest record says {says}")));
    }
    Ok(key)
}

/// The beginning of an identifier that anybody may have written.
pub fn short(keyid: &str) -> String {
    let shown: String = keyid.chars().filter(char::is_ascii_alphanumeric).take(12).collect();
    if shown.is_empty() { "without a name".to_owned() } else { shown }
}

impl Trust<'_> {
    /// Whether this machine may move a channel with these moves, the newest first; none where nobody named keys.
    pub(crate) fn judge(
        &self,
        image: &str,
        channel: &ChannelName,
        moves: &[RecordedMove],
    ) -> Option<Answer> {
        if self.keys.is_empty() {
            return None;
        }
        let may: Vec<String> = self.keys.iter().map(|key| key.id().short().to_owned()).collect();
        let may = match &may[..] {
            [one] => format!("the key {one}"),
            several => format!("one of the keys {}", several.join(", ")),
        };
        let Some((_, signer)) = self.signer else {
            return Some(
                Answer::refused("its moves must be signed, and there is no signing key")
                    .help(format!("set `signing_key` to the file of {may}")),
            );
        };
        let own = signer.public().id();
        if !self.keys.iter().any(|key| key.id() == own) {
            let reason = format!("the key {} may not move it", own.short());
            return Some(Answer::refused(reason).help(format!("sign with {may}")));
        }
        let head = moves.first().map(|head| check_move(head, image, channel, self.keys));
        let was_signed = moves.iter().any(|moved| !moved.signatures.is_empty());
        Some(match head {
            None => Answer::passed(format!("signed by {}", own.short())),
            // The first signed move takes what was there before into its chain.
            Some(Err(UntrustedMove::Unsigned)) if !was_signed => Answer::passed(format!(
                "signed by {}, the moves before are not signed",
                own.short()
            )),
            Some(Ok(before)) => Answer::passed(format!(
                "signed by {}, and the move before by {}",
                own.short(),
                before.short()
            )),
            Some(Err(why)) => Answer::refused(format!("its newest record is not trusted: {why}"))
                .help("somebody else wrote to the registry, or the channel's keys were changed"),
        })
    }

    /// Signs a move's document, where there is a key.
    ///
    /// # Errors
    /// The key cannot be used.
    pub(crate) async fn sign(&self, composed: ComposedMove) -> Result<ComposedMove, BuildError> {
        let Some((job, signer)) = self.signer else { return Ok(composed) };
        let message = pae(ChannelMove::PAYLOAD, composed.bytes());
        let signature = signer.sign(job, &message).await?;
        Ok(composed.signed(MoveSignature {
            keyid: signer.public().id().to_string(),
            sig: STANDARD.encode(signature),
        }))
    }
}

#[cfg(test)]
mod tests {
    use imgbake_runtime::{Cancel, Events, Home, Secrets};
    use serde_json::json;

    use super::*;
    use crate::keys::{Algorithm, PrivateKey};

    struct Place {
        job: Job,
        _temp: tempfile::TempDir,
    }

    impl Place {
        fn new() -> Self {
            let temp = tempfile::tempdir().unwrap();
            let dir = camino::Utf8Path::from_path(temp.path()).unwrap();
            let (events, _) = Events::channel("test", Secrets::default());
            let home = Home::new(dir.join("home"));
            let job = Job::begin(&home, "test", Cancel::new(), events, Secrets::default()).unwrap();
            Self { job, _temp: temp }
        }

        /// A move of `web:prod`, signed by these keys.
        async fn signed(&self, keys: &[&PrivateKey]) -> RecordedMove {
            let entry: ChannelMove = serde_json::from_value(json!({
                "channel": "prod", "image": "web", "number": 1, "time": "2026-11-23T11:00:00Z", "who": "ada@host",
                "action": "promote", "to": { "version": "1.0", "digest": Digest::sha256("a") }
            }))
            .unwrap();
            let mut composed = ComposedMove::new(entry).unwrap();
            for key in keys {
                let trust = Trust { signer: Some((&self.job, *key)), keys: &[] };
                composed = trust.sign(composed).await.unwrap();
            }
            composed.recorded(Digest::sha256("record"))
        }
    }

    #[tokio::test]
    async fn a_record_counts_by_a_good_signature_of_a_known_key_for_its_channel() {
        let place = Place::new();
        let own = PrivateKey::generate(Algorithm::Ed25519).unwrap();
        let other = PrivateKey::generate(Algorithm::P256).unwrap();
        let keys = [own.public().clone()];
        let prod: ChannelName = "prod".parse().unwrap();
        let check = |moved: &RecordedMove| check_move(moved, "web", &prod, &keys);
        let moved = place.signed(&[&own]).await;
        assert_eq!(check(&moved), Ok(own.public().id()));
        // A second signature does no harm: of two keys one is known.
        assert_eq!(check(&place.signed(&[&other, &own]).await), Ok(own.public().id()));
        assert_eq!(check(&place.signed(&[]).await), Err(UntrustedMove::Unsigned));
        let unknown = check(&place.signed(&[&other]).await).unwrap_err();
        assert!(unknown.to_string().contains(other.public().id().short()), "{unknown}");

        let wrong = Err(UntrustedMove::WrongSignature(own.public().id()));
        let mut changed = moved.clone();
        changed.document =
            String::from_utf8(changed.document).unwrap().replace("1.0", "1.1").into();
        assert_eq!(check(&changed), wrong);
        for sig in ["", "no base64!", "AAAA"] {
            let mut changed = moved.clone();
            sig.clone_into(&mut changed.signatures[0].sig);
            assert_eq!(check(&changed), wrong, "{sig}");
        }
        // Another key's signature under this key's name.
        let mut renamed = place.signed(&[&other]).await;
        renamed.signatures[0].keyid = own.public().id().to_string();
        assert_eq!(check(&renamed), wrong);
        let mut named = moved.clone();
        named.signatures[0].keyid = "\u{1b}[2J".to_owned();
        assert!(!check(&named).unwrap_err().to_string().contains('\u{1b}'));

        // The same record under the name of another image or channel.
        let elsewhere = check_move(&moved, "db", &prod, &keys).unwrap_err();
        assert_eq!(elsewhere, UntrustedMove::OtherChannel("web:prod".to_owned()));
        let dev = "dev".parse().unwrap();
        assert!(check_move(&moved, "web", &dev, &keys).is_err());
    }

    #[tokio::test]
    async fn a_channel_with_keys_is_moved_by_them_alone() {
        let place = Place::new();
        let own = PrivateKey::generate(Algorithm::Ed25519).unwrap();
        let other = PrivateKey::generate(Algorithm::Ed25519).unwrap();
        let keys = [own.public().clone()];
        let prod: ChannelName = "prod".parse().unwrap();
        let judge = |signer: Option<&PrivateKey>, keys: &[PublicKey], moves: &[&RecordedMove]| {
            let signer = signer.map(|signer| (&place.job, signer as &dyn Signer));
            let moves: Vec<RecordedMove> = moves.iter().copied().cloned().collect();
            let answer = Trust { signer, keys }.judge("web", &prod, &moves)?;
            Some(answer.verdict("keys"))
        };
        let by_own = place.signed(&[&own]).await;
        let by_other = place.signed(&[&other]).await;
        let unsigned = place.signed(&[]).await;
        assert!(judge(None, &[], &[&by_other]).is_none(), "nobody named a key");
        for (signer, head, passes, part) in [
            (None, &[][..], false, "there is no signing key"),
            (Some(&other), &[], false, "may not move it"),
            (Some(&own), &[], true, "signed by"),
            (Some(&own), &[&unsigned, &unsigned], true, "the moves before are not signed"),
            (Some(&own), &[&by_own, &unsigned], true, "and the move before by"),
            (Some(&own), &[&by_other, &by_own], false, "its newest record is not trusted"),
            // Once moves are signed, one that is not is by somebody else.
            (Some(&own), &[&unsigned, &by_own], false, "it is not signed"),
        ] {
            let verdict = judge(signer, &keys, head).unwrap();
            assert_eq!(verdict.passed, passes, "{verdict:?}");
            assert!(verdict.reason.contains(part), "{part}: {verdict:?}");
            assert_eq!(verdict.help.is_some(), !passes);
        }
    }
}
