//! Runs commands in a machine and moves files: the Communicator trait, and ssh.
