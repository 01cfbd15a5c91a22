//! What the fuzz targets see of this crate beside its public interface.

use imgbake_runtime::LineRedactor;

use crate::console::Console;
use crate::launch;

/// The ssh port in QEMU's answer to `info usernet`.
pub fn ssh_port(text: &str) -> Option<u16> {
    launch::parse_port(text)
}

/// What is kept of a serial console that sent these pieces.
pub fn console_text<'a>(
    redactor: LineRedactor,
    pieces: impl IntoIterator<Item = &'a [u8]>,
) -> String {
    let console = Console::new(redactor, None);
    for piece in pieces {
        console.push(piece);
    }
    console.finish();
    console.text()
}
