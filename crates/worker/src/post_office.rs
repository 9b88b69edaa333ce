//! Who is served when: the rounds of the one process that sends.

use std::collections::{HashMap, HashSet};
use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt as _;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use custody_resources::{Hosts, Refusal};

use crate::Platform;
use crate::delivery::{Courier, Receiver, Turn};

/// Most audit destinations that are served at once, and most event subscriptions: the others wait
/// for the next round, and neither sort waits for the other.
const THREADS_MAX: usize = 32;
/// How long a receiver is served in one round; a post that has begun is finished. Then its thread
/// ends, and those who have waited longer come first.
const SERVED_MAX: Duration = Duration::from_secs(30);
/// The file whose lock says which process sends.
const TURN_FILE: &str = "delivery.lock";

/// The post of one process: who is being served, by which thread.
pub struct PostOffice {
    platform: Arc<Platform>,
    courier: Arc<dyn Courier>,
    hosts: Hosts,
    counter: Mutex<Counter>,
    turn: Mutex<Option<File>>,
}

/// Who is being served and who was.
#[derive(Default)]
struct Counter {
    served: HashMap<String, Served>,
    /// The number of the round in which each receiver was last served.
    last: HashMap<String, u64>,
    rounds: u64,
}

struct Served {
    is_audit: bool,
    thread: JoinHandle<Result<(), Refusal>>,
}

impl Counter {
    /// Takes note of the threads that have ended.
    fn end(&mut self) -> Vec<Refusal> {
        let ended = self.served.extract_if(|_, served| served.thread.is_finished());
        // A panic is on stderr already, and the next round begins anew.
        ended.filter_map(|(_, served)| served.thread.join().ok().and_then(Result::err)).collect()
    }

    fn has_room(&self, is_audit: bool) -> bool {
        let same = self.served.values().filter(|served| served.is_audit == is_audit);
        same.count() < THREADS_MAX
    }
}

impl PostOffice {
    /// The post of a platform that is reached under these names.
    pub fn new(platform: Arc<Platform>, courier: Arc<dyn Courier>, hosts: Hosts) -> Self {
        let (counter, turn) = (Mutex::default(), Mutex::default());
        Self { platform, courier, hosts, counter, turn }
    }

    /// Lets a thread begin for those who lack something and are not being served, as far as there
    /// is room, and returns at once. What went wrong with the stores since the last round comes
    /// back; what went wrong with a receiver is in its [`crate::Delivery`].
    ///
    /// Of several processes on one data folder one sends: the others' rounds do nothing.
    pub fn round(&self) -> Vec<Refusal> {
        let mut counter = self.counter.lock().unwrap_or_else(PoisonError::into_inner);
        let mut problems = counter.end();
        match self.is_our_turn() {
            Ok(true) => problems.extend(self.serve_the_due(&mut counter).err()),
            Ok(false) => {}
            Err(problem) => problems.push(problem),
        }
        problems
    }

    /// Waits until nobody is being served.
    pub fn finish(&self) {
        let mut counter = self.counter.lock().unwrap_or_else(PoisonError::into_inner);
        for (_, served) in counter.served.drain() {
            // Whatever it was, the next process goes on from there.
            let _ = served.thread.join();
        }
    }

    /// Begins with whoever has been without service for longest.
    fn serve_the_due(&self, counter: &mut Counter) -> Result<(), Refusal> {
        let platform = &self.platform;
        let receivers = platform.receivers()?;
        let head = platform.ledger_head()?;
        let ids: HashSet<String> = receivers.iter().map(|one| one.id().canonical()).collect();
        counter.rounds += 1;
        counter.last.retain(|id, _| ids.contains(id));
        let is_of_use = |id: &str| ids.contains(id) || counter.served.contains_key(id);
        platform.forget_deliveries(is_of_use)?;
        let mut due = Vec::new();
        for receiver in receivers {
            let id = receiver.id().canonical();
            if !counter.served.contains_key(&id) && platform.is_due(&receiver, head)? {
                due.push((counter.last.get(&id).copied().unwrap_or_default(), id, receiver));
            }
        }
        due.sort_by_key(|(last, ..)| *last);
        for (_, id, receiver) in due {
            let is_audit = receiver.is_audit();
            if counter.has_room(is_audit) {
                let thread = self.begin(receiver)?;
                counter.last.insert(id.clone(), counter.rounds);
                counter.served.insert(id, Served { is_audit, thread });
            }
        }
        Ok(())
    }

    fn begin(&self, receiver: Receiver) -> Result<JoinHandle<Result<(), Refusal>>, Refusal> {
        let (platform, courier) = (Arc::clone(&self.platform), Arc::clone(&self.courier));
        let hosts = self.hosts.clone();
        let serve = move || {
            let end = platform.clock.since_boot().saturating_add(SERVED_MAX);
            let turn = Turn { courier: courier.as_ref(), hosts: &hosts, end };
            while platform.deliver_to(&receiver, &turn)? && !platform.is_over(&turn) {}
            Ok(())
        };
        let begun = thread::Builder::new().name("delivery".to_owned()).spawn(serve);
        begun.map_err(|error| Refusal::new(503, "ServerBusy", error.to_string()))
    }

    /// Whether this process sends: the first that asks, until it ends.
    fn is_our_turn(&self) -> Result<bool, Refusal> {
        let mut turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        if turn.is_some() {
            return Ok(true);
        }
        let path = self.platform.folder.root().join(TURN_FILE);
        let unusable = |error: std::io::Error| {
            Refusal::new(500, "DataFolderUnusable", format!("{}: {error}", path.display()))
        };
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(false).mode(0o600);
        let file = options.open(&path).map_err(unusable)?;
        match rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {
                *turn = Some(file);
                Ok(true)
            }
            Err(rustix::io::Errno::WOULDBLOCK) => Ok(false),
            Err(errno) => Err(unusable(errno.into())),
        }
    }
}
