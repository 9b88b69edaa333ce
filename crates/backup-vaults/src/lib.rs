//! Backup vaults and their encryption rules.
