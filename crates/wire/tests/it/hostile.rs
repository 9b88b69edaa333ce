//! Clients that mean harm: each is refused or cut off, and the next one is served.

use std::io::{Read as _, Write as _};
use std::net::Shutdown;

use custody_wire::Limits;
use serde_json::json;

use crate::listening::{Listening, Tls, hear};

const GET: &str = "GET /healthz HTTP/1.1\r\nHost: custody.localhost\r\n";
const POST: &str = "POST /subscriptions HTTP/1.1\r\nHost: custody.localhost\r\n";

/// Bytes of a request that the server has read when it answers.
const SURELY_READ: usize = 4_096;

fn assert_served(site: &Listening, after: &str) {
    let heard = hear(&mut site.connect(), &format!("{GET}Connection: close\r\n\r\n"));
    assert!(heard.starts_with("HTTP/1.1 200 "), "after {after}: {heard:?}");
}

/// What is heard until the connection ends, however it does.
fn heard_of(stream: &mut Tls, said: &[u8]) -> String {
    // The server may close before it has read all.
    let _ = stream.write_all(said);
    let mut heard = Vec::new();
    let _ = stream.read_to_end(&mut heard);
    String::from_utf8_lossy(&heard).into_owned()
}

#[test]
fn malformed_requests_are_refused_or_cut_off() {
    let site = Listening::with(Limits::default());
    let check = |said: &[u8], expected: &str| {
        let heard = heard_of(&mut site.connect(), said);
        let shown = String::from_utf8_lossy(&said[..said.len().min(120)]);
        // An answer that comes before all was read may get lost.
        let lost = said.len() > SURELY_READ && heard.is_empty();
        assert!(lost || heard.starts_with(expected), "{shown:?}: {heard:?}");
        assert!(heard.is_empty() || heard.starts_with("HTTP/1.1 4"), "{shown:?}: {heard:?}");
        assert_served(&site, &shown);
    };
    let wrong = "HTTP/1.1 400 ";
    check(b"\x00\x01\x02\x03\r\n\r\n", wrong);
    check(b"GET\r\n\r\n", wrong);
    check(b"GET /healthz\r\n\r\n", wrong);
    check(b"GET /healthz HTTP/9.9\r\n\r\n", wrong);
    check(b"GET /a b HTTP/1.1\r\nHost: custody.localhost\r\n\r\n", wrong);
    check(b"GET /\xff\xfe HTTP/1.1\r\n", "");
    check(b"GET /healthz HTTP/1.1\r\nHost custody.localhost\r\n\r\n", wrong);
    check(b"GET /healthz HTTP/1.1\r\nHost: a\0b\r\n\r\n", wrong);
    check(format!("{GET} folded: x\r\n\r\n").as_bytes(), wrong);
    check(format!("{GET}X: {}\r\n\r\n", "x".repeat(70_000)).as_bytes(), "HTTP/1.1 431 ");
    check(format!("{GET}{}\r\n", "X: y\r\n".repeat(5_000)).as_bytes(), "HTTP/1.1 431 ");
    let long = format!(
        "GET /{} HTTP/1.1\r\nHost: custody.localhost\r\nConnection: close\r\n\r\n",
        "x".repeat(20_000)
    );
    check(long.as_bytes(), "HTTP/1.1 414 ");
    check(b"GET /subscriptions HTTP/1.1\r\nConnection: close\r\n\r\n", wrong);
    let host = |name: &str| {
        format!("GET /subscriptions HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\n\r\n")
    };
    check(host("evil.example").as_bytes(), "HTTP/1.1 421 ");
    let twice = "Host: custody.localhost\r\nHost: custody.localhost\r\nConnection: close\r\n\r\n";
    for path in ["/healthz", "/metrics", "/subscriptions", "/metadata/endpoints"] {
        check(format!("GET {path} HTTP/1.1\r\n{twice}").as_bytes(), wrong);
    }
    check(host("custody.localhost:99999").as_bytes(), "HTTP/1.1 421 ");
    check(host("a.b.vault.custody.localhost").as_bytes(), "HTTP/1.1 421 ");
    check(format!("{POST}Content-Length: x\r\n\r\n").as_bytes(), wrong);
    check(format!("{POST}Content-Length: -1\r\n\r\n").as_bytes(), wrong);
    check(format!("{POST}Content-Length: 99999999999999999999\r\n\r\n").as_bytes(), wrong);
    check(format!("{POST}Content-Length: 1\r\nContent-Length: 2\r\n\r\nab").as_bytes(), wrong);
    check(format!("{POST}Content-Length: 99999999\r\n\r\n").as_bytes(), "HTTP/1.1 413 ");
    check(format!("{POST}Transfer-Encoding: gzip\r\n\r\n").as_bytes(), wrong);
    let chunked = format!("{POST}Transfer-Encoding: chunked\r\n\r\n");
    check(format!("{chunked}zz\r\n").as_bytes(), wrong);
    check(format!("{chunked}ffffffffffffffffff\r\n").as_bytes(), wrong);
    let endless =
        format!("{chunked}{}", format!("10000\r\n{}\r\n", "x".repeat(0x10000)).repeat(70));
    check(endless.as_bytes(), "HTTP/1.1 413 ");
}

#[test]
fn what_is_no_tls_ends_the_connection() {
    let site = Listening::with(Limits::default());
    let hello = b"\x16\x03\x01\x40\x00\x01\x00\x3f\xfc\x03\x03";
    for garbage in [
        format!("{GET}\r\n").into_bytes(),
        vec![0; 4_096],
        vec![0xff; 70_000],
        [hello.to_vec(), vec![0x41; 20_000]].concat(),
        b"\x15\x03\x01\x00\x02\x02\x28".to_vec(),
    ] {
        let mut stream = site.plain();
        let _ = stream.write_all(&garbage);
        let mut heard = Vec::new();
        let _ = stream.read_to_end(&mut heard);
        assert!(!String::from_utf8_lossy(&heard).contains("HTTP/"), "{heard:?}");
        assert_served(&site, "garbage");
    }
}

#[test]
fn a_connection_that_is_half_closed_ends() {
    let site = Listening::with(Limits::default());
    for said in ["", "GET /hea", GET, &format!("{POST}Content-Length: 10\r\n\r\n123")] {
        let mut stream = site.connect();
        // The handshake takes place with the first bytes.
        stream.write_all(said.as_bytes()).unwrap();
        stream.flush().unwrap();
        stream.sock.shutdown(Shutdown::Write).unwrap();
        let heard = heard_of(&mut stream, b"");
        assert!(heard.is_empty() || heard.starts_with("HTTP/1.1 4"), "{said:?}: {heard:?}");
        assert_served(&site, said);
    }
}

#[test]
fn requests_that_come_at_once_are_answered_in_order() {
    let site = Listening::with(Limits::default());
    let numbered = |number| format!("{GET}X-Ms-Client-Request-Id: {number}\r\n\r\n");
    let last = format!("{GET}Connection: close\r\n\r\n");
    let said: String = (0..100).map(numbered).chain([last]).collect();
    let heard = hear(&mut site.connect(), &said);
    let echoed: Vec<&str> =
        heard.lines().filter_map(|line| line.strip_prefix("x-ms-client-request-id: ")).collect();
    let expected: Vec<String> = (0..100).map(|number| number.to_string()).collect();
    assert_eq!(echoed, expected);
    // An answer does not wait for the rest of the next request.
    let mut stream = site.connect();
    stream.write_all(format!("{GET}\r\nGET /hea").as_bytes()).unwrap();
    let mut head = [0; 12];
    stream.read_exact(&mut head).unwrap();
    assert_eq!(&head, b"HTTP/1.1 200");
    // What follows a refused body is not taken for a request.
    let smuggled = format!("{POST}Content-Length: 99999999\r\n\r\n{GET}\r\n");
    let heard = heard_of(&mut site.connect(), smuggled.as_bytes());
    assert_eq!(heard.matches("HTTP/1.1 ").count(), 1, "{heard:?}");
    assert_served(&site, "pipelining");
}

/// A frame of HTTP/2 (RFC 9113 §4.1).
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut frame = length[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RESET: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GO_AWAY: u8 = 7;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// Preface and settings, then this.
fn http2(rest: &[u8]) -> Vec<u8> {
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    [preface.as_slice(), &frame(SETTINGS, 0, 0, &[]), rest].concat()
}

/// The headers of a request for `/healthz` (RFC 7541: method and scheme by number, the rest spelled).
fn request() -> Vec<u8> {
    let mut block = vec![0x82, 0x87, 0x04, 8];
    block.extend(b"/healthz");
    block.extend([0x01, 17]);
    block.extend(b"custody.localhost");
    block
}

/// The kinds of the frames that were heard until the connection ended.
fn kinds_heard(stream: &mut Tls, said: &[u8]) -> Vec<u8> {
    let _ = stream.write_all(said);
    let mut heard = Vec::new();
    let _ = stream.read_to_end(&mut heard);
    let (mut kinds, mut rest) = (Vec::new(), heard.as_slice());
    while let Some((head, after)) = rest.split_at_checked(9) {
        kinds.push(head[3]);
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        rest = after.get(length..).unwrap_or_default();
    }
    kinds
}

#[test]
fn streams_that_are_reset_as_soon_as_they_are_opened_end_the_connection() {
    let site = Listening::with(Limits::default());
    let mut said = Vec::new();
    for number in 0..20_000 {
        let stream = 2 * number + 1;
        said.extend(frame(HEADERS, END_HEADERS | END_STREAM, stream, &request()));
        said.extend(frame(RESET, 0, stream, &8_u32.to_be_bytes()));
    }
    // Read only afterwards: the server must not wait for the client, nor keep what it would say.
    let kinds = kinds_heard(&mut site.connect_http2(), &http2(&said));
    assert!(kinds.contains(&GO_AWAY) || kinds.is_empty(), "{kinds:?}");
    assert_served(&site, "rapid reset");
}

#[test]
fn streams_beyond_the_limit_are_refused() {
    let mut said = Vec::new();
    for number in 0..50 {
        // Their bodies never come.
        said.extend(frame(HEADERS, END_HEADERS, 2 * number + 1, &request()));
    }
    said.extend(frame(GO_AWAY, 0, 0, &[0; 8]));
    let limits = Limits {
        body_time: std::time::Duration::from_millis(150),
        streams_max: 4,
        ..Limits::default()
    };
    let short = Listening::with(limits);
    let kinds = kinds_heard(&mut short.connect_http2(), &http2(&said));
    let refused: Vec<&u8> = kinds.iter().filter(|kind| **kind == RESET).collect();
    assert!(refused.len() >= 40 || kinds.contains(&GO_AWAY), "{kinds:?}");
    assert_served(&short, "many streams");
}

#[test]
fn frames_that_make_no_sense_end_the_connection() {
    let site = Listening::with(Limits::default());
    let huge = [vec![0x82, 0x87], vec![0; 20_000]].concat();
    let continued: Vec<u8> =
        (0..5_000).flat_map(|_| frame(CONTINUATION, 0, 1, &[0x40, 1, b'a', 1, b'b'])).collect();
    for (what, frames) in [
        ("data without a stream", frame(DATA, 0, 1, b"x")),
        ("an even stream", frame(HEADERS, END_HEADERS, 2, &request())),
        ("a frame beyond the size", frame(HEADERS, END_HEADERS, 1, &huge)),
        ("broken compression", frame(HEADERS, END_HEADERS, 1, &[0xff; 8])),
        ("a ping of the wrong length", frame(PING, 0, 0, &[0; 7])),
        ("headers without end", [frame(HEADERS, 0, 1, &request()), continued].concat()),
        ("settings of the wrong length", frame(SETTINGS, 0, 0, &[0; 5])),
    ] {
        let kinds = kinds_heard(&mut site.connect_http2(), &http2(&frames));
        let lost = frames.len() > SURELY_READ && kinds.is_empty();
        assert!(lost || kinds.contains(&GO_AWAY) || kinds.contains(&RESET), "{what}: {kinds:?}");
        assert!(!kinds.contains(&HEADERS), "{what} was answered: {kinds:?}");
        assert_served(&site, what);
    }
    let kinds = kinds_heard(&mut site.connect_http2(), b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n");
    assert!(!kinds.contains(&HEADERS), "{kinds:?}");
    assert_served(&site, "a broken preface");
}

#[test]
fn a_head_of_the_ledger_that_is_none_is_the_callers_fault() {
    let site = crate::site::Site::new();
    for head in [json!({ "format": 1, "sequence": 3, "hash": "00" }), json!("x"), json!([])] {
        let body = json!({ "head": head });
        let answer = site.ask("POST", "/custody/ledger/verify", None, body);
        assert_eq!(answer.status, 400, "{answer:?}");
        assert_eq!(answer.body["error"]["code"], "LedgerHeadInvalid");
    }
}
