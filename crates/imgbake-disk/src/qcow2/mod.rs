//! QEMU's qcow2: what its specification (docs/interop/qcow2.rst in QEMU) says.

mod fields;
mod header;
mod map;
mod read;

pub(crate) use fields::HeaderFields;
pub(crate) use header::{Header, MAGIC, MAX_L1_BYTES, read_header};
pub(crate) use read::Qcow2;
