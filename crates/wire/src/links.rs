//! Pages of lists: which one is asked for, and the link to the next.

use custody_resources::Refusal;
use serde_json::{Value, json};

use crate::server::Call;

/// Most entries in one page.
const PAGE_MAX: u64 = 1_000;
/// The parameter that says where a page begins.
const SKIP_TOKEN: &str = "$skiptoken";

/// The body of a list: the page of `all` that is asked for, with a link to the next.
pub(crate) fn page(call: &Call<'_>, all: Vec<Value>) -> Result<Value, Refusal> {
    let begin = skip(call.parameter(SKIP_TOKEN))?;
    let wanted = call.parameter("$top").map(str::parse::<u64>).transpose();
    let wanted = wanted.map_err(|_| Refusal::bad_request("$top is no number"))?;
    let length = wanted.unwrap_or(PAGE_MAX).clamp(1, PAGE_MAX);
    let total = all.len() as u64;
    let place = |at: u64| usize::try_from(at).unwrap_or(usize::MAX);
    let shown: Vec<Value> = all.into_iter().skip(place(begin)).take(place(length)).collect();
    let mut body = json!({ "value": shown });
    let end = begin.saturating_add(length);
    if let (true, Value::Object(body)) = (end < total, &mut body) {
        body.insert("nextLink".into(), next(call, end).into());
    }
    Ok(body)
}

/// How many entries stand before the page.
pub(crate) fn skip(token: Option<&str>) -> Result<u64, Refusal> {
    let token = token.unwrap_or("0");
    token.parse().map_err(|_| Refusal::bad_request("$skiptoken is not ours"))
}

/// The same request for the page that `token` names: how many entries stand before it, or another
/// mark without reserved characters.
pub(crate) fn next(call: &Call<'_>, token: impl std::fmt::Display) -> String {
    let kept = call.query.iter().filter(|(name, _)| !name.eq_ignore_ascii_case(SKIP_TOKEN));
    let mut query: Vec<String> = kept
        .map(|(name, value)| format!("{}={}", encoded(name, "-_.~$"), encoded(value, "-_.~")))
        .collect();
    query.push(format!("{SKIP_TOKEN}={token}"));
    let path = encoded(&call.path, "/-_.~;()@,!'$:");
    format!("{}{path}?{}", call.base.main(), query.join("&"))
}

fn encoded(text: &str, plain: &str) -> String {
    let one = |byte: u8| match char::from(byte) {
        c if c.is_ascii_alphanumeric() || plain.contains(c) => c.to_string(),
        _ => format!("%{byte:02X}"),
    };
    text.bytes().map(one).collect()
}
