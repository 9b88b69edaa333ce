//! Carries plans out: the only crate that both reads stores and calls key vaults.
//!
//! [`Platform`] is one process's hold on an installation. A request that begins an operation hands
//! its id to [`Platform::begin`]; the task runs on a thread of its own as a [`Job`](job::Job), and
//! its end is stored together with what it achieved. A vault is opened for one job at a time by a
//! vault session: the ring is unlocked through the vault's identity, and a watcher extends or ends
//! the lease on its keys (DESIGN §5).

mod administrator;
mod applications;
mod at_once;
mod audit;
mod audit_delivery;
mod clock_watch;
mod conclusions;
mod delivery;
mod dependants;
mod directory;
mod drill_report;
mod drills;
pub mod dry_run;
mod due_work;
mod error;
mod event_delivery;
mod failover;
pub mod fault;
mod folders;
mod following;
mod host_identities;
mod housekeeping;
mod installation;
mod job;
mod job_board;
mod keks;
mod key_access;
mod key_alerts;
pub mod key_health;
mod key_management;
mod key_probes;
mod key_vault_link;
mod key_watch;
pub mod kits;
pub mod look;
mod orphans;
pub mod overview;
mod pause;
mod pipe;
mod platform;
mod post_office;
mod progress;
pub mod rescue;
mod runner;
pub mod search;
mod service_principals;
mod sign_in;
mod streams;
mod tasks;
mod transfer;
mod unsent;
mod vault_keys;
mod vault_repository;
mod vault_session;
mod view;

pub use administrator::{AdministratorApplication, NewTenant};
pub use applications::{ApplicationChange, CertificateWish, Holder};
pub use custody_directory::principal_of;
pub use delivery::{Courier, Delivery};
pub use dependants::{Dependants, ItemReport, Summary, VaultReport, VersionReport};
pub use directory::{Author, Principal, absent};
pub use drill_report::{report_on_key, verify_report};
pub use error::StartError;
pub use event_delivery::Dropped;
pub use following::Followed;
pub use host_identities::{Asking, Attached, Chosen, IdentityRequest, WorkloadFacts};
pub use housekeeping::Housekeeping;
pub use installation::{DataFolder, INSTALLATION_FORMAT, Installation};
pub use key_access::{Cause, KeyVaultFacts, PLATFORM_KEY_VAULT};
pub use key_alerts::KeyFailures;
pub use key_management::KeyManagement;
pub use key_probes::{PROBE_EVERY, ProbeFigures};
pub use key_vault_link::KeyVaultLink;
pub use platform::{Platform, PlatformOptions, SealChoice};
pub use post_office::PostOffice;
pub use sign_in::{AuthenticationError, FAILURES_MAX, FAILURES_WITHIN, TokenRequest};
pub use transfer::{Blocker, PassedKeyVault, StoppedVault, Transfer};
