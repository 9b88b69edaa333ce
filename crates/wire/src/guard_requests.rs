//! The requests of a resource guard: by what critical operations are named, one for each.

use custody_backup_vaults::{ResourceGuard, guard_requests};
use custody_resources::{Kind as _, Refusal};
use serde_json::{Value, json};

use crate::links;
use crate::views::View;

/// The one request of each sort.
const DEFAULT: &str = "default";

/// `GET RG/{requests}`; none if guards know no such requests.
pub(crate) fn list(view: &View<'_>, word: &str) -> Result<Option<Value>, Refusal> {
    let Some(requests) = known(word) else { return Ok(None) };
    let shown = look(view, requests)?;
    links::page(view.call, vec![shown]).map(Some)
}

/// `GET RG/{requests}/default`; none if guards know no such requests.
pub(crate) fn show(view: &View<'_>, word: &str, name: &str) -> Result<Option<Value>, Refusal> {
    let Some(requests) = known(word).filter(|_| name == DEFAULT) else { return Ok(None) };
    look(view, requests).map(Some)
}

fn known(word: &str) -> Option<&'static str> {
    guard_requests().find(|known| known.eq_ignore_ascii_case(word))
}

fn look(view: &View<'_>, requests: &str) -> Result<Value, Refusal> {
    let kind = format!("{}/{requests}", ResourceGuard::TYPE);
    view.look(&format!("{kind}/read"), |world| {
        world.expect::<ResourceGuard>(&view.place)?;
        Ok(json!({
            "id": format!("{}/{requests}/{DEFAULT}", view.place),
            "name": DEFAULT,
            "type": kind,
        }))
    })
}
