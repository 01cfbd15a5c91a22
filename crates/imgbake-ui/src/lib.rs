//! Events to bars, plain lines and JSON lines.
