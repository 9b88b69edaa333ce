//! Takes a recovery point.

use std::num::NonZeroUsize;
use std::thread::available_parallelism;

use custody_protection::{BackupInput, Compression, Item};
use custody_repository::log::ObjectId;
use custody_repository::{BackupOptions, CommittedPoint, CompressionEffort, PointId};
use custody_resources::Refusal;
use custody_sources::{LeftOutReason, WalkSummary};
use serde::Deserialize as _;
use serde_json::{Value, json};

use crate::error::TaskError;
use crate::job::Job;
use crate::runner::Outcome;
use crate::vault_repository::item_guid;
use crate::view::PointsView;
use crate::{folders, streams};

pub(super) fn run(job: &Job<'_>) -> Result<Outcome, TaskError> {
    let item = job.item()?;
    let input = input(&job.operation.task.input)?;
    job.phase("unlock")?;
    let (vault, session) = job.open_vault()?;
    let repository = session.repository(job.platform, &vault)?;
    job.phase("read")?;
    let options = BackupOptions {
        keep_until: input.keep_until,
        ..options(job, &item, newest_point(&repository, &item))?
    };
    let (committed, summary) = if let Some(name) = &item.folder.stream {
        let stream = (name.as_str(), input.stream.as_deref());
        (streams::backup(job, &repository, stream, &options)?, WalkSummary::default())
    } else {
        let changed = input.changed_blocks.as_ref().map(folders::changed_blocks).transpose()?;
        let mut source = folders::source(job.platform, &item.folder, changed)?;
        (repository.backup(&mut source, &options, job)?, source.summary().clone())
    };
    for warning in &committed.warnings {
        job.warn(&warning.code, &warning.path, &warning.message);
    }
    job.count_to(committed.warnings_total);
    let view = PointsView::of_log(&*repository.history()?)
        .at_checkpoint(&repository)
        .with_committed(&committed, input.keep_until);
    let vault_id = vault.record.id.clone();
    Ok(Outcome {
        result: result(&committed, &summary),
        writes: Box::new(move |world| view.writes(&vault_id, world)),
    })
}

/// Backups that were begun before anything could be asked of them have no input.
fn input(given: &Value) -> Result<BackupInput, Refusal> {
    if given.is_null() {
        return Ok(BackupInput::default());
    }
    BackupInput::deserialize(given).map_err(|error| Refusal::bug(error.to_string()))
}

fn options(job: &Job<'_>, item: &Item, parent: Option<PointId>) -> Result<BackupOptions, Refusal> {
    let paths: Result<Vec<Vec<u8>>, Refusal> =
        item.folder.paths.iter().map(custody_protection::SourcePath::bytes).collect();
    Ok(BackupOptions {
        item: item_guid(item.status.item_id),
        item_name: item.record.id.name().unwrap_or_default().to_owned(),
        host: job.platform.host_name(),
        paths: paths?,
        parent,
        keep_until: None,
        compression: effort(item.folder.compression),
        threads: available_parallelism().unwrap_or(NonZeroUsize::MIN),
    })
}

/// What the item's setting means to the repository.
fn effort(setting: Option<Compression>) -> CompressionEffort {
    match setting {
        Some(Compression::Fast) => CompressionEffort::Fast,
        Some(Compression::Auto) | None => CompressionEffort::Auto,
        Some(Compression::Best) => CompressionEffort::Best,
    }
}

/// The item's newest point by the log, to take unchanged files over from.
fn newest_point(repository: &custody_repository::Repository, item: &Item) -> Option<PointId> {
    let own = item_guid(item.status.item_id);
    let history = repository.history().ok()?;
    let newest: Option<ObjectId> = history
        .points()
        .iter()
        .filter(|(_, point)| point.item == own)
        .max_by_key(|(_, point)| point.number)
        .map(|(name, _)| *name);
    newest.map(PointId)
}

/// How many times as much `whole` is as `part`, to two digits after the point; nothing if there is no part.
#[expect(clippy::cast_precision_loss, reason = "two digits of it are kept")]
fn ratio(whole: u64, part: u64) -> Option<f64> {
    (part > 0).then(|| (whole as f64 / part as f64 * 100.0).round() / 100.0)
}

fn result(committed: &CommittedPoint, summary: &WalkSummary) -> Value {
    let counts = &committed.counts;
    let of = |reason| summary.left_out.iter().filter(|left| left.reason == reason).count();
    json!({
        "recoveryPointId": committed.id.to_string(),
        "files": counts.files,
        "folders": counts.folders,
        "others": counts.others,
        "bytes": counts.bytes,
        "newBytes": counts.new_bytes,
        "storedBytes": counts.stored_bytes,
        "unchangedFiles": counts.unchanged_files,
        "deduplicationRatio": ratio(counts.bytes, counts.new_bytes),
        "compressionRatio": ratio(counts.new_bytes, counts.stored_bytes),
        "warningsTotal": committed.warnings_total,
        "warningsByCode": committed.warnings_by_code,
        "leftOut": {
            "byPattern": summary.excluded_by_pattern,
            "own": of(LeftOutReason::Own),
            "caches": of(LeftOutReason::Cache),
            "otherFileSystems": of(LeftOutReason::OtherFileSystem),
        },
    })
}
