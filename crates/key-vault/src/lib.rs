//! Key vaults, keys, versions, soft delete, rotation, cryptographic operations, seals and recovery kits.
