//! `custody job`: what was done and what is being done.

use clap::{Args, Subcommand};
use custody_names::{InvalidName, OperationId, ResourceId};
use serde_json::{Value, json};

use crate::arguments::VaultOption;
use crate::context::Context;
use crate::error::CliError;
use crate::output::{Column, Outcome};
use crate::vaults;

/// Jobs: backups, restores, changes of keys, checks
#[derive(Debug, Args)]
pub(crate) struct Options {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// List jobs, newest first
    #[command(after_help = "Examples:\n  custody job list -o table\n  custody job list --status \
        Failed\n\nExit codes: 0 done; the others are in docs/exit-codes.md.")]
    List(List),
    /// Show a job with its log and warnings
    #[command(
        after_help = "Examples:\n  custody job show -n 4b0c…\n\nExit codes: 0 done, 5 no such \
        job; the others are in docs/exit-codes.md."
    )]
    Show(Named),
    /// Stop a job
    #[command(
        after_help = "Examples:\n  custody job stop -n 4b0c…\n\nWhat was committed before is \
        kept.\n\nExit codes: 0 the job was asked to stop, 5 no such job, 6 it has ended already; the \
        others are in docs/exit-codes.md."
    )]
    Stop(Named),
}

#[derive(Debug, Args)]
struct List {
    #[command(flatten)]
    vault: VaultOption,
    /// Only jobs in this status: InProgress, Completed, Failed …
    #[arg(long, value_name = "STATUS")]
    status: Option<String>,
    /// Only jobs that do this: Backup, Restore …
    #[arg(long, value_name = "OPERATION")]
    operation: Option<String>,
}

#[derive(Debug, Args)]
struct Named {
    /// The job's id
    #[arg(short, long, value_name = "ID")]
    name: String,
    #[command(flatten)]
    vault: VaultOption,
}

const COLUMNS: &[Column] = &[
    ("Name", "/name"),
    ("Operation", "/properties/operation"),
    ("Status", "/properties/status"),
    ("Item", "/properties/backupInstanceFriendlyName"),
    ("StartTime", "/properties/startTime"),
    ("EndTime", "/properties/endTime"),
];

/// Carries out a verb.
pub(crate) fn run(options: &Options, context: &Context<'_>) -> Result<Outcome, CliError> {
    match &options.verb {
        Verb::List(list) => {
            let mut jobs = Vec::new();
            for vault in vaults::all(context, &list.vault)? {
                jobs.extend(context.client()?.list(&format!("{vault}/backupJobs"))?);
            }
            jobs.retain(|job| {
                has(job, "/properties/status", list.status.as_deref())
                    && has(job, "/properties/operation", list.operation.as_deref())
            });
            jobs.sort_by_key(|job| {
                std::cmp::Reverse(job.pointer("/properties/startTime").map(Value::to_string))
            });
            Ok(Outcome::data(jobs).with_columns(COLUMNS))
        }
        Verb::Show(named) => {
            let (_, job) = find(context, named)?;
            Ok(Outcome::data(job).with_columns(COLUMNS))
        }
        Verb::Stop(named) => {
            let (id, _) = find(context, named)?;
            context.client()?.post(&format!("{id}/cancel"), &json!({}))?;
            Ok(Outcome::nothing())
        }
    }
}

fn has(job: &Value, pointer: &str, wanted: Option<&str>) -> bool {
    let found = job.pointer(pointer).and_then(Value::as_str);
    wanted.is_none_or(|wanted| found.is_some_and(|found| found.eq_ignore_ascii_case(wanted)))
}

fn find(context: &Context<'_>, named: &Named) -> Result<(ResourceId, Value), CliError> {
    let id: OperationId = named.name.parse().map_err(|error: InvalidName| error)?;
    for vault in vaults::all(context, &named.vault)? {
        let path = vault.child("backupJobs", &id.to_string().parse()?);
        if let Some(job) = context.client()?.find(path.as_str())? {
            return Ok((path, job));
        }
    }
    Err(CliError::NotFound {
        message: format!("there is no job {id}"),
        fix: "custody job list -o table".to_owned(),
    })
}
