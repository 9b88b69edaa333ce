//! `custody up`: TLS, hosts, limits, the socket of this machine's users, the clock.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt as _;

use serde_json::json;

use crate::served::{Answer, Served, ask};
use crate::site::Site;

const MAIN: &str = "custody.localhost";

#[test]
fn whoever_trusts_the_authority_is_served_and_all_but_health_needs_a_token() {
    let site = Site::new();
    let served = Served::start(&site, &[]);
    let port = served.port;
    for (path, status) in [("/healthz", 200), ("/readyz", 200), ("/metrics", 200)] {
        assert_eq!(served.get(MAIN, path).status, status, "{path}");
    }
    for path in ["/subscriptions?api-version=2022-12-01", "/custody/status", "/custody/clock"] {
        let answer = served.get(MAIN, path);
        assert_eq!(answer.status, 401, "{path}");
        let challenge = answer.header("www-authenticate").unwrap();
        let authority = format!("Bearer authorization_uri=\"https://{MAIN}:{port}/");
        assert!(challenge.starts_with(&authority), "{challenge}");
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
        assert!(answer.header("strict-transport-security").is_some());
        assert!(answer.header("x-ms-routing-request-id").unwrap().starts_with("LOCAL:"));
        assert_eq!(answer.header("x-ms-request-id"), answer.header("x-ms-correlation-request-id"));
    }
    let vault = format!("kv1.vault.{MAIN}");
    let mut stream = served.connect(&vault);
    let request = format!(
        "GET /keys HTTP/1.1\r\nHost: KV1.vault.{MAIN}:{port}\r\nx-ms-client-request-id: mine\r\n\r\n"
    );
    let answer = ask(&mut stream, &request);
    assert_eq!((answer.status, answer.code().as_str()), (401, "Unauthorized"));
    let challenge = answer.header("www-authenticate").unwrap();
    let resource = format!("resource=\"https://vault.{MAIN}:{port}\"");
    assert!(challenge.ends_with(&resource), "{challenge}");
    assert_eq!(answer.header("x-ms-client-request-id"), Some("mine"));
    assert_eq!(answer.header("x-ms-keyvault-region"), Some("local"));
    // The connection goes on, for another host as well.
    let again = ask(&mut stream, &format!("GET /healthz HTTP/1.1\r\nHost: {MAIN}\r\n\r\n"));
    assert_eq!(again.status, 200);
}

#[test]
fn the_administrator_signs_in_with_the_secret_of_the_first_start() {
    let site = Site::new();
    let served = Served::start(&site, &["--managed-identity", "0"]);
    let env = site.json(&["env", "--json"]);
    let text = |path: &str| env.pointer(path).unwrap().as_str().unwrap().to_owned();
    let secret_file = text("/administrator/clientSecretFile");
    let mode = std::fs::metadata(&secret_file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let secret = std::fs::read_to_string(&secret_file).unwrap();
    assert!(served.said.contains(&secret), "shown once");
    let token = |resource: &str| {
        let form = format!(
            "grant_type=client_credentials&client_id={}&client_secret={secret}&scope={resource}/.default",
            text("/administrator/clientId")
        );
        let path = format!("/{}/oauth2/v2.0/token", text("/tenantId"));
        let request = format!(
            "POST {path} HTTP/1.1\r\nHost: {MAIN}:{}\r\nContent-Length: {}\r\n\r\n{form}",
            served.port,
            form.len()
        );
        let answer = ask(&mut served.connect(MAIN), &request);
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.json()["access_token"].as_str().unwrap().to_owned()
    };
    let get = |host: &str, path: &str, token: &str| {
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: {host}:{}\r\nAuthorization: Bearer {token}\r\n\r\n",
            served.port
        );
        ask(&mut served.connect(host), &request)
    };
    let arm = token(&text("/resourceManager"));
    let groups =
        format!("/subscriptions/{}/resourceGroups?api-version=2024-11-01", text("/subscriptionId"));
    assert_eq!(get(MAIN, &groups, &arm).status, 200);
    // Tokens are for one surface: however the path is spelt, it decides which.
    for path in ["/v1.0/servicePrincipals", "/v1%2e0/servicePrincipals"] {
        assert_eq!(get(MAIN, path, &token("https://management.azure.com")).status, 401, "{path}");
    }
    let vault = format!("kv1.vault.{MAIN}");
    assert_eq!(get(&vault, "/keys?api-version=7.4", &arm).status, 401);
    site.ok(&["keyvault", "create", "-n", "kv1"]);
    let keys = token(&format!("https://{}", text("/keyVaultSuffix")));
    // Owner of everything, and yet without a role on keys.
    assert_eq!(get(&vault, "/keys?api-version=7.4", &keys).status, 403);
    let endpoint = text("/managedIdentityEndpoint");
    let (host, path) = endpoint.strip_prefix("http://").unwrap().split_once('/').unwrap();
    let mut plain = TcpStream::connect(host).unwrap();
    let asked =
        format!("GET /{path}?api-version=2019-08-01&resource=x HTTP/1.1\r\nHost: {host}\r\n\r\n");
    assert_eq!(ask(&mut plain, &asked).status, 401);
    let (status, _) = served.stop();
    assert!(status.success());
    // No secret is shown again, and the same application is found.
    let again = Served::start(&site, &[]);
    assert!(!again.said.contains("never again"));
    let env_again = site.json(&["env", "--json"]);
    assert_eq!(env_again["administrator"], env["administrator"]);
    drop(again);
    assert_eq!(site.json(&["env", "--json"])["administrator"], env["administrator"]);
}

#[test]
fn requests_that_are_wrong_are_refused_and_the_server_lives() {
    let site = Site::new();
    let served = Served::start(&site, &[]);
    let check = |request: String, expected: u16| {
        let mut stream = served.connect(MAIN);
        let answer = ask(&mut stream, &request);
        assert_eq!(answer.status, expected, "{}", request.get(..200).unwrap_or(&request));
    };
    let post = |more: &str| format!("POST /x HTTP/1.1\r\nHost: {MAIN}\r\n{more}\r\n\r\n");
    check("GET / HTTP/1.1\r\nHost: kv1.vault.azure.net\r\n\r\n".into(), 421);
    check("GET / HTTP/1.1\r\nHost: custody.localhost:x\r\n\r\n".into(), 421);
    check("GET / HTTP/1.1\r\n\r\n".into(), 400);
    check(post("Content-Length: 5000000"), 413);
    check(post("Content-Length: 99999999999999999999"), 400);
    check(post("Content-Length: 1\r\nContent-Length: 2"), 400);
    check(format!("GET /{} HTTP/1.1\r\nHost: {MAIN}\r\n\r\n", "x".repeat(20_000)), 414);
    let bodies: [&[u8]; 6] =
        [b"{\"a\":1,\"a\":2}", b"{\"a\":\"\xff\"}", b"{", b"[1] [2]", &[b'['; 10_000], b"\x00\x01"];
    for body in bodies {
        let answer = served.local("POST", "/custody/scan", body);
        assert_eq!((answer.status, answer.code().as_str()), (400, "InvalidRequestContent"));
    }
    assert_eq!(served.local("GET", "/custody/%2e%2e/%00", b"").status, 404);
    // What is no HTTP, or has no end, ends the connection; an answer may get lost with it.
    let endless = format!("GET / HTTP/1.1\r\nHost: {MAIN}\r\nX: {}\r\n\r\n", "x".repeat(200_000));
    for (said, status) in [("nonsense\r\n\r\n", "400"), (endless.as_str(), "431")] {
        let mut stream = served.connect(MAIN);
        let _ = stream.write_all(said.as_bytes());
        let mut heard = Vec::new();
        let _ = stream.read_to_end(&mut heard);
        let heard = String::from_utf8_lossy(&heard);
        assert!(heard.is_empty() || heard.starts_with(&format!("HTTP/1.1 {status} ")), "{heard}");
    }
    // A peer that speaks no TLS hears nothing that it would understand.
    let mut plain = TcpStream::connect(("127.0.0.1", served.port)).unwrap();
    plain.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    let mut heard = Vec::new();
    let _ = plain.read_to_end(&mut heard);
    assert!(!heard.starts_with(b"HTTP"));
    assert_eq!(served.get(MAIN, "/healthz").status, 200);
}

#[test]
fn a_stop_lets_requests_under_way_end() {
    let site = Site::protected();
    let served = Served::start(&site, &[]);
    let vault = served.local("GET", "/custody/status", b"").json()["vaults"][0]["id"].clone();
    let jobs = format!("{}/backupJobs", vault.as_str().unwrap());
    let version = "api-version=2025-07-01";
    let listed = served.local("GET", &format!("{jobs}?{version}"), b"").json();
    let job = listed["value"][0]["name"].as_str().unwrap().to_owned();
    // The job is over, so this request waits its whole second for a change.
    let path = format!("{jobs}/{job}?{version}&wait=1&after=999999");
    let mut waiting =
        std::os::unix::net::UnixStream::connect(site.data().join("server.sock")).unwrap();
    waiting.write_all(format!("GET {path} HTTP/1.1\r\nHost: {MAIN}\r\n\r\n").as_bytes()).unwrap();
    // The other request's answer shows that this one has been taken up before.
    assert_eq!(served.local("GET", "/custody/status", b"").status, 200);
    let reader = std::thread::spawn(move || Answer::read(&mut waiting));
    let (status, said) = served.stop();
    assert_eq!(reader.join().unwrap().status, 200);
    assert!(status.success(), "{said}");
    assert!(!said.contains("cut off"), "{said}");
    assert!(!site.data().join("server.sock").exists());
}

#[test]
fn many_connections_at_once_are_served() {
    let site = Site::new();
    let served = Served::start(&site, &[]);
    let request = format!("GET /healthz HTTP/1.1\r\nHost: {MAIN}\r\n\r\n");
    let mut streams: Vec<_> = (0..300).map(|_| served.connect(MAIN)).collect();
    for stream in &mut streams {
        assert_eq!(ask(stream, &request).status, 200);
    }
    for stream in &mut streams {
        assert_eq!(ask(stream, &request).status, 200);
    }
}

#[test]
fn commands_ask_the_server_that_runs_and_do_without_it_when_it_is_gone() {
    let site = Site::new();
    let served = Served::start(&site, &[]);
    site.write("letter.txt", b"the only copy");
    site.ok(&["protect", site.text(&site.source()), "--item", "docs"]);
    site.assert_restores("one");
    assert_eq!(site.ok(&["cat", "docs", "letter.txt"]), b"the only copy");
    let metrics = String::from_utf8(served.get(MAIN, "/metrics").body).unwrap();
    assert!(metrics.contains("custody_requests_total{surface=\"arm\",status=\"201\""), "{metrics}");
    let big: Vec<u8> = (0..3_000_000_u32).flat_map(u32::to_le_bytes).collect();
    site.write("big", &big);
    site.ok(&["protect", site.text(&site.source()), "--item", "docs"]);
    assert_eq!(site.ok(&["cat", "docs", "big"]), big);
    let ran = site.run(&["--verbose", "status"]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert!(ran.stderr.lines().any(|line| line.contains("GET ") && line.contains(" → 200 (")));
    // Killed, it leaves its socket behind: that must not hinder anybody.
    served.kill();
    assert!(site.data().join("server.sock").exists());
    site.assert_restores("two");
    site.ok(&["ledger", "verify"]);
    let again = Served::start(&site, &[]);
    site.assert_restores("three");
    drop(again);
}

#[test]
fn env_says_what_a_client_needs() {
    let site = Site::new();
    let served = Served::start(&site, &[]);
    let port = served.port;
    let env = site.json(&["env", "--json"]);
    assert_eq!(env["resourceManager"], format!("https://{MAIN}:{port}"));
    assert_eq!(env["authority"], format!("https://{MAIN}:{port}"));
    assert_eq!(env["keyVaultSuffix"], format!("vault.{MAIN}:{port}"));
    assert_eq!(env["managedHsmSuffix"], format!("managedhsm.{MAIN}:{port}"));
    assert_eq!(env["caFile"], site.text(&site.data().join("ca.pem")));
    for field in ["tenantId", "subscriptionId"] {
        assert_eq!(env[field].as_str().unwrap().len(), 36, "{field}");
    }
    assert!(env.as_object().unwrap().contains_key("managedIdentityEndpoint"));
    let script = String::from_utf8(site.ok(&["env", "--shell", "bash"])).unwrap();
    assert!(script.contains(&format!("export AZURE_AUTHORITY_HOST='https://{MAIN}:{port}'")));
    assert!(script.contains("az cloud register -n custody"));
    let hosts = site.path("hosts");
    std::fs::write(&hosts, "127.0.0.1 localhost\n").unwrap();
    site.ok(&["keyvault", "create", "-n", "my-keys"]);
    let trust = ["trust", "hosts", "--hosts-file", site.text(&hosts)];
    site.fails(&trust, 10, "ConfirmationMissing");
    let sure = [&trust[..], &["--yes"]].concat();
    site.ok(&sure);
    let first = std::fs::read_to_string(&hosts).unwrap();
    assert!(first.starts_with("127.0.0.1 localhost\n# custody "), "{first}");
    assert!(first.contains(&format!("127.0.0.1 {MAIN} my-keys.vault.{MAIN}\n")), "{first}");
    site.ok(&sure);
    assert_eq!(std::fs::read_to_string(&hosts).unwrap(), first);
    let (status, _) = served.stop();
    assert!(status.success());
    let without = site.json(&["env", "--json"]);
    assert_eq!(without["resourceManager"], format!("https://{MAIN}:8443"));
    assert_eq!(without["tenantId"], env["tenantId"]);
}

#[test]
fn a_second_server_takes_another_port_or_is_told_that_it_is_taken() {
    let site = Site::new();
    let first = Served::start(&site, &[]);
    let port = first.port.to_string();
    site.fails(&["up", "--port", &port], 6, "AddressInUse");
    let second = Served::start(&site, &[]);
    assert_ne!(first.port, second.port);
    assert_eq!(second.get(MAIN, "/healthz").status, 200);
    let (status, said) = second.stop();
    assert!(status.success(), "{said}");
    // The first one's socket is still there.
    assert_eq!(first.local("GET", "/custody/server", b"").json()["port"], first.port);
}

#[test]
fn settings_that_make_no_sense_are_refused() {
    let site = Site::new();
    site.fails(&["up", "--listen", "nowhere"], 2, "UsageError");
    site.fails(&["up", "--suffix", "x"], 2, "UsageError");
    site.fails(&["up", "--suffix", "*.example.com"], 2, "UsageError");
    let key = site.path("key.pem");
    std::fs::write(&key, "no key").unwrap();
    let files = ["--tls-cert", site.text(&key), "--tls-key", site.text(&key)];
    let up = [&["up", "--port", "0"][..], &files].concat();
    site.fails(&up, 1, "CertificateUnusable");
    std::fs::create_dir_all(site.data()).unwrap();
    std::fs::write(site.data().join("config.toml"), "[server]\nprot = 1\n").unwrap();
    site.fails(&["up"], 2, "ConfigurationInvalid");
}

#[test]
fn a_virtual_clock_moves_when_told_and_never_mixes_with_the_real_one() {
    let site = Site::new();
    let served = Served::start(&site, &["--virtual-clock"]);
    site.ok(&["keyvault", "create", "-n", "drill-keys", "--retention-days", "7"]);
    site.ok(&["keyvault", "delete", "-n", "drill-keys", "--yes"]);
    assert_eq!(site.json(&["keyvault", "list-deleted"]).as_array().unwrap().len(), 1);
    let before = served.local("GET", "/custody/clock", b"").json();
    assert_eq!(before["virtual"], json!(true));
    let body = json!({ "advanceSeconds": 8 * 24 * 3600 }).to_string();
    assert_eq!(served.local("POST", "/custody/clock", body.as_bytes()).status, 200);
    // What fell due was done before the answer came.
    assert_eq!(site.json(&["keyvault", "list-deleted"]).as_array().unwrap().len(), 0);
    let back = json!({ "to": before["now"] }).to_string();
    assert_eq!(served.local("POST", "/custody/clock", back.as_bytes()).status, 400);
    served.kill();
    site.fails(&["status"], 6, "ClockIsVirtual");
    site.fails(&["up", "--port", "0"], 6, "ClockIsVirtual");
    let again = Served::start(&site, &["--virtual-clock"]);
    let after = again.local("GET", "/custody/clock", b"").json();
    assert!(after["now"].as_str() > before["now"].as_str());
    drop(again);

    let real = Site::protected();
    real.fails(&["up", "--port", "0", "--virtual-clock"], 6, "ClockIsReal");
    real.ok(&["status"]);
    let served = Served::start(&real, &[]);
    let answer = served.local("POST", "/custody/clock", body.as_bytes());
    assert_eq!((answer.status, answer.code().as_str()), (409, "ClockNotVirtual"));
}
