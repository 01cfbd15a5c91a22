//! Versions and channels as storage: the local OCI image layout.
