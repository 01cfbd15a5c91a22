//! Identifiers that a seed decides, so that the same input gives the same bytes.

use sha2::{Digest as _, Sha256};
use uuid::Uuid;

/// The UUID (version 8, RFC 9562 section 5.8) that `seed` and `purpose` decide.
pub(crate) fn derive(seed: &str, purpose: &str) -> Uuid {
    let digest =
        Sha256::new().chain_update(purpose).chain_update([0]).chain_update(seed).finalize();
    let mut id = [0; 16];
    id.copy_from_slice(&digest[..16]);
    id[6] = (id[6] & 0x0F) | 0x80;
    id[8] = (id[8] & 0x3F) | 0x80;
    Uuid::from_bytes(id)
}

/// Four bytes that `seed` and `purpose` decide (volume ids, content ids); never zero or all ones.
pub(crate) fn derive_u32(seed: &str, purpose: &str) -> u32 {
    let id = derive(seed, purpose).into_bytes();
    u32::from_be_bytes([id[0] & 0x7F, id[1], id[2], id[3] | 1])
}

#[cfg(test)]
mod tests {
    #[test]
    fn seed_and_purpose_both_decide() {
        assert_eq!(super::derive("a", "disk"), super::derive("a", "disk"));
        assert_ne!(super::derive("a", "disk"), super::derive("b", "disk"));
        assert_ne!(super::derive("a", "disk"), super::derive("a", "partition"));
        assert_eq!(super::derive("a", "disk").get_version_num(), 8);
    }
}
