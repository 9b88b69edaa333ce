//! What a connection asks, request after request.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::Value;

use crate::bench::serve::connection::Answer;
use crate::failure::{Failure, Trying};

/// What a connection asks.
pub(crate) trait Script: Send {
    /// The next request; nothing when there is no more to ask.
    fn request(&mut self) -> Option<&[u8]>;

    /// Sees the answer to it.
    fn answered(&mut self, answer: &Answer<'_>) -> Result<(), Failure>;
}

/// The same request again and again.
pub(crate) struct Same(pub(crate) Arc<[u8]>);

impl Script for Same {
    fn request(&mut self) -> Option<&[u8]> {
        Some(&self.0)
    }

    fn answered(&mut self, _answer: &Answer<'_>) -> Result<(), Failure> {
        Ok(())
    }
}

/// A request for each number, each number once for all connections together.
pub(crate) struct Each<'s, F> {
    /// The numbers that are given out already.
    given: &'s AtomicU32,
    count: u32,
    /// Makes the request of a number.
    make: F,
    request: Vec<u8>,
    /// Whether the last request was throttled and is to be sent again.
    again: bool,
}

impl<'s, F: Fn(u32) -> Vec<u8> + Send> Each<'s, F> {
    /// The requests of the numbers below `count`; `given` is shared by all connections.
    pub(crate) fn new(given: &'s AtomicU32, count: u32, make: F) -> Self {
        Self { given, count, make, request: Vec::new(), again: false }
    }
}

impl<F: Fn(u32) -> Vec<u8> + Send> Script for Each<'_, F> {
    fn request(&mut self) -> Option<&[u8]> {
        if !self.again {
            let number = self.given.fetch_add(1, Ordering::Relaxed);
            if number >= self.count {
                return None;
            }
            self.request = (self.make)(number);
        }
        Some(&self.request)
    }

    fn answered(&mut self, answer: &Answer<'_>) -> Result<(), Failure> {
        self.again = answer.status == 429;
        Ok(())
    }
}

/// A list, page after page, and from the start when it has ended.
pub(crate) struct Pages<'s, F> {
    first: Vec<u8>,
    /// Makes the request of a path and query.
    make: F,
    request: Vec<u8>,
    /// Entries of this walk so far.
    entries: u64,
    /// Entries of the last walk that came to its end, for all connections.
    walked: &'s AtomicU32,
}

impl<'s, F: Fn(&str) -> Vec<u8> + Send> Pages<'s, F> {
    /// The list that begins at this path and query.
    pub(crate) fn new(first: &str, make: F, walked: &'s AtomicU32) -> Self {
        let first = make(first);
        Self { request: first.clone(), first, make, entries: 0, walked }
    }
}

impl<F: Fn(&str) -> Vec<u8> + Send> Script for Pages<'_, F> {
    fn request(&mut self) -> Option<&[u8]> {
        Some(&self.request)
    }

    fn answered(&mut self, answer: &Answer<'_>) -> Result<(), Failure> {
        if answer.status != 200 {
            return Ok(()); // it is asked again
        }
        let page: Value = serde_json::from_slice(answer.body).trying("a page")?;
        let entries = page.get("value").and_then(Value::as_array).map_or(0, Vec::len);
        self.entries += entries as u64;
        if let Some(link) = page.get("nextLink").and_then(Value::as_str) {
            self.request = (self.make)(path_of(link)?);
        } else {
            let entries = u32::try_from(self.entries).unwrap_or(u32::MAX);
            self.walked.store(entries, Ordering::Relaxed);
            self.entries = 0;
            self.request.clone_from(&self.first);
        }
        Ok(())
    }
}

/// Path and query of a URL.
fn path_of(url: &str) -> Result<&str, Failure> {
    let rest = url.strip_prefix("https://").and_then(|rest| rest.find('/').map(|at| (rest, at)));
    let path = rest.and_then(|(rest, at)| rest.get(at..));
    path.ok_or_else(|| Failure::new(format!("{url:?} is no URL")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, body: &str) -> Answer<'_> {
        Answer { status, retry_after_s: None, body: body.as_bytes() }
    }

    #[test]
    fn each_number_is_asked_until_it_is_not_throttled() {
        let given = AtomicU32::new(0);
        let mut script = Each::new(&given, 2, |number| vec![u8::try_from(number).unwrap()]);
        assert_eq!(script.request(), Some([0].as_slice()));
        script.answered(&answer(429, "")).unwrap();
        assert_eq!(script.request(), Some([0].as_slice()));
        script.answered(&answer(200, "")).unwrap();
        assert_eq!(script.request(), Some([1].as_slice()));
        script.answered(&answer(200, "")).unwrap();
        assert_eq!(script.request(), None);
    }

    #[test]
    fn pages_are_walked_and_counted() {
        let walked = AtomicU32::new(0);
        let make = |target: &str| target.as_bytes().to_vec();
        let mut script = Pages::new("/keys", make, &walked);
        let next = r#"{"value":[1,2],"nextLink":"https://h:1/keys?$skiptoken=a"}"#;
        for (body, expected) in
            [(next, "/keys?$skiptoken=a"), (r#"{"value":[3],"nextLink":null}"#, "/keys")]
        {
            script.answered(&answer(200, body)).unwrap();
            assert_eq!(script.request(), Some(expected.as_bytes()), "{body}");
        }
        assert_eq!(walked.load(Ordering::Relaxed), 3);
        script.answered(&answer(200, next)).unwrap();
        script.answered(&answer(429, "")).unwrap();
        assert_eq!(script.request(), Some(b"/keys?$skiptoken=a".as_slice()));
        assert!(script.answered(&answer(200, r#"{"nextLink":"/keys"}"#)).is_err());
    }
}
