//! Deletes a resource group with everything in it.

use custody_directory::{self as directory, group_stays};
use custody_names::OperationId;
use custody_resources::{Record, Refusal, Request, Verb, Write};
use serde_json::{Value, json};

use crate::error::TaskError;
use crate::job::Job;
use crate::runner::Outcome;
use crate::{Platform, fault};

/// The api-version that the deletions are asked for with.
const API_VERSION: &str = "2026-02-01";

/// Deletes the members round by round, since one may hold another; ends when a round achieves
/// nothing, and says then what stays and why.
pub(super) fn run(job: &Job<'_>) -> Result<Outcome, TaskError> {
    let platform = job.platform;
    let group = job.resource().clone();
    job.phase("delete")?;
    let mut deleted = Vec::new();
    loop {
        let members = members(platform, job)?;
        if members.is_empty() {
            break;
        }
        let mut blocked = Vec::new();
        let before = deleted.len();
        for member in members {
            job.check()?;
            match delete(job, &member) {
                Ok(()) => deleted.push(member.id.to_string()),
                Err(refusal) => blocked.push((member, refusal)),
            }
        }
        if deleted.len() == before {
            return Err(TaskError::Failed(group_stays(&group, &blocked)));
        }
    }
    Ok(Outcome {
        result: json!({ "deleted": deleted }),
        writes: Box::new(move |_| Ok(vec![Write::Remove(group.clone())])),
    })
}

fn members(platform: &Platform, job: &Job<'_>) -> Result<Vec<Record>, Refusal> {
    let mut found = Vec::new();
    let looked = platform.records.view(&mut |world| {
        found = directory::members(job.resource(), world)?.into_iter().cloned().collect();
        Ok(())
    });
    looked.map_err(fault::of_apply)?;
    // What uses an identity goes before the identity.
    found.sort_by_key(|record: &Record| record.identity.is_none());
    Ok(found)
}

/// Deletes one resource as whoever asked for the group's deletion, and waits until it is gone.
fn delete(job: &Job<'_>, member: &Record) -> Result<(), Refusal> {
    let platform = job.platform;
    let entropy = platform.entropy.as_ref();
    let request = Request {
        id: member.id.clone(),
        listed: None,
        verb: Verb::Delete,
        body: Value::Null,
        api_version: API_VERSION.to_owned(),
        if_match: None,
        caller: job.operation.caller.clone(),
        correlation: job.operation.correlation,
        operation: OperationId::mint(entropy).map_err(|error| Refusal::bug(error.to_string()))?,
        owner: platform.owner.clone(),
        now: platform.clock.now(),
        hosts: custody_resources::Hosts::default(),
        entropy,
    };
    let Some(operation) = platform.decide(&request)?.operation else { return Ok(()) };
    platform.carry_out(operation);
    let ended = platform.records.operation(operation).map_err(|error| fault::of_store(&error))?;
    match ended.and_then(|tracked| tracked.operation.error) {
        Some(error) => Err(error),
        None => Ok(()),
    }
}
