//! The load generator. It shares the cores with the server, so it does as little as it can: blocking
//! sockets, requests made beforehand, and several connections to a thread, whose answers are
//! taken in turn.

use std::sync::Barrier;
use std::time::Duration;

use crate::bench::serve::connection::{Address, Answer, Connection};
use crate::bench::serve::outcome::Outcome;
use crate::bench::serve::scripts::Script;
use crate::failure::Failure;
use crate::stopwatch::Stopwatch;

/// Answers after which a run ends, whatever the time.
const ANSWERS_MAX: u64 = 20_000_000;
/// What a caller waits that was told to, at most.
const PATIENCE: Duration = Duration::from_secs(5);

/// The load that one caller makes.
#[derive(Clone, Copy)]
pub(crate) struct Load<'l> {
    pub(crate) address: &'l Address,
    /// The host that is asked.
    pub(crate) host: &'l str,
    pub(crate) threads: usize,
    /// Connections of each thread. With one, times are exact; with more they also hold the wait
    /// until the thread comes round.
    pub(crate) connections: usize,
    pub(crate) time: Duration,
    /// Whether a connection that is throttled waits as long as it was told.
    pub(crate) is_patient: bool,
}

impl Load<'_> {
    /// All its connections.
    pub(crate) fn lines(&self) -> usize {
        self.threads * self.connections
    }
}

/// Asks again as soon as an answer has come, on all connections, until the time is over or no
/// script has more to ask. `cpu` reads the server's processor time.
pub(crate) fn closed<S: Script>(
    load: &Load<'_>,
    script: impl Fn() -> S + Sync,
    cpu: &dyn Fn() -> Result<Duration, Failure>,
) -> Result<Outcome, Failure> {
    let start = Barrier::new(load.threads + 1);
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..load.threads)
            .map(|_| {
                scope.spawn(|| {
                    let opened = Thread::open(load, &script);
                    start.wait(); // connections stand
                    start.wait(); // processor time has been read
                    opened?.run(load)
                })
            })
            .collect();
        start.wait();
        let before = cpu();
        start.wait();
        let stopwatch = Stopwatch::start();
        let mut outcome = Outcome::default();
        let joined: Vec<_> = threads.into_iter().map(std::thread::ScopedJoinHandle::join).collect();
        outcome.elapsed = stopwatch.elapsed();
        outcome.server_cpu = cpu()?.saturating_sub(before?);
        for thread in joined {
            outcome.merge(thread.map_err(|_| Failure::new("the load generator broke off"))??);
        }
        Ok(outcome)
    })
}

/// Asks at a fixed rate, whether or not answers come: thread `n` of `N` asks at the moments
/// `n, n + N, …`. A time counts from the moment when the request was due, so that a request
/// that had to wait for an earlier one is not made to look fast.
pub(crate) fn open<S: Script>(
    load: &Load<'_>,
    per_second: u32,
    script: impl Fn() -> S + Sync,
) -> Result<Outcome, Failure> {
    let threads = u32::try_from(load.threads).unwrap_or(u32::MAX);
    let stopwatch = Stopwatch::start();
    std::thread::scope(|scope| {
        let spawned: Vec<_> = (0..threads)
            .map(|number| {
                let (script, stopwatch) = (&script, &stopwatch);
                scope.spawn(move || {
                    let mut connection = Connection::open(load.address, load.host)?;
                    let mut script = script();
                    let mut outcome = Outcome::default();
                    let mut turn = number;
                    // The first second goes to connecting.
                    let due =
                        |turn| Duration::from_secs(1) + Duration::from_secs(1) * turn / per_second;
                    while due(turn) < load.time + Duration::from_secs(1) {
                        std::thread::sleep(due(turn).saturating_sub(stopwatch.elapsed()));
                        connection.send(script.request().unwrap_or_default())?;
                        let answer = connection.receive()?;
                        let took = stopwatch.elapsed().saturating_sub(due(turn));
                        outcome.add(answer.status, answer.retry_after_s, took);
                        script.answered(&answer)?;
                        turn += threads;
                    }
                    Ok(outcome)
                })
            })
            .collect();
        let mut outcome = Outcome::default();
        for thread in spawned {
            let joined: Result<Outcome, Failure> =
                thread.join().map_err(|_| Failure::new("the load generator broke off"))?;
            outcome.merge(joined?);
        }
        outcome.elapsed = load.time;
        Ok(outcome)
    })
}

/// A thread's connections.
struct Thread<S> {
    lines: Vec<Line<S>>,
}

/// A connection and what it is used for.
struct Line<S> {
    connection: Connection,
    script: S,
    state: State,
}

#[derive(Clone, Copy)]
enum State {
    /// May ask at this time of the run.
    Ready(Duration),
    /// Asked at this time of the run.
    Asked(Duration),
    /// Has nothing more to ask.
    Ended,
}

impl<S: Script> Thread<S> {
    fn open(load: &Load<'_>, script: &impl Fn() -> S) -> Result<Self, Failure> {
        let line = |_| {
            let connection = Connection::open(load.address, load.host)?;
            Ok(Line { connection, script: script(), state: State::Ready(Duration::ZERO) })
        };
        Ok(Self { lines: (0..load.connections).map(line).collect::<Result<_, Failure>>()? })
    }

    fn run(mut self, load: &Load<'_>) -> Result<Outcome, Failure> {
        let stopwatch = Stopwatch::start();
        let mut outcome = Outcome::default();
        loop {
            let mut resume: Option<Duration> = None;
            let mut is_busy = false;
            for line in &mut self.lines {
                if let State::Asked(asked) = line.state {
                    line.take(asked, &stopwatch, load, &mut outcome)?;
                }
                if stopwatch.elapsed() >= load.time || outcome.done >= ANSWERS_MAX {
                    line.state = State::Ended;
                }
                line.ask(&stopwatch)?;
                match line.state {
                    State::Asked(_) => is_busy = true,
                    State::Ready(at) => resume = Some(resume.map_or(at, |other| other.min(at))),
                    State::Ended => {}
                }
            }
            match (is_busy, resume) {
                (true, _) => {}
                (false, Some(at)) => {
                    std::thread::sleep(at.saturating_sub(stopwatch.elapsed()));
                }
                (false, None) => return Ok(outcome),
            }
        }
    }
}

impl<S: Script> Line<S> {
    /// Asks, if it may by now.
    fn ask(&mut self, stopwatch: &Stopwatch) -> Result<(), Failure> {
        let State::Ready(at) = self.state else { return Ok(()) };
        let now = stopwatch.elapsed();
        if at <= now {
            self.state = match self.script.request() {
                Some(request) => {
                    self.connection.send(request)?;
                    State::Asked(now)
                }
                None => State::Ended,
            };
        }
        Ok(())
    }

    /// Takes the answer to what was asked.
    fn take(
        &mut self,
        asked: Duration,
        stopwatch: &Stopwatch,
        load: &Load<'_>,
        outcome: &mut Outcome,
    ) -> Result<(), Failure> {
        let answer: Answer<'_> = self.connection.receive()?;
        let now = stopwatch.elapsed();
        outcome.add(answer.status, answer.retry_after_s, now.saturating_sub(asked));
        self.script.answered(&answer)?;
        let wait = match answer.retry_after_s {
            Some(seconds) if load.is_patient && answer.status == 429 => {
                Duration::from_secs(seconds).min(PATIENCE)
            }
            _ => Duration::ZERO,
        };
        self.state = State::Ready(now + wait);
        Ok(())
    }
}
