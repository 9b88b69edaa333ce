//! Who is served when, and what the post office knows of its receivers.

use std::collections::BTreeSet;
use std::fs;
use std::sync::mpsc;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use custody_resources::{Hosts, Verb};
use custody_worker::{Courier, PostOffice};
use serde_json::{Value, json};

use crate::audit_delivery::{self, audited};
use crate::event_delivery::{HOOK, create, pair, state, subscribed, told};
use crate::receiver::{Receiver, post_office, round};
use crate::site::Site;

/// A [`Receiver`], and what happens at each post before it is taken.
struct Eventful {
    receiver: Arc<Receiver>,
    at_post: Box<dyn Fn(&str) + Send + Sync>,
}

impl Courier for Eventful {
    fn post(&self, url: &str, headers: &[(&str, &str)], body: &[u8]) -> Result<Vec<u8>, String> {
        (self.at_post)(url);
        self.receiver.post(url, headers, body)
    }

    fn ask_leave(&self, url: &str, origin: &str) -> Result<(), String> {
        self.receiver.ask_leave(url, origin)
    }
}

fn eventful(
    site: &Site,
    receiver: &Arc<Receiver>,
    at_post: impl Fn(&str) + Send + Sync + 'static,
) -> PostOffice {
    let courier = Eventful { receiver: receiver.clone(), at_post: Box::new(at_post) };
    PostOffice::new(Arc::clone(&site.platform), Arc::new(courier), Hosts::default())
}

fn destination(url: &str) -> Value {
    let properties = json!({ "endpointUrl": url });
    json!({ "destination": { "endpointType": "WebHook", "properties": properties } })
}

/// Subscribes receivers, each at an address of its own below `host`.
fn subscribe(site: &Site, host: &str, count: usize) -> BTreeSet<String> {
    let vault = site.id("Microsoft.KeyVault/vaults/kv-1");
    let subscribe = |at: usize| {
        let url = format!("{host}{at}");
        let id = format!("{vault}/providers/Microsoft.EventGrid/eventSubscriptions/n{at}");
        site.put(&id.parse().unwrap(), json!({ "properties": destination(&url) }));
        url
    };
    (0..count).map(subscribe).collect()
}

#[test]
fn a_slow_receiver_is_served_for_half_a_minute_at_a_time() {
    let (site, id, receiver) = subscribed(json!({}));
    for name in ["a", "b", "c", "d", "e", "f"] {
        create(&site, "kv-1", name, None);
    }
    let clock = Arc::clone(&site.clock);
    let office = eventful(&site, &receiver, move |_| clock.advance(Duration::from_secs(10)));
    // The validation takes 10 s of the first round.
    for expected in [2, 5, 6] {
        round(&office);
        assert_eq!(told(&receiver).len(), expected);
    }
    assert_eq!(state(&site, &id).problem, None);
}

#[test]
fn whoever_waited_longest_comes_first() {
    let (site, _, receiver) = subscribed(json!({}));
    let mut all = subscribe(&site, "https://slow.example/", 39);
    all.insert(HOOK.to_owned());
    for name in ["a", "b", "c"] {
        create(&site, "kv-1", name, None);
    }
    let clock = Arc::clone(&site.clock);
    let office = eventful(&site, &receiver, move |_| clock.advance(Duration::from_secs(30)));
    let served = || all.iter().filter(|url| receiver.tries(url) > 0).count();
    round(&office);
    assert_eq!(served(), 32);
    round(&office);
    assert_eq!(served(), 40);
}

#[test]
fn slow_subscribers_leave_room_for_audit_records() {
    let (site, vault) = audited("/nowhere/log");
    site.key_vault("kv-1");
    subscribe(&site, "https://slow.example/", 33);
    let (posted, posts) = mpsc::channel();
    let (release, released) = mpsc::channel::<()>();
    let (posted, released) = (Mutex::new(posted), Mutex::new(released));
    let receiver = Receiver::willing();
    let office = eventful(&site, &receiver, move |url| {
        posted.lock().unwrap().send(url.to_owned()).unwrap();
        if url.contains("slow") {
            // It ends when nobody holds the other end any more.
            let _ = released.lock().unwrap().recv();
        }
    });
    assert!(office.round().is_empty());
    for _ in 0..32 {
        assert!(posts.recv().unwrap().contains("slow"));
    }
    audit_delivery::ask(&site, &vault);
    // The thread that found nothing for the destination before may not have ended yet.
    let next = (0..500).find_map(|_| {
        assert!(office.round().is_empty());
        posts.recv_timeout(Duration::from_millis(10)).ok()
    });
    assert_eq!(next.as_deref(), Some(audit_delivery::HOOK));
    drop(release);
    office.finish();
}

#[test]
fn who_was_changed_or_is_gone_gets_nothing_more_at_the_old_address() {
    let check = |verb: &Verb, expected: usize| {
        let (site, id, receiver) = subscribed(json!({}));
        for name in ["a", "b"] {
            create(&site, "kv-1", name, None);
        }
        let site = Arc::new(site);
        let (inner, verb) = (Arc::clone(&site), verb.clone());
        let (body, changes) = (destination("https://new.example/"), Mutex::new(0));
        let subscription = id.clone();
        let office = eventful(&site, &receiver, move |url| {
            let mut posts = changes.lock().unwrap();
            *posts += usize::from(url == HOOK);
            // The first is the validation.
            if url == HOOK && *posts == 2 {
                inner.ask(&subscription, verb.clone(), body.clone()).unwrap();
            }
        });
        round(&office);
        round(&office);
        assert_eq!(told(&receiver), [pair("KeyNewVersionCreated", "a")]);
        let validation_and_rest = receiver.taken("https://new.example/").len();
        assert_eq!(validation_and_rest, expected);
    };
    check(&Verb::Patch, 2);
    check(&Verb::Delete, 0);
}

#[test]
fn nothing_is_kept_of_receivers_that_are_gone() {
    let (site, id, receiver) = subscribed(json!({}));
    let office = post_office(&site, &receiver);
    let known = || site.platform.records.settings("audit-delivery:").unwrap();
    round(&office);
    assert_eq!(known(), [format!("audit-delivery:{}", id.canonical())]);
    site.delete(&id).unwrap();
    round(&office);
    assert!(known().is_empty());
}

#[test]
fn a_clock_that_is_set_back_passes_over_nothing() {
    let (site, id, receiver) = subscribed(json!({}));
    create(&site, "kv-1", "before", None);
    let office = post_office(&site, &receiver);
    round(&office);
    let earlier = "2026-11-22T05:00:00Z".parse().unwrap();
    site.clock.set_wall(earlier);
    create(&site, "kv-1", "after", None);
    round(&office);
    let made = |key: &str| pair("KeyNewVersionCreated", key);
    assert_eq!(told(&receiver), [made("before"), made("after")]);

    // What an older custody left says nothing of where the receiver began: times do.
    let mut left = state(&site, &id);
    (left.starts_after, left.sequence) = (None, 0);
    let name = format!("audit-delivery:{}", id.canonical());
    site.platform.records.set_setting(&name, &serde_json::to_value(&left).unwrap()).unwrap();
    round(&office);
    assert_eq!(told(&receiver).len(), 2, "{:?}", told(&receiver));
}

#[test]
fn who_comes_later_gets_nothing_of_what_was() {
    let (site, _, receiver) = subscribed(json!({}));
    create(&site, "kv-1", "before", None);
    site.clock.advance(Duration::from_secs(1));
    let late = subscribe(&site, "https://late.example/", 1).pop_first().unwrap();
    create(&site, "kv-1", "after", None);
    round(&post_office(&site, &receiver));
    let keys: Vec<Value> =
        receiver.taken(&late).iter().map(|post| post.body[0]["subject"].clone()).collect();
    assert_eq!(keys, ["", "after"], "the validation, and what came after");
}

#[test]
fn damaged_lines_of_the_ledger_hold_nothing_up_and_are_counted() {
    let (site, id, receiver) = subscribed(json!({}));
    let office = post_office(&site, &receiver);
    create(&site, "kv-1", "lost", None);
    damage_the_last_line(&site);
    let head = site.platform.ledger.head().unwrap().unwrap().sequence;
    round(&office);
    let now = state(&site, &id);
    assert_eq!((now.sequence, now.damaged), (head, 1));
    assert!(now.trouble().unwrap().contains("custody ledger verify"));
    create(&site, "kv-1", "next", None);
    round(&office);
    round(&office);
    assert_eq!(told(&receiver), [pair("KeyNewVersionCreated", "next")]);
    assert_eq!(state(&site, &id).damaged, 1);
}

/// Changes a letter of it.
fn damage_the_last_line(site: &Site) {
    let folder = site.folder.path().join("data/ledger");
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let segment = files.filter(|path| path.extension().is_some_and(|end| end == "jsonl")).max();
    let segment = segment.unwrap();
    let text = fs::read_to_string(&segment).unwrap();
    let at = text.trim_end().rfind('\n').unwrap() + 1;
    let (sound, last) = text.split_at(at);
    fs::write(&segment, format!("{sound}{}", last.replacen("category", "cathegor", 1))).unwrap();
}
