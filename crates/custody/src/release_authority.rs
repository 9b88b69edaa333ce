//! The authorities whose word counts for the release of keys, read from the configuration.

use std::path::Path;

use custody_wire::ReleaseAuthority;
use serde_json::Value;

use crate::config::ReleaseAuthorityConfig;
use crate::error::CliError;

/// Longest file of keys, in bytes.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// Reads the keys of each; a path that is not absolute begins at the data folder.
pub(crate) fn read(
    configured: &[ReleaseAuthorityConfig],
    data_folder: &Path,
) -> Result<Vec<ReleaseAuthority>, CliError> {
    let mut urls: Vec<String> = Vec::new();
    let mut read = Vec::new();
    for ReleaseAuthorityConfig { url, keys_file } in configured {
        let path = data_folder.join(keys_file);
        let wrong = |reason: String| CliError::Configuration { path: path.clone(), reason };
        let plain = url.trim_end_matches('/').to_ascii_lowercase();
        if urls.contains(&plain) {
            return Err(wrong(format!("the release authority {url} is configured twice")));
        }
        urls.push(plain);
        let length = std::fs::metadata(&path).map_err(|error| wrong(error.to_string()))?.len();
        if length > FILE_BYTES_MAX {
            return Err(wrong(format!("it is longer than {FILE_BYTES_MAX} bytes")));
        }
        let text = std::fs::read(&path).map_err(|error| wrong(error.to_string()))?;
        let keys: Value =
            serde_json::from_slice(&text).map_err(|error| wrong(format!("no JSON: {error}")))?;
        read.push(ReleaseAuthority::new(url, &keys).map_err(|error| wrong(error.to_string()))?);
    }
    Ok(read)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEYS: &str = r#"{"keys":[{"kty":"RSA","n":"AQAB","e":"AQAB"}]}"#;

    #[test]
    fn an_authority_is_a_url_with_keys() {
        let folder = tempfile::tempdir().unwrap();
        let check = |url: &str, keys: Option<&str>, times: usize, expected: Result<usize, &str>| {
            let path = folder.path().join("keys.json");
            match keys {
                Some(keys) => std::fs::write(&path, keys).unwrap(),
                None => std::fs::remove_file(&path).unwrap(),
            }
            let one =
                || ReleaseAuthorityConfig { url: url.to_owned(), keys_file: "keys.json".into() };
            let configured: Vec<_> = (0..times).map(|_| one()).collect();
            match (super::read(&configured, folder.path()), expected) {
                (Ok(got), Ok(want)) => assert_eq!(got.len(), want),
                (Err(got), Err(want)) => {
                    assert_eq!(got.code(), "ConfigurationInvalid");
                    assert!(got.to_string().contains(want), "{got}");
                }
                (got, want) => panic!("{url}: {got:?}, not {want:?}"),
            }
        };
        check("https://attest.example", Some(KEYS), 1, Ok(1));
        check("https://attest.example", Some(KEYS), 0, Ok(0));
        check("https://attest.example", Some(KEYS), 2, Err("twice"));
        check("http://attest.example", Some(KEYS), 1, Err("https"));
        check("https://attest.example", Some("{}"), 1, Err("JWK set"));
        check("https://attest.example", Some("{"), 1, Err("no JSON"));
        check("https://attest.example", None, 1, Err("keys.json"));
    }
}
