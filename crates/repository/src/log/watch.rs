//! Finding writers that died.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::body::EndReason;
use super::host::{HostProbe, Liveness};
use super::identifiers::SessionId;
use super::session::{SESSION_LEASE, end_session, heartbeat_name};
use super::{LivingSession, Log, LogError};

/// Watches sessions of others. Its verdict may be wrong about a paused writer; the fence makes
/// that harmless (docs/formats/repository-log.md, "Sessions and fences").
pub struct SessionWatch {
    log: Arc<Log>,
    host: Arc<dyn HostProbe>,
    seen: BTreeMap<SessionId, Sighting>,
}

struct Sighting {
    /// The heartbeat, or that there was none.
    heartbeat: Option<Vec<u8>>,
    /// Since when it has looked like this, on this observer's clock.
    since: Duration,
}

impl SessionWatch {
    /// A watch that has seen nothing yet.
    pub fn new(log: Arc<Log>, host: Arc<dyn HostProbe>) -> Self {
        Self { log, host, seen: BTreeMap::new() }
    }

    /// Looks at every session of `sessions` once and ends the dead. Call it again after a while:
    /// a session elsewhere is dead only when its heartbeat stood still for [`SESSION_LEASE`]
    /// between two looks. Gives the sessions that were ended.
    pub fn look(
        &mut self,
        sessions: &BTreeMap<SessionId, LivingSession>,
    ) -> Result<Vec<SessionId>, LogError> {
        self.seen.retain(|id, _| sessions.contains_key(id));
        let mut ended = Vec::new();
        for (id, session) in sessions {
            if self.is_dead(*id, session)? {
                end_session(&self.log, *id, EndReason::Fenced)?;
                self.seen.remove(id);
                ended.push(*id);
            }
        }
        Ok(ended)
    }

    fn is_dead(&mut self, id: SessionId, session: &LivingSession) -> Result<bool, LogError> {
        match self.host.liveness(&session.host) {
            Liveness::Dead => return Ok(true),
            Liveness::Alive | Liveness::Unknown => {}
        }
        let heartbeat = self.log.parts.store.read(&heartbeat_name(id)?)?;
        let now = self.log.parts.clock.since_boot();
        match self.seen.get(&id) {
            Some(sighting) if sighting.heartbeat == heartbeat => {
                Ok(now.saturating_sub(sighting.since) >= SESSION_LEASE)
            }
            _ => {
                self.seen.insert(id, Sighting { heartbeat, since: now });
                Ok(false)
            }
        }
    }
}
