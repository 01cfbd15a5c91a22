//! What the test files share.

use camino::Utf8Path;
use imgbake_template::{CheckOptions, Diagnostics, Schema, Template, Variables, parse_with};

/// The shortest template.
pub(crate) const HEAD: &str = "[image]\nname = \"web\"\n\n[source]\nimage = \"base:prod\"\n";

/// Reads a template called `web.toml`.
pub(crate) fn read(text: &str) -> Result<Template, Diagnostics> {
    let schema = schema();
    let options = CheckOptions {
        schema: &schema,
        seal_operations: &["machine-id", "ssh-host-keys", "package-lists"],
    };
    parse_with(Utf8Path::new("web.toml"), text, &options)
}

/// The schema with the released program's builders and provisioners.
pub(crate) fn schema() -> Schema {
    Schema::new(&[imgbake_qemu::KIND], &imgbake_provision::kinds())
}

/// Flags' values.
pub(crate) fn flags(all: &[&str]) -> Variables {
    let mut variables = Variables::new();
    for one in all {
        variables.add_flag(one).expect("a flag");
    }
    variables
}
