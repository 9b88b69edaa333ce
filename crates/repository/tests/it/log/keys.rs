//! The log under a vault's real keys.

use std::sync::Arc;
use std::time::Duration;

use custody_ambient::Clock;
use custody_envelope::{
    Failover, KeyAccess, KeyTarget, LEASE_DEFAULT, VaultKeys, WrapAlgorithm, WrapKey, create,
};
use custody_repository::log::{KeyholderAuthenticator, Log, LogError, LogParts, TrustedServers};
use custody_test_world::SeededEntropy;
use custody_test_world::keks::MemoryKeks;

use super::world::{VAULT, World, begin, genesis, point};

fn vault_keys(world: &World, seed: u64) -> VaultKeys {
    let provider = MemoryKeks::new();
    let key = provider.add_version("kv-one", "k");
    let keys = vec![WrapKey { key, algorithm: WrapAlgorithm::RsaOaep256 }];
    let target = KeyTarget { keys, infrastructure: Vec::new(), failover: Failover::Stop };
    let clock: Arc<dyn Clock> = world.clock.clone();
    let access = KeyAccess { keys: &provider, allowed: &|_| true, clock: &clock };
    create(VAULT, &target, &access, &SeededEntropy::new(seed)).unwrap().1
}

fn held_by(world: &World, keys: VaultKeys) -> LogParts {
    let authenticator = KeyholderAuthenticator::new(keys, TrustedServers::default());
    LogParts { authenticator: Arc::new(authenticator), ..world.parts() }
}

#[test]
fn a_log_is_good_under_its_own_keys_alone() {
    let world = World::empty();
    let keys = vault_keys(&world, 1);
    let log = Arc::new(Log::create(held_by(&world, keys.clone()), genesis()).unwrap());
    let session = begin(&log);
    session.commit(&point(1, &[1]), &|_| false).unwrap();
    assert_eq!(*Log::open(held_by(&world, keys.clone()), None).unwrap().history(), *log.history());
    let other = Log::open(held_by(&world, vault_keys(&world, 2)), None);
    assert_eq!(other.map_err(|error| error.code()).err(), Some("RepositoryLogForged"));

    world.clock.advance(LEASE_DEFAULT + Duration::from_secs(1));
    let late = session.commit(&point(2, &[2]), &|_| false);
    assert_eq!(late.as_ref().map_err(LogError::code), Err("KeyLeaseEnded"));
}
