//! The `api-version` parameter.
//!
//! Clients move fast, and one server serves them all: any well-formed version from a floor on is
//! taken. What changed between versions asks for the version where it is decided.

use custody_resources::Refusal;

/// Nothing older than this was ever served.
const FLOOR: &str = "2014-01-01";
/// What may follow the date.
const LABELS: [&str; 5] = ["", "-preview", "-beta", "-alpha", "-privatepreview"];

/// The version that the query names.
pub(crate) fn check(query: &[(String, String)]) -> Result<&str, Refusal> {
    let found = query.iter().find(|(name, _)| name.eq_ignore_ascii_case("api-version"));
    let version = found.map(|(_, value)| value.as_str()).unwrap_or_default();
    if version.is_empty() {
        let text = "The api-version query parameter (?api-version=) is required for all requests.";
        return Err(Refusal::new(400, "MissingApiVersionParameter", text));
    }
    if is_well_formed(version) && version >= FLOOR {
        return Ok(version);
    }
    let shown: String = version.chars().take(50).collect();
    let text = format!(
        "The api-version '{shown}' is invalid. Any date of the form 'YYYY-MM-DD' or \
         'YYYY-MM-DD-preview' from '{FLOOR}' on is supported."
    );
    Err(Refusal::new(400, "InvalidApiVersionParameter", text))
}

fn is_well_formed(version: &str) -> bool {
    let Some((date, label)) = version.split_at_checked(FLOOR.len()) else { return false };
    LABELS.contains(&label.to_ascii_lowercase().as_str())
        && date.parse::<jiff::civil::Date>().is_ok()
        && date.as_bytes().get(4) == Some(&b'-')
}

#[cfg(test)]
mod tests {
    #[test]
    fn versions() {
        let check = |version: Option<&str>, expected: Result<&str, &str>| {
            let query: Vec<(String, String)> =
                version.map(|text| ("Api-Version".into(), text.into())).into_iter().collect();
            let outcome = super::check(&query).map_err(|refusal| refusal.code.into_owned());
            assert_eq!(outcome.as_deref().map_err(String::as_str), expected, "{version:?}");
        };
        check(Some("2024-11-01"), Ok("2024-11-01"));
        check(Some("2022-05-01-preview"), Ok("2022-05-01-preview"));
        check(Some("2026-08-01"), Ok("2026-08-01"));
        check(None, Err("MissingApiVersionParameter"));
        check(Some(""), Err("MissingApiVersionParameter"));
        for wrong in ["latest", "2013-12-31", "2024-13-01", "2024-11-01-x", "20241101", "2024-11-1"]
        {
            check(Some(wrong), Err("InvalidApiVersionParameter"));
        }
    }
}
