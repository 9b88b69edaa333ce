//! The measurements, each of which adds its figures.

use std::sync::Arc;
use std::time::Duration;

use crate::bench::serve::figures::{Bound, Figures};
use crate::bench::serve::load::{self, Load};
use crate::bench::serve::openssl::{self, By};
use crate::bench::serve::outcome::Outcome;
use crate::bench::serve::scripts::Same;
use crate::bench::serve::server::Server;
use crate::bench::serve::set_up::World;
use crate::bench::serve::settings::Settings;
use crate::failure::Failure;

/// What an unwrap must reach of openssl's private-key operations.
const UNWRAPS: Bound = Bound::AtLeast(0.85, "0.85 of openssl");
/// A load that is not counted comes first, so that keys are open and tables warm.
const WARM_UP: Duration = Duration::from_secs(1);

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
        Load {
            address: &self.world.address,
            host: &self.world.vault_host,
            threads,
            connections,
            time: Duration::from_secs(seconds),
            is_patient,
        }
    }

    /// The load of a few connections, each with a thread of its own so that times are exact.
    fn timed(&self) -> Load<'_> {
        Load { threads: self.settings.timed, connections: 1, ..self.load() }
    }

    /// Asks for the same again and again, on a server that is warm.
    fn same(&self, load: Load<'_>, request: &Arc<[u8]>) -> Result<Outcome, Failure> {
        let script = || Same(Arc::clone(request));
        load::closed(&Load { time: WARM_UP, ..load }, script, &|| self.server.cpu())?;
        load::closed(&load, script, &|| self.server.cpu())
    }

    /// Unwraps per second beside openssl's private-key operations on the same cores.
    pub(crate) fn unwraps(&self, figures: &mut Figures) -> Result<(), Failure> {
        let [user, _] = &self.world.users;
        let load = self.load();
        let how = format!(
            "{} connections of one caller on {} threads, which share the cores",
            load.threads * load.connections,
            load.threads
        );
        for bits in self.settings.sizes.iter().copied() {
            let name =
                format!("RSA-{bits} unwraps per second over TLS, authorised and on the ledger");
            let request = self.world.unwrap_request(user, bits)?;
            let seconds = self.settings.seconds;
            let yardstick = |by| openssl::private_per_s(bits, seconds.div_ceil(2), by);
            let is_bare = self.settings.is_bare;
            let before = if is_bare { f64::NAN } else { yardstick(By::WallTime)? };
            let outcome = self.same(load, &request)?;
            figures.note(&name, &outcome);
            let (rate, cpu) = (outcome.per_second(), outcome.cpu_s_each());
            let throttled = throttled(&outcome);
            if is_bare {
                let shown =
                    format!("{rate:.0}/s{throttled}; {:.3} ms of the server's CPU each", cpu * 1e3);
                figures.add(name, None, rate, shown, &how);
                continue;
            }
            let after = yardstick(By::WallTime)?;
            let openssl = f64::midpoint(before, after);
            let ratio = rate / openssl;
            let shown = format!(
                "{ratio:.2}: {rate:.0}/s beside {openssl:.0}/s ({before:.0} before, {after:.0} after){throttled}"
            );
            let with =
                format!("{how}; `openssl speed -elapsed -multi 2 rsa{bits}` before and after");
            figures.add(name, Some(UNWRAPS), ratio, shown, with);
            let least = openssl::cpu_s_each(bits, seconds.div_ceil(2))?;
            figures.add(
                format!("CPU of openssl's private operation ÷ CPU of the server for an RSA-{bits} unwrap"),
                None,
                least / cpu,
                format!("{:.2}: {:.3} ms beside {:.3} ms", least / cpu, least * 1e3, cpu * 1e3),
                format!("the same run; `/proc/PID/stat`; `openssl speed -multi 2 rsa{bits}`"),
            );
        }
        Ok(())
    }

    /// GET of one key.
    pub(crate) fn get_key(&self, figures: &mut Figures) -> Result<(), Failure> {
        let request = self.get_request()?;
        let load = self.timed();
        let outcome = self.same(load, &request)?;
        rate("GET key", "the same key", outcome, &load, figures);
        Ok(())
    }

    fn get_request(&self) -> Result<Arc<[u8]>, Failure> {
        let [_, user] = &self.world.users;
        self.world.make_rsa_key(2048)?;
        let token = self.world.token(user)?;
        Ok(self.world.request(&token, "GET", "/keys/rsa-2048?api-version=7.4", None))
    }
}

/// Requests per second, median and p99.
fn rate(name: &str, how: &str, mut outcome: Outcome, load: &Load<'_>, figures: &mut Figures) {
    figures.note(name, &outcome);
    let shown = format!(
        "{:.0}/s, p50 {:.1} ms, p99 {:.1} ms; {:.3} ms of the server's CPU each{}",
        outcome.per_second(),
        outcome.percentile_ms(50),
        outcome.percentile_ms(99),
        outcome.cpu_s_each() * 1e3,
        throttled(&outcome)
    );
    let how = format!("{} connections, closed loop; {how}", load.threads * load.connections);
    figures.add(name, None, outcome.per_second(), shown, how);
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
