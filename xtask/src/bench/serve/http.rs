//! As much of HTTP/1.1 as measuring takes: requests as bytes, answers of known length.

use std::fmt::Write as _;

use crate::failure::Failure;

/// Bytes of a head that are looked through before it is given up.
const HEAD_BYTES_MAX: usize = 64 << 10;

/// What a request is made of.
#[derive(Clone, Copy)]
pub(crate) struct Request<'r> {
    pub(crate) method: &'r str,
    /// Host and port, as the `Host` field has them.
    pub(crate) authority: &'r str,
    /// Path and query.
    pub(crate) target: &'r str,
    pub(crate) token: Option<&'r str>,
    /// Media type and bytes.
    pub(crate) body: Option<(&'r str, &'r str)>,
}

impl Request<'_> {
    /// The request as it is sent.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let Self { method, authority, target, .. } = self;
        let mut text = format!("{method} {target} HTTP/1.1\r\nHost: {authority}\r\n");
        // Writing to a String cannot fail.
        if let Some(token) = self.token {
            let _ = write!(text, "Authorization: Bearer {token}\r\n");
        }
        if let Some((media_type, body)) = self.body {
            let length = body.len();
            let _ = write!(text, "Content-Type: {media_type}\r\nContent-Length: {length}\r\n");
        } else if *method != "GET" {
            text.push_str("Content-Length: 0\r\n");
        }
        text.push_str("\r\n");
        text.push_str(self.body.map_or("", |(_, body)| body));
        text.into_bytes()
    }
}

/// The head of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) status: u16,
    /// Where the body begins.
    pub(crate) own_bytes: usize,
    pub(crate) body_bytes: usize,
    /// Seconds that the caller is told to wait.
    pub(crate) retry_after_s: Option<u64>,
}

impl Head {
    /// Reads the head that `received` begins with; nothing if it is not whole yet.
    pub(crate) fn parse(received: &[u8]) -> Result<Option<Self>, Failure> {
        let Some(end) = received.windows(4).position(|window| window == b"\r\n\r\n") else {
            let is_endless = received.len() > HEAD_BYTES_MAX;
            return if is_endless { Err(malformed(received)) } else { Ok(None) };
        };
        let lines = received.get(..end).unwrap_or_default();
        let mut lines = lines.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
        let status = lines.next().and_then(status).ok_or_else(|| malformed(received))?;
        let mut head = Self { status, own_bytes: end + 4, body_bytes: 0, retry_after_s: None };
        let mut has_length = matches!(status, 204 | 304);
        for line in lines {
            if let Some(length) = field(line, "content-length") {
                let length = number(length).and_then(|length| usize::try_from(length).ok());
                head.body_bytes = length.ok_or_else(|| malformed(received))?;
                has_length = true;
            } else if let Some(seconds) = field(line, "retry-after") {
                head.retry_after_s = number(seconds);
            }
        }
        // Chunked answers are none of ours: they would be taken for the next answer.
        if has_length { Ok(Some(head)) } else { Err(malformed(received)) }
    }
}

/// `HTTP/1.1 200 OK`
fn status(line: &[u8]) -> Option<u16> {
    let rest = line.strip_prefix(b"HTTP/1.1 ")?;
    u16::try_from(number(rest.get(..3)?)?).ok()
}

/// The value of this line if it is the field of this name.
fn field<'l>(line: &'l [u8], name: &str) -> Option<&'l [u8]> {
    let (found, value) = line.split_at_checked(name.len())?;
    let value = value.strip_prefix(b":")?;
    found.eq_ignore_ascii_case(name.as_bytes()).then_some(value.trim_ascii())
}

fn number(digits: &[u8]) -> Option<u64> {
    std::str::from_utf8(digits).ok()?.parse().ok()
}

fn malformed(received: &[u8]) -> Failure {
    let start = String::from_utf8_lossy(received.get(..200).unwrap_or(received));
    Failure::new(format!("an answer cannot be read: {start}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_are_read() {
        let check = |text: &str, expected: Option<(u16, usize, usize, Option<u64>)>| {
            let parts =
                |head: Head| (head.status, head.own_bytes, head.body_bytes, head.retry_after_s);
            assert_eq!(Head::parse(text.as_bytes()).unwrap().map(parts), expected, "{text}");
        };
        let whole = "HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nabc";
        check(whole, Some((200, whole.len() - 3, 3, None)));
        for end in 0..whole.len() - 3 {
            check(&whole[..end], None);
        }
        let throttled = "HTTP/1.1 429 Too Many Requests\r\nRetry-After: 7\r\nX: content-length: \
                         5\r\nContent-Length:0\r\n\r\n";
        check(throttled, Some((429, throttled.len(), 0, Some(7))));
        check("HTTP/1.1 204 No Content\r\n\r\n", Some((204, 27, 0, None)));
    }

    #[test]
    fn what_is_no_head_of_known_length_is_refused() {
        for text in [
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n",
            "HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n",
            "HTTP/1.1 2x0 OK\r\ncontent-length: 0\r\n\r\n",
            "HTTP/2\r\n\r\n",
        ] {
            assert!(Head::parse(text.as_bytes()).is_err(), "{text}");
        }
        assert!(Head::parse(&vec![b'a'; HEAD_BYTES_MAX + 1]).is_err());
    }

    #[test]
    fn requests_are_written() {
        let request = Request {
            method: "POST",
            authority: "h:1",
            target: "/x",
            token: Some("t"),
            body: Some(("application/json", "{}")),
        };
        assert_eq!(
            String::from_utf8(request.bytes()).unwrap(),
            "POST /x HTTP/1.1\r\nHost: h:1\r\nAuthorization: Bearer t\r\n\
             Content-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"
        );
        let get = Request { method: "GET", token: None, body: None, ..request };
        assert_eq!(get.bytes(), b"GET /x HTTP/1.1\r\nHost: h:1\r\n\r\n");
    }
}
