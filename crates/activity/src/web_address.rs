//! Which addresses may be posted to.

/// Whether this is a URL that something may be posted to. What is posted names people and keys: it
/// leaves the machine encrypted or not at all. Where a host may lie is the courier's to decide,
/// when it is resolved.
pub(crate) fn is_web_address(url: &str) -> bool {
    let authority = |rest: &str| {
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        rest.get(..end).unwrap_or_default().to_owned()
    };
    let is_plain = url.bytes().all(|byte| byte.is_ascii_graphic()) && !url.contains(['\\', '#']);
    let (authority, is_encrypted) =
        match (url.strip_prefix("https://"), url.strip_prefix("http://")) {
            (Some(rest), _) => (authority(rest), true),
            (_, Some(rest)) => (authority(rest), false),
            _ => return false,
        };
    let host = authority.rsplit_once(':').map_or(authority.as_str(), |(host, port)| {
        if port.bytes().all(|byte| byte.is_ascii_digit()) { host } else { authority.as_str() }
    });
    let is_local = matches!(host, "localhost" | "127.0.0.1" | "[::1]");
    is_plain && !host.is_empty() && !authority.contains('@') && (is_encrypted || is_local)
}
