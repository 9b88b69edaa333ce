//! Whoever is slow, silent or too many is let go of, and nobody else notices.

use std::io::{Read as _, Write as _};
use std::time::Duration;

use custody_wire::Limits;

use crate::listening::{Listening, hear};

const SHORT: Duration = Duration::from_millis(150);
const HEALTH: &str = "GET /healthz HTTP/1.1\r\nHost: custody.localhost\r\n";

fn closed_after(limits: Limits, said: &str, expected: &str) {
    let site = Listening::with(limits);
    let heard = hear(&mut site.connect(), said);
    assert!(heard.starts_with(expected), "{said:?}: {heard:?}");
    let healthy = hear(&mut site.connect(), &format!("{HEALTH}Connection: close\r\n\r\n"));
    assert!(healthy.starts_with("HTTP/1.1 200 "), "{healthy:?}");
    assert!(site.listener.stop());
}

#[test]
fn a_head_that_does_not_arrive_ends_the_connection() {
    let limits = Limits { head_time: SHORT, ..Limits::default() };
    closed_after(limits.clone(), "GET /healthz HT", "");
    closed_after(limits, "GET /healthz HTTP/1.1\r\nHost: custody.localhost\r\nX: ", "");
}

#[test]
fn a_body_that_does_not_arrive_is_refused() {
    let limits = Limits { body_time: SHORT, ..Limits::default() };
    let post = "POST /x HTTP/1.1\r\nHost: custody.localhost\r\n";
    closed_after(limits.clone(), &format!("{post}Content-Length: 10\r\n\r\n123"), "HTTP/1.1 408 ");
    let chunked = format!("{post}Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n");
    closed_after(limits, &chunked, "HTTP/1.1 408 ");
}

#[test]
fn a_connection_that_rests_too_long_is_closed() {
    let limits = Limits { idle_time: SHORT, ..Limits::default() };
    closed_after(limits.clone(), &format!("{HEALTH}\r\n"), "HTTP/1.1 200 ");
    closed_after(limits, "", "");
}

#[test]
fn a_handshake_that_does_not_come_ends_the_connection() {
    let site = Listening::with(Limits { handshake_time: SHORT, ..Limits::default() });
    let mut silent = site.plain();
    assert_eq!(silent.read(&mut [0]).unwrap_or(0), 0);
}

#[test]
fn connections_beyond_the_cap_are_closed_and_there_is_room_again_later() {
    let site = Listening::with(Limits { connections_max: 2, ..Limits::default() });
    let mut first = site.connect();
    first.write_all(format!("{HEALTH}\r\n").as_bytes()).unwrap();
    first.read_exact(&mut [0; 12]).unwrap();
    let _second = site.plain();
    let mut third = site.plain();
    assert_eq!(third.read(&mut [0]).unwrap_or(0), 0);
    drop(first);
    // The place is free once the server has noticed.
    let served = (0..1_000).any(|_| {
        let mut stream = site.connect();
        let said = stream.write_all(format!("{HEALTH}\r\n").as_bytes());
        said.is_ok() && stream.read_exact(&mut [0; 12]).is_ok()
    });
    assert!(served);
}

#[test]
fn bodies_wait_for_their_share_of_the_memory() {
    let limits = Limits { bodies_kib_max: 4_096, body_time: SHORT, ..Limits::default() };
    let site = Listening::with(limits);
    let post = |bytes: usize| {
        format!("POST /x HTTP/1.1\r\nHost: custody.localhost\r\nContent-Length: {bytes}\r\n\r\n")
    };
    let mut greedy = site.connect();
    greedy.write_all(post(4 << 20).as_bytes()).unwrap();
    // Small bodies do not wait for large ones.
    let body = format!("{}{}", post(2), "{}");
    let mut small = site.connect();
    small.write_all(body.as_bytes()).unwrap();
    let mut head = [0; 12];
    small.read_exact(&mut head).unwrap();
    assert_eq!(&head, b"HTTP/1.1 401");
    assert!(hear(&mut greedy, "").starts_with("HTTP/1.1 408 "));
}

#[test]
fn a_certificate_is_renewed_before_its_end() {
    let site = Listening::with(Limits::default());
    assert!(!site.certificates.renew().unwrap());
    site.pass_days(59);
    assert!(!site.certificates.renew().unwrap());
    site.pass_days(2);
    assert!(site.certificates.renew().unwrap());
    assert!(!site.certificates.renew().unwrap());
}
