//! The measurements, each of which adds its figures.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::time::Duration;

use serde_json::json;

use crate::bench::serve::figures::{Bound, Figures};
use crate::bench::serve::floor;
use crate::bench::serve::http::Request;
use crate::bench::serve::load::{self, Load};
use crate::bench::serve::openssl::{self, By};
use crate::bench::serve::outcome::Outcome;
use crate::bench::serve::process_stat::Watched;
use crate::bench::serve::scripts::{Each, Pages, Same, Script};
use crate::bench::serve::server::Server;
use crate::bench::serve::set_up::World;
use crate::bench::serve::settings::Settings;
use crate::failure::Failure;

/// What unwraps must reach of openssl's private-key operations.
const UNWRAPS: Bound = Bound::AtLeast(0.85, "0.85 of `openssl speed`");
/// The p99 of GET key while the private-key pool is busy.
const GET_UNDER_LOAD: Bound = Bound::Below(20.0, "20 ms");
/// The rate of GET key meanwhile.
const GETS_PER_S: u32 = 50;
/// The key size that the other caller keeps the pool busy with.
const BUSY_BITS: u32 = 4096;
/// A load that is not counted comes first, so that keys are open and tables warm.
const WARM_UP: Duration = Duration::from_secs(1);
/// Bytes of a token, about those of the server's.
const TOKEN_BYTES: usize = 1000;
/// How long making the keys of the list may take.
pub(crate) const MAKING_TIME: Duration = Duration::from_mins(10);

/// A server, what it holds, and how it is to be measured.
pub(crate) struct Subject<'s> {
    pub(crate) settings: &'s Settings,
    pub(crate) server: &'s Server,
    pub(crate) world: &'s World,
}

impl Subject<'_> {
    /// The load of many connections that keep both cores busy.
    fn load(&self) -> Load<'_> {
        let Settings { threads, connections, seconds, is_patient, .. } = *self.settings;
        let (address, host) = (&self.world.address, self.world.vault_host.as_str());
        let time = Duration::from_secs(seconds);
        Load { address, host, threads, connections, time, is_patient }
    }

    /// The load of a few connections, each with a thread of its own so that times are exact.
    pub(crate) fn timed(&self) -> Load<'_> {
        Load { threads: self.settings.timed, connections: 1, ..self.load() }
    }

    /// Unwraps per second beside openssl's private-key operations on the same cores.
    pub(crate) fn unwraps(&self, bits: u32, figures: &mut Figures) -> Result<(), Failure> {
        let [user, _] = &self.world.users;
        let request = self.world.unwrap_request(user, bits)?;
        let load = self.load();
        let how = format!("{} connections of one caller, {} threads", load.lines(), load.threads);
        let name = format!("RSA-{bits} unwraps per second over TLS, authorised and on the ledger");
        let seconds = self.settings.seconds.div_ceil(2);
        let yardstick = || openssl::private_per_s(bits, seconds, By::WallTime);
        let before = if self.settings.is_bare { None } else { Some(yardstick()?) };
        let outcome = warm(load, &self.server.watched, || Same(Arc::clone(&request)))?;
        figures.note(&name, &outcome);
        let (rate, cpu_ms) = (outcome.per_second(), outcome.cpu_ms_each());
        let also = throttled(&outcome);
        let Some(before) = before else {
            let shown = format!("{rate:.0}/s{also}; server's CPU {cpu_ms:.3} ms each");
            figures.add(name, None, rate, shown, how);
            return Ok(());
        };
        let after = yardstick()?;
        let openssl = f64::midpoint(before, after);
        figures.add(
            name,
            Some(UNWRAPS),
            rate / openssl,
            format!(
                "{:.2}: {rate:.0}/s beside {openssl:.0}/s ({before:.0} before, {after:.0} after){also}",
                rate / openssl
            ),
            format!("{how}; `openssl speed -elapsed -multi 2 rsa{bits}` before and after"),
        );
        let least_ms = openssl::cpu_s_each(bits, seconds)? * 1e3;
        figures.add(
            "the same by CPU time: openssl's private operation ÷ the server's unwrap",
            None,
            least_ms / cpu_ms,
            format!("{:.2}: {least_ms:.3} ms beside {cpu_ms:.3} ms", least_ms / cpu_ms),
            format!("the same run, `/proc/PID/stat`; `openssl speed -multi 2 rsa{bits}`"),
        );
        Ok(())
    }

    /// GET of one key.
    pub(crate) fn get_key(&self, figures: &mut Figures) -> Result<(), Failure> {
        let request = self.get_request()?;
        let load = self.timed();
        let outcome = warm(load, &self.server.watched, || Same(Arc::clone(&request)))?;
        rate("GET key", outcome, &load, figures);
        Ok(())
    }

    /// A token by client credentials with a secret.
    pub(crate) fn token(&self, figures: &mut Figures) -> Result<(), Failure> {
        let [user, _] = &self.world.users;
        let request: Arc<[u8]> = self.world.token_request(user).into();
        let load = Load { host: &self.world.main_host, ..self.timed() };
        let outcome = warm(load, &self.server.watched, || Same(Arc::clone(&request)))?;
        rate("token by client credentials", outcome, &load, figures);
        Ok(())
    }

    /// A list of many keys, page after page.
    pub(crate) fn list(&self, figures: &mut Figures) -> Result<(), Failure> {
        let count = self.settings.keys;
        self.make_keys(count, figures)?;
        let [user, _] = &self.world.users;
        let token = self.world.token(user)?;
        let walked = AtomicU32::new(0);
        let make = |target: &str| self.world.request(&token, "GET", target, None).to_vec();
        let load = self.timed();
        let script = || Pages::new("/keys?api-version=7.4&maxresults=25", make, &walked);
        let outcome = warm(load, &self.server.watched, script)?;
        rate(&format!("a page of 25 of a list of {count} keys"), outcome, &load, figures);
        match walked.into_inner() {
            0 => figures.problem("the list was not walked to its end: --seconds more"),
            found if found < count => {
                figures.problem(format!("the list held {found} keys, {count} were made"));
            }
            _ => {}
        }
        Ok(())
    }

    /// Makes EC keys. How fast is a figure, too.
    fn make_keys(&self, count: u32, figures: &mut Figures) -> Result<(), Failure> {
        let token = self.world.token(&self.world.officer)?;
        let body = json!({"kty": "EC", "crv": "P-256"});
        let make = |number: u32| {
            let target = format!("/keys/ec-{number:05}/create?api-version=7.4");
            self.world.request(&token, "POST", &target, Some(&body)).to_vec()
        };
        let given = AtomicU32::new(0);
        let load = Load { time: MAKING_TIME, is_patient: true, ..self.timed() };
        let script = || Each::new(&given, count, make);
        let outcome = load::closed(&load, script, &|| self.server.watched.cpu())?;
        if outcome.done < u64::from(count) {
            figures.problem(format!("only {} of {count} keys were made", outcome.done));
        }
        rate("create an EC P-256 key", outcome, &load, figures);
        Ok(())
    }

    /// GET key at a fixed rate, while the server rests and while another caller keeps its
    /// private-key pool busy.
    pub(crate) fn get_under_load(&self, figures: &mut Figures) -> Result<(), Failure> {
        let [busy, _] = &self.world.users;
        let unwrap = self.world.unwrap_request(busy, BUSY_BITS)?;
        let get = self.get_request()?;
        let timed = Load { time: 2 * self.load().time, ..self.timed() };
        let gets = || load::open(&timed, GETS_PER_S, || Same(Arc::clone(&get)));
        let name = format!("p99 of GET key at {GETS_PER_S} a second");
        add_times(&format!("{name}, nothing else to do"), None, gets()?, "", figures);

        let loading = Load { time: timed.time + 3 * WARM_UP, ..self.load() };
        let (times, load) = std::thread::scope(|scope| {
            let loading = scope.spawn(|| {
                let cpu = || self.server.watched.cpu();
                load::closed(&loading, || Same(Arc::clone(&unwrap)), &cpu)
            });
            let times = gets();
            (times, loading.join().map_err(|_| Failure::new("the load broke off")))
        });
        let load = load??;
        let name =
            format!("{name}, another caller's RSA-{BUSY_BITS} unwraps keeping the pool busy");
        figures.note(&name, &load);
        let also = format!("; {:.0} unwraps/s{}", load.per_second(), throttled(&load));
        add_times(&name, Some(GET_UNDER_LOAD), times?, &also, figures);
        Ok(())
    }

    /// GET of a key by the second caller.
    fn get_request(&self) -> Result<Arc<[u8]>, Failure> {
        let [_, user] = &self.world.users;
        self.world.make_rsa_key(2048)?;
        let token = self.world.token(user)?;
        Ok(self.world.request(&token, "GET", "/keys/rsa-2048?api-version=7.4", None))
    }
}

/// What the generator, TLS and this machine can do at most, with both shapes of load.
pub(crate) fn floor(
    settings: &Settings,
    folder: &Path,
    figures: &mut Figures,
) -> Result<(), Failure> {
    let address = floor::serve(folder)?;
    let token = "a".repeat(TOKEN_BYTES);
    let get = Request {
        method: "GET",
        authority: floor::HOST,
        target: "/keys/rsa-2048?api-version=7.4",
        token: Some(&token),
        body: None,
    };
    let get: Arc<[u8]> = get.bytes().into();
    let own = Watched::own()?;
    let time = Duration::from_secs(settings.seconds);
    let shapes = [(settings.timed, 1), (settings.threads, settings.connections)];
    for (threads, connections) in shapes {
        let (address, host) = (&address, floor::HOST);
        let load = Load { address, host, threads, connections, time, is_patient: false };
        let outcome = warm(load, &own, || Same(Arc::clone(&get)))?;
        rate(
            "a fixed answer of 400 bytes from this process, its generator's CPU included",
            outcome,
            &load,
            figures,
        );
    }
    Ok(())
}

/// The load, after a short one of the same kind that is not counted.
pub(crate) fn warm<S: Script>(
    load: Load<'_>,
    watched: &Watched,
    script: impl Fn() -> S + Sync,
) -> Result<Outcome, Failure> {
    load::closed(&Load { time: WARM_UP, ..load }, &script, &|| watched.cpu())?;
    load::closed(&load, script, &|| watched.cpu())
}

/// Adds requests per second, median and p99.
pub(crate) fn rate(name: &str, mut outcome: Outcome, load: &Load<'_>, figures: &mut Figures) {
    figures.note(name, &outcome);
    let times = if load.connections == 1 {
        let (median, p99) = (outcome.percentile_ms(50), outcome.percentile_ms(99));
        format!(", p50 {median:.1} ms, p99 {p99:.1} ms")
    } else {
        String::new() // they would hold the wait until the thread comes round
    };
    let shown = format!(
        "{:.0}/s{times}; CPU {:.3} ms each{}",
        outcome.per_second(),
        outcome.cpu_ms_each(),
        throttled(&outcome)
    );
    let how = format!("{} connections, {} threads", load.lines(), load.threads);
    figures.add(name, None, outcome.per_second(), shown, how);
}

/// Adds the p99 of a load of fixed rate.
fn add_times(
    name: &str,
    bound: Option<Bound>,
    mut outcome: Outcome,
    also: &str,
    figures: &mut Figures,
) {
    figures.note(name, &outcome);
    let p99 = outcome.percentile_ms(99);
    let (median, most) = (outcome.percentile_ms(50), outcome.percentile_ms(100));
    let count = outcome.done;
    let shown = format!("{p99:.1} ms; p50 {median:.1} ms, longest {most:.1} ms of {count}{also}");
    let how = "open loop, from the moment at which each was due";
    figures.add(name, bound, p99, shown, how);
}

/// How many answers said 429, if any.
fn throttled(outcome: &Outcome) -> String {
    if outcome.throttled == 0 {
        return String::new();
    }
    #[expect(clippy::cast_precision_loss, reason = "shown to four digits")]
    let per_second = outcome.throttled as f64 / outcome.elapsed.as_secs_f64();
    format!(", {per_second:.0}/s answered with 429")
}
