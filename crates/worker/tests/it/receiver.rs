//! A courier that keeps what it is given, and answers as a test wants.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use custody_resources::Hosts;
use custody_worker::{Courier, PostOffice};
use serde_json::Value;

use crate::site::Site;

/// Every receiver in the world.
#[derive(Default)]
pub(crate) struct Receiver {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    refusal: Option<String>,
    is_unwilling: bool,
    tried: Vec<Post>,
    taken: Vec<Post>,
    asked: Vec<(String, String)>,
}

/// What was posted.
#[derive(Clone, Debug)]
pub(crate) struct Post {
    pub(crate) url: String,
    headers: HashMap<String, String>,
    pub(crate) body: Value,
}

impl Post {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }
}

impl Receiver {
    /// Takes everything, and answers validations.
    pub(crate) fn willing() -> Arc<Self> {
        Arc::default()
    }

    /// From now on refuses everything.
    pub(crate) fn refuse(&self, why: &str) {
        self.state.lock().unwrap().refusal = Some(why.to_owned());
    }

    /// From now on takes everything.
    pub(crate) fn accept(&self) {
        self.state.lock().unwrap().refusal = None;
    }

    /// Whether validations are answered.
    pub(crate) fn be_willing(&self, willing: bool) {
        self.state.lock().unwrap().is_unwilling = !willing;
    }

    /// What was posted there and taken.
    pub(crate) fn taken(&self, url: &str) -> Vec<Post> {
        let state = self.state.lock().unwrap();
        state.taken.iter().filter(|post| post.url == url).cloned().collect()
    }

    /// How often was posted there, taken or not.
    pub(crate) fn tries(&self, url: &str) -> usize {
        self.state.lock().unwrap().tried.iter().filter(|post| post.url == url).count()
    }

    /// Addresses that were asked for leave, and by whom.
    pub(crate) fn asked(&self) -> Vec<(String, String)> {
        self.state.lock().unwrap().asked.clone()
    }
}

impl Courier for Receiver {
    fn post(&self, url: &str, headers: &[(&str, &str)], body: &[u8]) -> Result<Vec<u8>, String> {
        let mut state = self.state.lock().unwrap();
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let post = Post {
            url: url.to_owned(),
            headers: headers.iter().map(owned).collect(),
            body: serde_json::from_slice(body).unwrap(),
        };
        state.tried.push(post.clone());
        if let Some(why) = &state.refusal {
            return Err(why.clone());
        }
        state.taken.push(post.clone());
        let code = post.body.pointer("/0/data/validationCode").and_then(Value::as_str);
        Ok(match code {
            Some(code) if !state.is_unwilling => {
                format!("{{\"validationResponse\":\"{code}\"}}").into_bytes()
            }
            _ => b"{}".to_vec(),
        })
    }

    fn ask_leave(&self, url: &str, origin: &str) -> Result<(), String> {
        let mut state = self.state.lock().unwrap();
        state.asked.push((url.to_owned(), origin.to_owned()));
        if state.is_unwilling { Err("it did not say yes".to_owned()) } else { Ok(()) }
    }
}

/// The post of a site, to these receivers.
pub(crate) fn post_office(site: &Site, receiver: &Arc<Receiver>) -> PostOffice {
    let courier = Arc::clone(receiver) as Arc<dyn Courier>;
    let hosts = Hosts { key_vaults: "vault.keys.example:8443".to_owned(), ..Hosts::default() };
    PostOffice::new(Arc::clone(&site.platform), courier, hosts)
}

/// One round, to its end.
pub(crate) fn round(post_office: &PostOffice) {
    let problems = post_office.round();
    assert!(problems.is_empty(), "{problems:?}");
    post_office.finish();
}
