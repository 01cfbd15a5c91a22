//! What a registry answers, and the files that say who the user is there.
#![no_main]

use imgbake_fuzz::{choose, seed, tagged};
use imgbake_oci::fuzzing::{KINDS, MANIFEST, answer};
use imgbake_registry::fuzzing::manifest;
use libfuzzer_sys::fuzz_target;

const DIGEST: &str = "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";

/// A sound answer of each kind, or more.
fn sound() -> Vec<Vec<u8>> {
    let descriptor = format!(
        r#"{{"mediaType":"application/vnd.oci.image.manifest.v1+json","artifactType":"a/b","digest":"{DIGEST}","size":3,"annotations":{{"org.opencontainers.image.title":"a/b"}},"urls":[],"platform":{{"os":"linux"}}}}"#
    );
    let index = format!(
        r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","artifactType":"application/vnd.imgbake.image.v1","manifests":[{descriptor}],"annotations":{{"org.opencontainers.image.version":"1"}}}}"#
    );
    let manifest = format!(
        r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","artifactType":"a/b","config":{descriptor},"layers":[{descriptor}],"subject":{descriptor}}}"#
    );
    [
        (0, r#"Negotiate, Bearer realm="https://a.example/t",service="r\"x",scope="repository:a:pull""#),
        (0, "Basic realm=\"r\""),
        (1, r#"{"token":"abc","access_token":"def","expires_in":60.5}"#),
        (2, r#"{"auths":{"registry.example/team":{"auth":"dXNlcjpwdw=="},"https://index.docker.io/v1/":{"username":"u","password":"p"},"x":{"identitytoken":"t"}},"credHelpers":{"docker.io":"pass"},"credsStore":"desktop"}"#),
        (3, r#"{"ServerURL":"https://x","Username":"<token>","Secret":"s"}"#),
        (4, r#"</v2/web/tags/list?last=x&n=5>; rel="next""#),
        (4, "<http://elsewhere.example/>; rel=next"),
        (5, "bytes 5-9/10"),
        (6, "0-511"),
        (7, r#"{"errors":[{"code":"DENIED","message":"no","detail":null},{"message":"x"}]}"#),
        (8, &index),
        (8, &manifest),
        (9, &index),
        (10, "registry.example:5000"),
    ]
    .map(|(kind, text)| tagged(kind, text))
    .into()
}

fuzz_target!(init: seed(sound()), |input: &[u8]| {
    if let Some((kind, bytes)) = choose(input, KINDS) {
        answer(kind, bytes);
        if kind == MANIFEST {
            manifest(bytes);
        }
    }
});
