//! Key encryption keys in memory, which a test can disable, refuse or cut off.

use std::collections::BTreeMap;
use std::sync::Mutex;

use custody_envelope::{
    KekError, KekFault, KekKind, KekState, KeyEncryptionKeys, SecretBytes, WrapAlgorithm,
};
use custody_names::{KeyUri, KeyVersionUri};

/// Length of a wrap, in bytes: that of RSA-2048.
const WRAP_BYTES: usize = 256;

/// How a key version behaves when it is used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Behaviour {
    /// Wraps and unwraps.
    #[default]
    Works,
    /// Refused with `KeyDisabled`; [`KeyEncryptionKeys::describe`] says so too.
    Disabled,
    /// Refused with `Forbidden`: the grant is gone.
    Forbidden,
    /// Refused with `KeyNotFound`: purged.
    Purged,
    /// No answer.
    Unreachable,
    /// Wraps, but unwraps to other bytes than went in: a wrap proves nothing.
    Garbled,
}

/// What has been asked of a [`MemoryKeks`], refused calls included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Calls {
    /// Calls of `describe`.
    pub describes: usize,
    /// Calls of `wrap`.
    pub wraps: usize,
    /// Calls of `unwrap`.
    pub unwraps: usize,
}

/// Keeps what was wrapped in a table and hands out tickets as wraps: whatever is not a ticket,
/// bit for bit and under the same key version, is a mismatch. Wraps of equal bytes differ, as
/// those of RSA-OAEP do.
#[derive(Default)]
pub struct MemoryKeks {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    versions: BTreeMap<KeyVersionUri, Version>,
    newest: BTreeMap<KeyUri, KeyVersionUri>,
    tickets: BTreeMap<Vec<u8>, Ticket>,
}

struct Version {
    kind: KekKind,
    behaviour: Behaviour,
    calls: Calls,
}

impl Default for Version {
    fn default() -> Self {
        let (behaviour, calls) = (Behaviour::default(), Calls::default());
        Self { kind: KekKind::Rsa { bits: 2048 }, behaviour, calls }
    }
}

struct Ticket {
    key: KeyVersionUri,
    algorithm: WrapAlgorithm,
    plain: SecretBytes,
}

impl MemoryKeks {
    /// No keys yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// A new version of the key `key` in the key vault `vault`, made if it is not there.
    ///
    /// # Panics
    /// If the names are no names of a key vault and a key.
    #[expect(clippy::expect_used, reason = "a test's own constants")]
    pub fn add_version(&self, vault: &str, key: &str) -> KeyVersionUri {
        let mut state = self.lock();
        let number = state.versions.len() + 1;
        let uri: KeyVersionUri =
            format!("https://{vault}.vault.custody.localhost/keys/{key}/{number:032x}")
                .parse()
                .expect("a test gives valid names");
        state.versions.insert(uri.clone(), Version::default());
        state.newest.insert(uri.versionless(), uri.clone());
        uri
    }

    /// From now on this version behaves so.
    ///
    /// # Panics
    /// If the version was never added.
    #[expect(clippy::expect_used, reason = "a test names its own keys")]
    pub fn set(&self, key: &KeyVersionUri, behaviour: Behaviour) {
        self.lock().versions.get_mut(key).expect("an added version").behaviour = behaviour;
    }

    /// From now on this version is said to be of this kind.
    ///
    /// # Panics
    /// If the version was never added.
    #[expect(clippy::expect_used, reason = "a test names its own keys")]
    pub fn set_kind(&self, key: &KeyVersionUri, kind: KekKind) {
        self.lock().versions.get_mut(key).expect("an added version").kind = kind;
    }

    /// What has been asked of this version so far.
    pub fn calls(&self, key: &KeyVersionUri) -> Calls {
        self.lock().versions.get(key).map(|version| version.calls).unwrap_or_default()
    }

    /// What has been asked of all versions together so far.
    pub fn calls_in_all(&self) -> Calls {
        self.lock().versions.values().fold(Calls::default(), |sum, version| Calls {
            describes: sum.describes + version.calls.describes,
            wraps: sum.wraps + version.calls.wraps,
            unwraps: sum.unwraps + version.calls.unwraps,
        })
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl State {
    /// Counts a call and says how the version behaves, or why it cannot be used.
    fn enter(
        &mut self,
        key: &KeyVersionUri,
        count: fn(&mut Calls) -> &mut usize,
    ) -> Result<Behaviour, KekError> {
        let refused = |code, what: &str| KekError {
            fault: KekFault::Refused,
            code,
            message: format!("{key} {what}"),
            fix: None,
        };
        let version =
            self.versions.get_mut(key).ok_or_else(|| refused("KeyNotFound", "does not exist"))?;
        *count(&mut version.calls) += 1;
        match version.behaviour {
            Behaviour::Works | Behaviour::Garbled => Ok(version.behaviour),
            Behaviour::Disabled => Err(refused("KeyDisabled", "is disabled")),
            Behaviour::Forbidden => Err(refused("Forbidden", "may not be used by this identity")),
            Behaviour::Purged => Err(refused("KeyNotFound", "does not exist")),
            Behaviour::Unreachable => Err(KekError {
                fault: KekFault::Unreachable,
                code: "KeyVaultUnreachable",
                message: format!("the key vault of {key} does not answer"),
                fix: None,
            }),
        }
    }
}

impl KeyEncryptionKeys for MemoryKeks {
    fn describe(&self, key: &KeyUri) -> Result<KekState, KekError> {
        let mut state = self.lock();
        let version = match &key.version {
            Some(version) => Some(key.at(version.clone())),
            None => state.newest.get(key).cloned(),
        };
        let version = version.ok_or_else(|| KekError {
            fault: KekFault::Refused,
            code: "KeyNotFound",
            message: format!("{key} does not exist"),
            fix: None,
        })?;
        let enabled = match state.enter(&version, |calls| &mut calls.describes) {
            Ok(_) => true,
            Err(error) if error.code == "KeyDisabled" => false,
            Err(error) => return Err(error),
        };
        let kind = state.versions.get(&version).map_or(KekKind::Other, |found| found.kind);
        Ok(KekState { version, kind, enabled, not_before: None, expires: None })
    }

    fn wrap(
        &self,
        key: &KeyVersionUri,
        algorithm: WrapAlgorithm,
        plain: &SecretBytes,
    ) -> Result<Vec<u8>, KekError> {
        let mut state = self.lock();
        state.enter(key, |calls| &mut calls.wraps)?;
        let number = state.tickets.len() as u64 + 1;
        let wrapped: Vec<u8> = number.to_be_bytes().into_iter().cycle().take(WRAP_BYTES).collect();
        let plain = SecretBytes::new(plain.expose().to_vec());
        state.tickets.insert(wrapped.clone(), Ticket { key: key.clone(), algorithm, plain });
        Ok(wrapped)
    }

    fn unwrap(
        &self,
        key: &KeyVersionUri,
        algorithm: WrapAlgorithm,
        wrapped: &[u8],
    ) -> Result<SecretBytes, KekError> {
        let mut state = self.lock();
        let behaviour = state.enter(key, |calls| &mut calls.unwraps)?;
        let ticket = state
            .tickets
            .get(wrapped)
            .filter(|ticket| ticket.key == *key && ticket.algorithm == algorithm)
            .ok_or_else(|| KekError {
                fault: KekFault::Mismatch,
                code: "KeyWrapMismatch",
                message: format!("the bytes are no wrap of {key}"),
                fix: None,
            })?;
        let garble = if behaviour == Behaviour::Garbled { 0xFF } else { 0 };
        Ok(SecretBytes::new(ticket.plain.expose().iter().map(|byte| byte ^ garble).collect()))
    }
}
