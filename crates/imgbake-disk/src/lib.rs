//! Disk formats and media: raw, qcow2, vmdk, vhd, vhdx, GPT, seed volumes, holes.
