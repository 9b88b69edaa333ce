//! Carries plans out: the only crate that both reads stores and calls key vaults.
