//! What a request leaves in the activity log.

use crate::{ActivityEvent, ActivityStatus, Request, Stop, Write};

fn started(request: &Request<'_>, permission: &str) -> ActivityEvent {
    let (caller, id) = (&request.caller.name, request.id.clone());
    ActivityEvent::started(request.now, caller, permission, id, request.correlation)
}

/// That it began, and that it is done or goes on.
pub(crate) fn events(
    request: &Request<'_>,
    permission: &str,
    http_status: u16,
    goes_on: bool,
) -> [Write; 2] {
    let begun = started(request, permission);
    let status = if goes_on { ActivityStatus::Accepted } else { ActivityStatus::Succeeded };
    let answered = begun.then(status, http_status);
    [Write::Activity(begun), Write::Activity(answered)]
}

/// The refusal of a write that the caller may not even ask for. What is another tenant's, or not
/// there at all, has no log to say so in.
pub(crate) fn barred(stop: Stop, request: &Request<'_>, permission: &str) -> Stop {
    let Stop::Refused(mut refusal) = stop else { return stop };
    if refusal.status == 403 {
        let failed = started(request, permission).failed(&refusal);
        refusal.writes.push(Write::Activity(failed));
    }
    Stop::Refused(refusal)
}

/// The refusal of a write, with its events.
pub(crate) fn refused(stop: Stop, request: &Request<'_>, permission: &str) -> Stop {
    let Stop::Refused(mut refusal) = stop else { return stop };
    let begun = started(request, permission);
    let failed = begun.failed(&refusal);
    refusal.writes.extend([Write::Activity(begun), Write::Activity(failed)]);
    Stop::Refused(refusal)
}
