//! Files into and out of a machine, through its shell: no sftp subsystem is needed.
