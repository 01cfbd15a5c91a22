//! Base disks that exist already: a URL or file with its checksum, or a version in the registry.
