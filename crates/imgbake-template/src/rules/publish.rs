//! `[publish]` and `[verify]`

use imgbake_types::Size;

use crate::Diagnostic;
use crate::tree::{Node, Value};

const FORMATS: [&str; 5] = ["raw", "qcow2", "vmdk", "vhd", "vhdx"];

pub(super) fn check(root: &Node, out: &mut Vec<Diagnostic>) {
    let publish = root.get("publish");
    let enabled = root.get("verify").and_then(|verify| verify.get("enabled"));
    if let Some(enabled) = enabled.filter(|node| node.value == Value::Bool(false))
        && let Some(channel) = publish.and_then(|publish| publish.entry("channel"))
    {
        let message = "no channel may point at a version that was not verified";
        out.push(
            Diagnostic::new("unverified-channel", channel.key_span.clone(), message)
                .help("take `channel` out, or let the version be verified")
                .related(enabled.span.clone(), "verify is off"),
        );
    }
    disk_size(root, out);
    let output = publish.and_then(|publish| publish.get("output"));
    for (node, path) in output.into_iter().flat_map(Node::texts) {
        let extension = path.rsplit_once('.').map_or("", |(_, extension)| extension);
        if !FORMATS.contains(&extension) {
            let message = format!("`{path}` does not say its format");
            out.push(
                Diagnostic::new("output-format", node.span.clone(), message)
                    .help(format!("a name that ends in {}", crate::suggest::list(&FORMATS))),
            );
        }
    }
}

/// No disk is cut.
fn disk_size(root: &Node, out: &mut Vec<Diagnostic>) {
    let size = |node: &Node| node.text().and_then(|text| text.parse::<Size>().ok());
    let published = root.get("publish").and_then(|publish| publish.get("disk_size"));
    let builders = root.get("builder").map(Node::entries).unwrap_or_default();
    let disks = builders.iter().filter_map(|builder| builder.node.get("disk"));
    for (published, disk) in
        published.into_iter().flat_map(|node| disks.clone().map(move |disk| (node, disk)))
    {
        if size(published).zip(size(disk)).is_some_and(|(published, disk)| published < disk) {
            let message = "the published disk would be smaller than the machine's";
            out.push(
                Diagnostic::new("disk-size", published.span.clone(), message)
                    .help("no disk is cut: take `disk_size` out, or make it larger")
                    .related(disk.span.clone(), "the machine's disk"),
            );
        }
    }
}
