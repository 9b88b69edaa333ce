use http::Request;

use crate::listening::{Listening, hear};
use crate::site::{MAIN, Site};

use custody_wire::Limits;

#[test]
fn the_portals_address_answers_people_without_a_token() {
    let site = Site::new();
    let metadata = site.ask("GET", "/metadata/endpoints?api-version=2022-09-01", None, ().into());
    assert_eq!(metadata.body["portal"], format!("{MAIN}/portal"));
    let ask = |method: &str, host: &str, path: &str| {
        let request = Request::builder().method(method).uri(format!("https://{host}{path}"));
        site.ask_over_network(request.body(Vec::new()).unwrap())
    };
    let (status, page) = ask("GET", "custody.localhost", "/portal");
    assert_eq!(status, 200);
    assert!(page.starts_with("<!doctype html>") && page.contains("custody env"), "{page}");
    assert!(!page.contains(&site.tenant), "{page}");
    // It is that one page of that one host.
    for (method, host, path) in [
        ("POST", "custody.localhost", "/portal"),
        ("GET", "custody.localhost", "/portal/x"),
        ("GET", "kv1.vault.custody.localhost", "/portal"),
    ] {
        assert_eq!(ask(method, host, path).0, 401, "{method} {host}{path}");
    }
}

#[test]
fn the_page_may_load_nothing_and_be_framed_by_nobody() {
    let site = Listening::with(Limits::default());
    let asked = "GET /portal HTTP/1.1\r\nHost: custody.localhost\r\nConnection: close\r\n\r\n";
    let heard = hear(&mut site.connect(), asked).to_ascii_lowercase();
    assert!(heard.contains("\r\ncontent-type: text/html; charset=utf-8\r\n"), "{heard}");
    for directive in ["default-src 'none'", "frame-ancestors 'none'", "form-action 'none'"] {
        assert!(heard.contains(directive), "{directive}: {heard}");
    }
    assert!(heard.contains("\r\nx-content-type-options: nosniff\r\n"), "{heard}");
}
