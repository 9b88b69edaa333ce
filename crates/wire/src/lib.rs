//! The REST surface: ARM and Key Vault requests in, answers out; the only crate that knows HTTP.
