//! `/metadata/endpoints`: where a client finds everything else. Needs no token.

use custody_resources::Refusal;
use http::{Method, Response};
use serde_json::{Value, json};

use crate::api_version;
use crate::base::Base;
use crate::reply::{self, Body};

/// The name of this cloud.
const CLOUD: &str = "Custody";
/// From this api-version on the answer is one object that describes this cloud.
const OBJECT_FROM: &str = "2022-09-01";
/// From this api-version on it is a list of such objects; before it was one of another shape.
const LIST_FROM: &str = "2018-05-01";
/// Audiences that Azure's own resource manager has; tokens for them are taken as well.
const AZURE_AUDIENCES: [&str; 2] =
    ["https://management.core.windows.net/", "https://management.azure.com/"];

/// Answers if the request is one for metadata.
pub(crate) fn answer(
    base: &Base,
    method: &Method,
    path: &str,
    query: &[(String, String)],
) -> Option<Result<Response<Body>, Refusal>> {
    // A client that is told `https://HOST/` asks for `//metadata/endpoints`.
    let words = crate::address::segments(path);
    if method != Method::GET || !words.join("/").eq_ignore_ascii_case("metadata/endpoints") {
        return None;
    }
    let body = api_version::check(query).map(|version| match version {
        version if version >= OBJECT_FROM => cloud(base),
        version if version >= LIST_FROM => json!([cloud(base)]),
        _ => first_shape(base),
    });
    Some(body.map(|body| reply::json(200, Some(&body))))
}

fn cloud(base: &Base) -> Value {
    let main = base.main();
    json!({
        "name": CLOUD,
        "portal": format!("{main}/portal"),
        "authentication": {
            "loginEndpoint": main,
            "audiences": audiences(base),
            "tenant": "common",
            "identityProvider": "AAD",
        },
        "resourceManager": format!("{main}/"),
        "graph": main,
        "graphAudience": main,
        "microsoftGraphResourceId": main,
        "gallery": main,
        "batch": main,
        "suffixes": {
            "keyVaultDns": format!("vault.{}", base.authority()),
            "mhsmDns": format!("managedhsm.{}", base.authority()),
        },
    })
}

fn first_shape(base: &Base) -> Value {
    let main = base.main();
    json!({
        "galleryEndpoint": main,
        "graphEndpoint": main,
        "graphAudience": main,
        "portalEndpoint": format!("{main}/portal"),
        "authentication": { "loginEndpoint": main, "audiences": audiences(base) },
    })
}

fn audiences(base: &Base) -> Vec<String> {
    let azure = AZURE_AUDIENCES.iter().map(|audience| (*audience).to_owned());
    std::iter::once(base.main()).chain(azure).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shape_follows_the_api_version() {
        let base = Base::new("custody.localhost", 8443);
        let check = |version: &str, pointer: &str, expected: Value| {
            let query = [("api-version".to_owned(), version.to_owned())];
            let answer = answer(&base, &Method::GET, "/metadata/endpoints", &query).unwrap();
            let mut text = String::new();
            std::io::Read::read_to_string(answer.unwrap().body_mut(), &mut text).unwrap();
            let body: Value = serde_json::from_str(&text).unwrap();
            assert_eq!(body.pointer(pointer), Some(&expected), "{version} {pointer}");
        };
        let main = "https://custody.localhost:8443";
        check("2022-09-01", "/authentication/loginEndpoint", main.into());
        check("2022-09-01", "/authentication/audiences/0", main.into());
        check("2022-09-01", "/suffixes/keyVaultDns", "vault.custody.localhost:8443".into());
        check("2022-09-01", "/suffixes/mhsmDns", "managedhsm.custody.localhost:8443".into());
        check("2023-11-01", "/resourceManager", format!("{main}/").into());
        check("2019-05-01", "/0/name", "Custody".into());
        check("2015-01-01", "/galleryEndpoint", main.into());
        check("2015-01-01", "/authentication/loginEndpoint", main.into());
    }

    #[test]
    fn it_answers_for_itself_alone() {
        let base = Base::canonical();
        assert!(answer(&base, &Method::GET, "/metadata/endpoint", &[]).is_none());
        assert!(answer(&base, &Method::POST, "/metadata/endpoints", &[]).is_none());
        let refusal = answer(&base, &Method::GET, "/metadata/endpoints/", &[]).unwrap();
        assert_eq!(refusal.err().unwrap().code, "MissingApiVersionParameter");
    }
}
