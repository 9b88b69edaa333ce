//! The ARM plane over its front door: bodies, codes and headers as unmodified clients need them.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod access_to_data;
mod activity;
mod another_key_vault;

mod authorization;
mod conventions;
mod dry_run;
mod golden;
mod guards;
mod identities;
mod key_vaults;
mod keys;
mod managed_hsm;
mod moves;
mod protected_items;
mod protection;
mod same_experience;
mod schedules;
mod searches;
mod soft_delete;
mod tenancy;
mod world;
