//! Several processes on one data folder, and several requests at once: nothing is lost, nothing
//! doubles.

use std::collections::BTreeSet;

use custody_wire::Server;
use http::Method;
use serde_json::{Value, json};

use crate::world::{Answer, HSM, KEY_VAULT, World, send_to};

/// Requests of each thread.
const ROUNDS: usize = 8;

/// Runs `act` on two threads of each of two servers at once.
fn at_once<T: Send>(world: &World, act: impl Fn(&Server, usize) -> T + Sync) -> Vec<T> {
    let other = world.beside();
    let servers = [&world.server, &other, &world.server, &other];
    std::thread::scope(|scope| {
        let act = &act;
        let threads: Vec<_> = servers
            .iter()
            .enumerate()
            .map(|(number, server)| scope.spawn(move || act(server, number)))
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}

fn ask(server: &Server, method: Method, path: &str, body: Option<&Value>) -> Answer {
    let uri = format!("{KEY_VAULT}{path}?api-version=7.6");
    let body = body.map(|body| body.to_string().into_bytes()).unwrap_or_default();
    send_to(server, method, &uri, &[], body)
}

/// All versions that a key has.
fn versions(world: &World, name: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut page = world.get(KEY_VAULT, &format!("/keys/{name}/versions"));
    loop {
        let items = page.body.pointer("/value").and_then(Value::as_array).unwrap();
        found.extend(items.iter().map(|item| item["kid"].as_str().unwrap().to_owned()));
        let Some(next) = page.body.get("nextLink").and_then(Value::as_str) else { return found };
        page = world.send(Method::GET, next, None);
    }
}

#[test]
fn no_version_doubles_or_disappears() {
    let world = World::new();
    let made = world.post(KEY_VAULT, "/keys/k/create", &json!({ "kty": "EC" }));
    let first = made.text("/key/kid").to_owned();
    let told = at_once(&world, |server, number| {
        let mut told = Vec::new();
        for _ in 0..ROUNDS {
            let answer = match number {
                0 | 1 => ask(server, Method::POST, "/keys/k/rotate", None),
                _ => ask(server, Method::POST, "/keys/k/create", Some(&json!({ "kty": "EC" }))),
            };
            assert_eq!(answer.status, 200, "{}", answer.body);
            told.push(answer.text("/key/kid").to_owned());
        }
        told
    });
    let mut told: Vec<String> = told.into_iter().flatten().chain([first]).collect();
    told.sort();
    let mut found = versions(&world, "k");
    found.sort();
    assert_eq!(found, told, "what was told is what is there, each once");
    assert_eq!(found.iter().collect::<BTreeSet<_>>().len(), 4 * ROUNDS + 1);
    // Each can be used.
    let digest = json!({ "alg": "ES256", "value": "A".repeat(43) });
    for kid in found {
        assert_eq!(world.post("", &format!("{kid}/sign"), &digest).status, 200, "{kid}");
    }
}

#[test]
fn a_key_that_is_made_deleted_and_purged_at_once_is_in_one_state() {
    let world = World::new();
    at_once(&world, |server, number| {
        for _ in 0..ROUNDS {
            let body = json!({ "kty": "EC" });
            let answer = match number {
                0 => ask(server, Method::POST, "/keys/k/create", Some(&body)),
                1 => ask(server, Method::DELETE, "/keys/k", None),
                2 => ask(server, Method::POST, "/deletedkeys/k/recover", None),
                _ => ask(server, Method::DELETE, "/deletedkeys/k", None),
            };
            assert!(
                matches!(answer.status, 200 | 204 | 404 | 409),
                "{} {}",
                answer.status,
                answer.body
            );
        }
    });
    let (live, deleted) =
        (world.get(KEY_VAULT, "/keys/k").status, world.get(KEY_VAULT, "/deletedkeys/k").status);
    assert!(matches!((live, deleted), (200, 404) | (404, 200 | 404)), "{live} {deleted}");
    // And the key vault works on, in both processes.
    let body = json!({ "kty": "EC" });
    for server in [&world.server, &world.beside()] {
        assert_eq!(ask(server, Method::POST, "/keys/after/create", Some(&body)).status, 200);
    }
}

#[test]
fn of_two_updates_neither_is_lost() {
    let world = World::new();
    world.post(KEY_VAULT, "/keys/k/create", &json!({ "kty": "EC" }));
    // Each changes another field of the same version.
    let changes = [
        json!({ "tags": { "a": "b" } }),
        json!({ "attributes": { "exp": 1_900_000_000 } }),
        json!({ "key_ops": ["sign"] }),
        json!({ "attributes": { "nbf": 1_700_000_000 } }),
    ];
    at_once(&world, |server, number| {
        for _ in 0..ROUNDS {
            let answer = ask(server, Method::PATCH, "/keys/k", changes.get(number));
            assert_eq!(answer.status, 200, "{}", answer.body);
        }
    });
    let key = world.get(KEY_VAULT, "/keys/k").body;
    assert_eq!(key["tags"], json!({ "a": "b" }), "{key}");
    assert_eq!(key["attributes"]["exp"], 1_900_000_000, "{key}");
    assert_eq!(key["attributes"]["nbf"], 1_700_000_000, "{key}");
    assert_eq!(key["key"]["key_ops"], json!(["sign"]), "{key}");
}

#[test]
fn only_one_change_of_what_was_seen_goes_through() {
    let world = World::new();
    let vault = format!(
        "https://custody.localhost{}/providers/Microsoft.KeyVault/vaults/kv1?api-version=2026-02-01",
        world.group
    );
    for _ in 0..ROUNDS {
        let seen = world.send(Method::GET, &vault, None);
        let etag = seen.text("/etag");
        assert!(!etag.is_empty(), "{}", seen.body);
        let mut statuses = at_once(&world, |server, number| {
            let body = json!({ "tags": { "writer": number.to_string() } });
            let if_match = [("if-match", etag)];
            send_to(server, Method::PATCH, &vault, &if_match, body.to_string().into_bytes()).status
        });
        statuses.sort_unstable();
        assert_eq!(statuses, [200, 412, 412, 412]);
    }
    let absent = [("if-none-match", "*")];
    let body = json!({ "location": "local", "properties": {} }).to_string().into_bytes();
    let refused = send_to(&world.server, Method::PUT, &vault, &absent, body);
    assert_eq!((refused.status, refused.code()), (412, "PreconditionFailed"), "it is there");
}

#[test]
fn the_last_administrator_stays_whoever_is_removed_at_once() {
    let world = World::new();
    let path = |number: usize| {
        format!(
            "/providers/Microsoft.Authorization/roleAssignments/\
             00000000-0000-0000-0000-0000000001{number:02}"
        )
    };
    let administrator = "a290e904-7015-4bba-90c8-60543313cdb4";
    for number in 0..4 {
        let principal = format!("00000000-0000-0000-0000-0000000000a{number}");
        let properties = json!({ "roleDefinitionId": administrator, "principalId": principal });
        let made = world.put(HSM, &path(number), &json!({ "properties": properties }));
        assert_eq!(made.status, 201, "{}", made.body);
    }
    let list = || {
        let all = world.get(HSM, "/providers/Microsoft.Authorization/roleAssignments").body;
        let all = all["value"].as_array().unwrap().clone();
        let is = |one: &&Value| {
            one["properties"]["roleDefinitionId"].as_str().unwrap().ends_with(administrator)
        };
        all.iter()
            .filter(is)
            .map(|one| one["name"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    let names = list();
    assert!(names.len() >= 4, "{names:?}");
    at_once(&world, |server, number| {
        // Each begins elsewhere and tries to remove all.
        for at in 0..names.len() {
            let name = &names[(at + number) % names.len()];
            let path = format!("/providers/Microsoft.Authorization/roleAssignments/{name}");
            let uri = format!("{HSM}{path}?api-version=7.6");
            let answer = send_to(server, Method::DELETE, &uri, &[], Vec::new());
            assert!(answer.status < 500, "{}", answer.body);
        }
    });
    assert_eq!(list().len(), 1);
}
