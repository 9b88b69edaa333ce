//! Requests about the running server itself: how it is reached, and its clock.

use std::time::Duration;

use custody_ambient::Timestamp;
use custody_resources::Refusal;
use http::{Method, Response};
use serde_json::{Value, json};

use crate::call::Call;
use crate::managed_identity::APP_SERVICE;
use crate::own;
use crate::reply::{self, Body};
use crate::server::{AdjustableClock, Server};

/// Farthest that one request moves the clock: two hundred years, in seconds.
const ADVANCE_SECONDS_MAX: u64 = 200 * 366 * 24 * 3600;

/// Answers such a request; none if it is about something else.
pub(crate) fn answer(server: &Server, call: &Call<'_>) -> Result<Option<Response<Body>>, Refusal> {
    let body = match (call.method, call.path.trim_end_matches('/')) {
        (&Method::GET, "/custody/server") => {
            own::permit(&server.platform, call, "Custody.Platform/status/read")?;
            describe(server)?
        }
        (&Method::GET, "/custody/clock") => {
            own::permit(&server.platform, call, "Custody.Platform/status/read")?;
            clock(server)
        }
        (&Method::POST, "/custody/clock") => {
            own::permit(&server.platform, call, "Custody.Platform/clock/write")?;
            advance(server, &call.body)?;
            clock(server)
        }
        _ => return Ok(None),
    };
    Ok(Some(reply::json(200, Some(&body))))
}

fn describe(server: &Server) -> Result<Value, Refusal> {
    let Some(network) = &server.network else {
        let text = "this server is reached from its own process only";
        return Err(Refusal::new(404, "NotServing", text).with_fix("custody up"));
    };
    let base = &network.base;
    Ok(json!({
        "url": base.main(),
        "suffix": base.suffix,
        "port": base.port,
        "address": network.address.ip(),
        "pid": std::process::id(),
        "caFile": network.authority_file,
        "managedIdentityEndpoint":
            network.identity_port.map(|port| format!("http://127.0.0.1:{port}{APP_SERVICE}")),
        "administrator": network.administrator.as_ref().map(|administrator| json!({
            "clientId": administrator.client_id,
            "objectId": administrator.object_id,
            "clientSecretFile": administrator.secret_file,
        })),
    }))
}

fn clock(server: &Server) -> Value {
    json!({ "now": server.platform.clock.now(), "virtual": adjustable(server).is_some() })
}

fn adjustable(server: &Server) -> Option<&dyn AdjustableClock> {
    server.network.as_ref()?.clock.as_deref()
}

/// Moves a virtual clock, and does at once what falls due by then.
fn advance(server: &Server, body: &Value) -> Result<(), Refusal> {
    let Some(clock) = adjustable(server) else {
        let text = "this server's clock is the machine's; nothing moves it";
        return Err(Refusal::new(409, "ClockNotVirtual", text)
            .with_fix("custody up --virtual-clock on another data folder"));
    };
    let by = wanted(body, server.platform.clock.now())?;
    move_clock(clock, by)?;
    match server.housekeep().problems.into_iter().next() {
        Some(problem) => Err(problem),
        None => Ok(()),
    }
}

/// How far a body wants the clock moved: `{"advanceSeconds": N}` or `{"to": TIME}`.
fn wanted(body: &Value, now: Timestamp) -> Result<Duration, Refusal> {
    let seconds = body.get("advanceSeconds").and_then(Value::as_u64);
    let to = body.get("to").and_then(Value::as_str);
    let by = match (seconds, to) {
        (Some(seconds), None) => Duration::from_secs(seconds),
        (None, Some(to)) => {
            let wrong = |why: &dyn std::fmt::Display| Refusal::bad_request(format!("to: {why}"));
            let to: Timestamp = to.parse().map_err(|error: jiff::Error| wrong(&error))?;
            Duration::try_from(to.duration_since(now))
                .map_err(|_| wrong(&"the clock only moves forward"))?
        }
        _ => {
            let text = "the body names either advanceSeconds (a whole number) or to (a time)";
            return Err(Refusal::bad_request(text));
        }
    };
    if by.as_secs() > ADVANCE_SECONDS_MAX {
        return Err(Refusal::bad_request("the clock moves at most two hundred years at once"));
    }
    Ok(by)
}

fn move_clock(clock: &dyn AdjustableClock, by: Duration) -> Result<(), Refusal> {
    clock.advance(by).map_err(|error| {
        Refusal::new(500, "ClockNotKept", format!("the time could not be kept: {error}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_far_the_clock_is_to_move() {
        let now: Timestamp = "2026-11-22T06:00:00Z".parse().unwrap();
        let check = |body: Value, expected: Result<u64, &str>| {
            let got = wanted(&body, now).map(|by| by.as_secs()).map_err(|refusal| refusal.message);
            match (got, expected) {
                (Ok(got), Ok(want)) => assert_eq!(got, want, "{body}"),
                (Err(got), Err(want)) => assert!(got.contains(want), "{body}: {got}"),
                (got, want) => panic!("{body}: {got:?}, not {want:?}"),
            }
        };
        check(json!({"advanceSeconds": 90}), Ok(90));
        check(json!({"to": "2026-11-22T06:01:00Z"}), Ok(60));
        check(json!({"to": "2026-11-22T05:00:00Z"}), Err("only moves forward"));
        check(json!({"to": "soon"}), Err("to: "));
        check(json!({"advanceSeconds": -1}), Err("either"));
        check(json!({"advanceSeconds": 1, "to": "2026-11-22T06:01:00Z"}), Err("either"));
        check(json!({"advanceSeconds": u64::MAX}), Err("two hundred"));
        check(Value::Null, Err("either"));
    }
}
