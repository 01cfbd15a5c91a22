//! Whole templates: the example of the design, anything at all, and the generated pages.

use crate::common::{read, schema};
use imgbake_template::{Variables, json_schema, reference_markdown};
use proptest::prelude::*;

const EXAMPLE: &str = r#"
[image]
name = "debian-12-web"
description = "nginx on Debian 12"

[variables.suite]
default = "bookworm"
[variables.token]
sensitive = true            # from --var, a var file, or IMGBAKE_VAR_token; never printed, never stored

[source]                    # exactly one of: bootstrap, url, image, iso
bootstrap = { distribution = "debian", suite = "{{ var.suite }}" }
# url = "https://…/debian-12-genericcloud-amd64.qcow2", checksum = "sha512:…" or "file:https://…/SHA512SUMS"
# image = "debian-12-base:prod"

[builder.qemu]
memory = "1GiB"
cpus = 2
disk = "4GiB"

[[provision]]
name = "nginx"
type = "shell"
script = "../provisioners/nginx.sh"
env = { LISTEN = "80" }

[[test]]
name = "serves"
run = "curl -fsS localhost"

[publish]
channel = "dev"
"#;

#[test]
fn the_designs_example_is_read() {
    let template = read(EXAMPLE).unwrap_or_else(|found| panic!("{found}"));
    let resolved = template.resolve(&crate::common::flags(&["token=t"])).unwrap();
    assert_eq!(resolved.spec.source.bootstrap.unwrap().suite, "bookworm");
    assert_eq!(resolved.spec.publish.channel.as_deref(), Some("dev"));
    assert_eq!(template.variables().count(), 2);
}

#[test]
fn the_schema_is_one() {
    let schema = json_schema(&schema());
    assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
    let text = schema.to_string();
    assert!(!text.contains(":null") && !text.contains("\"null\"},"), "TOML has no null");
    let shown = serde_json::to_string_pretty(&schema).unwrap();
    insta::assert_snapshot!(shown);
}

#[test]
fn the_reference_names_every_key() {
    let page = reference_markdown(&schema());
    assert!(!page.contains("| any |") || page.contains("[variables.NAME]"));
    insta::assert_snapshot!(page);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    /// Bytes taken out of, put into and moved within a template never make the reader fail in any
    /// other way than with diagnostics that can be drawn.
    #[test]
    fn mutated_templates_never_panic(
        edits in prop::collection::vec((any::<prop::sample::Index>(), 0usize..40, "[\\[\\]{}%\"'=.#\\n⟦é a-z0-9-]{0,6}"), 1..8),
    ) {
        let matrix = "[[matrix]]\nsuite = [\"bookworm\", \"trixie\"]\n";
        let mut text = format!("{EXAMPLE}{matrix}");
        for (at, length, put) in edits {
            let starts: Vec<usize> = text.char_indices().map(|(byte, _)| byte).collect();
            if starts.is_empty() { break; }
            let from = at.index(starts.len());
            let to = starts.get(from + length).copied().unwrap_or(text.len());
            text.replace_range(starts[from]..to, &put);
        }
        match read(&text) {
            Ok(template) => {
                if let Err(found) = template.resolve_all(&Variables::new()) { drop(found.to_string()); }
            }
            Err(found) => prop_assert!(!found.to_string().is_empty()),
        }
    }
}
