//! Keys and versions: make, import, show, list, change, delete.

use custody_key_vault::{KeyOperation, PAGE_ENTRIES_MAX, Page};
use data_encoding::BASE64URL_NOPAD;

use super::{Answered, Ask, Fault, bad_parameter, body, render, settled};

pub(super) fn create(ask: &Ask<'_>) -> Answered {
    let key = settled(body::new_key(&ask.call.body)?, ask.vault());
    let operation = KeyOperation::Create { name: ask.name()?, key: &key };
    Ok(ask.reply(&ask.ask(&operation)?))
}

pub(super) fn import(ask: &Ask<'_>) -> Answered {
    let (key, material) = body::imported_key(&ask.call.body, ask.is_own_api_version())?;
    let (key, name) = (settled(key, ask.vault()), ask.name()?);
    let operation = KeyOperation::Import { name, key: &key, material: &material };
    Ok(ask.reply(&ask.ask(&operation)?))
}

pub(super) fn show(ask: &Ask<'_>) -> Answered {
    let operation = KeyOperation::Get { name: ask.name()?, version: ask.version() };
    Ok(ask.reply(&ask.ask(&operation)?))
}

pub(super) fn list(ask: &Ask<'_>) -> Answered {
    paged(ask, |page| KeyOperation::List { page })
}

pub(super) fn versions(ask: &Ask<'_>) -> Answered {
    let name = ask.name()?;
    let part = Part::read(ask)?;
    part.ask(ask, &KeyOperation::ListVersions { name, page: part.page() })
}

pub(super) fn update(ask: &Ask<'_>) -> Answered {
    let change = body::change(&ask.call.body, ask.is_own_api_version())?;
    let (name, version) = (ask.name()?, ask.version());
    ask.ask_with_warning(&KeyOperation::Update { name, version, change: &change })
}

pub(super) fn delete(ask: &Ask<'_>) -> Answered {
    ask.ask_with_warning(&KeyOperation::Delete { name: ask.name()? })
}

/// Asks for the page of a list that the query names.
pub(super) fn paged(
    ask: &Ask<'_>,
    operation: impl for<'p> FnOnce(Page<'p>) -> KeyOperation<'p>,
) -> Answered {
    let part = Part::read(ask)?;
    part.ask(ask, &operation(part.page()))
}

/// Which part of a list the query names.
struct Part {
    entries: u32,
    after: Option<String>,
}

impl Part {
    fn read(ask: &Ask<'_>) -> Result<Self, Fault> {
        let after = ask.call.parameter("$skiptoken").map(skip_token).transpose()?;
        let entries = match ask.call.parameter("maxresults") {
            None => Some(PAGE_ENTRIES_MAX),
            Some(text) => text.parse().ok().filter(|count| (1..=PAGE_ENTRIES_MAX).contains(count)),
        };
        let entries = entries
            .ok_or_else(|| bad_parameter(format!("maxresults must be 1 to {PAGE_ENTRIES_MAX}")))?;
        Ok(Self { entries, after })
    }

    fn page(&self) -> Page<'_> {
        Page { entries: self.entries, after: self.after.as_deref() }
    }

    fn ask(&self, ask: &Ask<'_>, operation: &KeyOperation<'_>) -> Answered {
        let answer = ask.ask(operation)?;
        let mut reply = ask.reply(&answer);
        if let Some(body) = &mut reply.body {
            render::add_next_link(body, &answer, ask.call, self.entries, &ask.places());
        }
        Ok(reply)
    }
}

/// Where the page before ended.
fn skip_token(token: &str) -> Result<String, Fault> {
    let bytes = BASE64URL_NOPAD.decode(token.as_bytes()).ok();
    let text = bytes.and_then(|bytes| String::from_utf8(bytes).ok());
    text.ok_or_else(|| bad_parameter("$skiptoken is not of this list"))
}
