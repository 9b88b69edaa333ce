//! Streams that this machine's users give to a backup: each through a socket in the data folder.
//!
//! Only who may write the data folder can put one there, and it has a name that nobody guesses.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use custody_entries::{EntryName, SourceError, TimeSpec, display_path};
use custody_names::OperationId;
use custody_repository::{
    BackupOptions, CommittedPoint, Progress, Repository, RepositoryError, Status, Total,
};
use custody_resources::{OperationState, Refusal};
use custody_sources::{StreamFault, StreamSource};

use crate::error::TaskError;
use crate::job::Job;
use crate::{Platform, folders};

/// How long a stream that gives nothing is waited for before somebody asks whether the job goes on.
const PATIENCE: Duration = Duration::from_secs(1);
/// Length of a stream's id in hexadecimal digits.
const ID_DIGITS: usize = 32;

/// Takes a point of one file `name`, read from the stream of this id. No point stands unless the
/// stream came to its end.
pub(crate) fn backup(
    job: &Job<'_>,
    repository: &Repository,
    (name, id): (&str, Option<&str>),
    options: &BackupOptions,
) -> Result<CommittedPoint, TaskError> {
    let mut source = source(job, name, id.ok_or_else(|| missing(name))?)?;
    let watch = Watch { job, fault: source.fault() };
    // A stream has no earlier state to take over from; its chunks are known all the same, and how long
    // it was the last time.
    if let Some(earlier) = options.parent.and_then(|parent| repository.point(parent).ok()) {
        Progress::expect(job, Total::estimate(earlier.counts.files, earlier.counts.bytes));
    }
    let options = BackupOptions { parent: None, ..options.clone() };
    match (repository.backup(&mut source, &options, &watch), watch.fault.get()) {
        (Err(RepositoryError::Cancelled), Some(fault)) if goes_on(job.platform, job.id()) => {
            Err(folders::source_fault(&fault).into())
        }
        (outcome, _) => Ok(outcome?),
    }
}

/// The refusal to back up a stream that nobody gives.
pub(crate) fn missing(name: &str) -> Refusal {
    let name = display_path(name.as_bytes());
    let text = format!("the item is the stream {name}, and nobody gives it");
    Refusal::new(409, "SourceStreamMissing", text)
        .with_fix(format!("COMMAND | custody protect --stdin {name}"))
}

fn source(job: &Job<'_>, name: &str, id: &str) -> Result<StreamSource, Refusal> {
    let unfit = |error: SourceError| folders::source_fault(&error);
    let fits = id.len() == ID_DIGITS && id.bytes().all(|digit| digit.is_ascii_hexdigit());
    if !fits {
        return Err(Refusal::bad_request("stream: it is no stream's id"));
    }
    let socket = connect(job.platform.folder.root(), id).map_err(|error| {
        unfit(SourceError {
            code: "SourceStreamMissing",
            message: format!("the stream is not there: {error}"),
        })
    })?;
    let name = EntryName::new(name.as_bytes())
        .map_err(|error| Refusal::bug(format!("a stream's name: {error}")))?;
    let now = job.platform.clock.now();
    let taken = TimeSpec {
        seconds: now.as_second(),
        nanoseconds: u32::try_from(now.subsec_nanosecond()).unwrap_or_default(),
    };
    let (platform, operation) = (Arc::clone(job.platform), job.id());
    Ok(StreamSource::new(name, taken, socket, move || goes_on(&platform, operation)))
}

/// Connects under a short name: a socket's path has at most 107 bytes, a data folder's more.
fn connect(data_folder: &Path, id: &str) -> io::Result<UnixStream> {
    let near = File::open(data_folder)?;
    let name = format!("/proc/self/fd/{}/stream-{id}.sock", near.as_raw_fd());
    let socket = UnixStream::connect(PathBuf::from(name))?;
    socket.set_read_timeout(Some(PATIENCE))?;
    Ok(socket)
}

/// Whether nobody has asked the job to stop. One who cannot be asked has not.
fn goes_on(platform: &Platform, operation: OperationId) -> bool {
    match platform.records.operation(operation) {
        Ok(Some(tracked)) => tracked.operation.state != OperationState::Cancelling,
        Ok(None) => false,
        Err(_) => true,
    }
}

/// Stops the job before it commits what a broken stream gave.
struct Watch<'j, 'p> {
    job: &'j Job<'p>,
    fault: StreamFault,
}

impl Progress for Watch<'_, '_> {
    fn report(&self, status: &Status) {
        Progress::report(self.job, status);
    }

    fn expect(&self, total: Total) {
        Progress::expect(self.job, total);
    }

    fn is_cancelled(&self) -> bool {
        self.job.is_cancelled() || self.fault.get().is_some()
    }
}
