//! The machine that the process runs on: its clock, its randomness, its streams, its environment.

use std::cell::RefCell;
use std::io::IsTerminal;
use std::os::fd::AsFd as _;
use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use custody_ambient::{Clock, Entropy, EntropyUnavailable, Timestamp};
use jiff::tz::TimeZone;
use rustix::process::{DumpableBehavior, Resource, Rlimit};
use rustix::time::{ClockId, clock_gettime};
use zeroize::Zeroizing;

use crate::exit_code::ExitCode;
use crate::in_process::InProcess;
use crate::surroundings::{Surroundings, Terminals};

/// The surroundings of this process. Call it first and once: it also keeps the process's memory
/// out of core dumps and other processes' sight, and its files from other users.
pub fn surroundings() -> std::io::Result<Surroundings> {
    harden()?;
    Ok(Surroundings {
        arguments: std::env::args_os().collect(),
        variable: Box::new(|name| std::env::var_os(name)),
        current_folder: std::env::current_dir()?,
        stdout: RefCell::new(Box::new(std::io::stdout())),
        stderr: RefCell::new(Box::new(std::io::stderr())),
        stdin: RefCell::new(Box::new(std::io::stdin().lock())),
        open_stdin: Box::new(|| {
            // The usual handle is locked for answers as long as the process lives.
            let descriptor = std::io::stdin().as_fd().try_clone_to_owned()?;
            Ok(Box::new(std::fs::File::from(descriptor)))
        }),
        terminals: Terminals {
            stdin: std::io::stdin().is_terminal(),
            stdout: std::io::stdout().is_terminal(),
            stderr: std::io::stderr().is_terminal(),
        },
        user: user_name(),
        time_zone: TimeZone::system(),
        clock: Arc::new(SystemClock),
        entropy: Arc::new(SystemEntropy),
        interrupts: Box::new(interrupts),
        ask_passphrase: Box::new(|prompt| rpassword::prompt_password(prompt).map(Zeroizing::new)),
        installations: Box::new(InProcess),
    })
}

/// No core dumps, no tracing by other processes of the user, new files for the owner alone.
fn harden() -> std::io::Result<()> {
    rustix::process::setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) })?;
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    rustix::process::umask(rustix::fs::Mode::RWXG | rustix::fs::Mode::RWXO);
    Ok(())
}

/// Lets the process open as many files as it may, and says how many that is.
pub(crate) fn raise_file_limit() -> usize {
    let limit = rustix::process::getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    let granted = match rustix::process::setrlimit(Resource::Nofile, raised) {
        Ok(()) => limit.maximum,
        Err(_) => limit.current,
    };
    // No limit at all is more than any listener takes.
    granted.and_then(|most| usize::try_from(most).ok()).unwrap_or(usize::MAX)
}

/// The name that the system has for the user, else the user's number.
fn user_name() -> String {
    let number = rustix::process::getuid().as_raw().to_string();
    let accounts = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let named = accounts.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)? == number).then(|| name.to_owned())
    });
    named.unwrap_or(number)
}

/// The machine's clock.
struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        let now = clock_gettime(ClockId::Realtime);
        let nanoseconds = i32::try_from(now.tv_nsec).unwrap_or_default();
        Timestamp::new(now.tv_sec, nanoseconds).unwrap_or(Timestamp::UNIX_EPOCH)
    }

    fn since_boot(&self) -> Duration {
        let since = clock_gettime(ClockId::Boottime);
        let seconds = u64::try_from(since.tv_sec).unwrap_or_default();
        Duration::new(seconds, u32::try_from(since.tv_nsec).unwrap_or_default())
    }

    fn sleep(&self, duration: Duration) {
        std::thread::sleep(duration);
    }
}

/// The operating system's randomness.
struct SystemEntropy;

impl Entropy for SystemEntropy {
    #[expect(clippy::disallowed_methods, reason = "this is where randomness comes from")]
    fn fill(&self, out: &mut [u8]) -> Result<(), EntropyUnavailable> {
        getrandom::fill(out).map_err(|error| EntropyUnavailable(error.to_string()))
    }
}

static PRESSED: AtomicUsize = AtomicUsize::new(0);

/// How often Ctrl-C was pressed since the first call. The first press is for the caller to heed;
/// the second ends the process at once.
fn interrupts() -> usize {
    static HANDLER: OnceLock<bool> = OnceLock::new();
    // Without a handler Ctrl-C keeps its usual effect, which is safe too.
    HANDLER.get_or_init(|| ctrlc::set_handler(pressed).is_ok());
    PRESSED.load(Ordering::Relaxed)
}

#[expect(clippy::disallowed_methods, reason = "whoever presses twice does not want to wait")]
fn pressed() {
    if PRESSED.fetch_add(1, Ordering::Relaxed) > 0 {
        std::process::exit(i32::from(ExitCode::Interrupted.number()));
    }
}
