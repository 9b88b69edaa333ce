//! The REST surface through its front door: whole requests to a server over a fresh data folder.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test says what is wrong by panicking"
)]

mod audited;
mod bearers;
mod canary;
mod clock_jumps;
mod complaints;
mod deleted_vaults;
mod desk;
mod drills;
mod faulty_key_vault;
mod graph;
mod hook;
mod hostile;
mod key_health;
mod limits;
mod listening;
mod managed_identities;
mod one_vault_in_another;
mod pauses;
mod portal;
mod scenarios;
mod site;
mod standby;
mod standby_outage;
mod standing;
mod subscribed;
mod tenants;
mod throttling;
mod token_endpoint;
mod transfers;
mod updates;
mod vault_keys;
mod where_keys_lie;
