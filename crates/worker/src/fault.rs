//! Faults of the parts, as refusals that jobs and requests show.

use custody_envelope::{EnvelopeError, KekError, KekFault};
use custody_key_vault::KeyVaultError;
use custody_record_store::{ApplyError, StoreError};
use custody_repository::RepositoryError;
use custody_resources::Refusal;

use crate::error::{CANCELLED, TaskError};
use crate::keks;

/// A fault of the record store.
pub fn of_store(error: &StoreError) -> Refusal {
    let status = if error.retryable() { 503 } else { 500 };
    let refusal = Refusal::new(status, error.code(), error.to_string());
    match error.fix() {
        Some(fix) => refusal.with_fix(fix),
        None => refusal,
    }
}

/// A plan that was not applied.
pub fn of_apply(error: ApplyError) -> Refusal {
    match error {
        ApplyError::Refused(refusal) => *refusal,
        ApplyError::Store(error) => of_store(&error),
        other => Refusal::bug(other.to_string()),
    }
}

/// A key that cannot be used: refused is the key owner's to mend, unreachable passes.
pub fn of_key(error: &KekError) -> Refusal {
    let status = match error.fault {
        KekFault::Refused => 403,
        KekFault::Unreachable => 503,
        KekFault::Mismatch => 409,
    };
    let refusal = advised(Refusal::new(status, error.code, error.message.clone()));
    match &error.fix {
        Some(fix) => refusal.with_fix(fix.clone()),
        None => refusal,
    }
}

/// With what the documents recommend under its code (rule 49).
pub(crate) fn advised(refusal: Refusal) -> Refusal {
    match keks::recommended_action(&refusal.code) {
        Some(advice) => refusal.with_advice(advice),
        None => refusal,
    }
}

/// What a key vault refuses or cannot do, where ARM answers it: by its stable code.
pub fn of_key_vault(error: &KeyVaultError) -> Refusal {
    Refusal::new(error.answer().status, error.code(), error.to_string())
}

/// A task that failed outside a job.
pub(crate) fn of_task(error: &TaskError) -> Refusal {
    match error {
        TaskError::Cancelled => Refusal::new(409, CANCELLED, "the job was cancelled"),
        TaskError::Failed(refusal) => refusal.clone(),
    }
}

/// A fault of the envelope.
pub fn of_envelope(error: &EnvelopeError) -> Refusal {
    if let EnvelopeError::Kek(error) = error {
        return of_key(error);
    }
    let (status, code, message) = match error {
        // The lease carries the code and words of the refusal that ended it, if there was one.
        EnvelopeError::LeaseEnded { reason } => {
            (if reason.retryable { 503 } else { 403 }, reason.code, reason.message.clone())
        }
        _ => (409, error.code(), error.to_string()),
    };
    let refusal = advised(Refusal::new(status, code, message));
    match error.fix() {
        Some(fix) => refusal.with_fix(fix),
        None => refusal,
    }
}

/// A fault of the repository.
pub fn of_repository(error: &RepositoryError) -> Refusal {
    if let Some(error) = error.of_keys() {
        return of_envelope(error);
    }
    match error {
        RepositoryError::PointNotFound(_) | RepositoryError::PathNotFound(_) => {
            Refusal::new(404, error.code(), error.to_string()).with_fix("custody points ITEM")
        }
        RepositoryError::PointAmbiguous(_) => Refusal::new(400, error.code(), error.to_string()),
        RepositoryError::Store(_) => Refusal::new(503, error.code(), error.to_string()),
        _ => Refusal::new(409, error.code(), error.to_string()),
    }
}
