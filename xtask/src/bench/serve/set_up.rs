//! What a key officer makes before there is anything to measure: a key vault, keys, and callers
//! that may use them.

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use crate::bench::serve::connection::{Address, Connection};
use crate::bench::serve::http::Request;
use crate::bench::serve::server::{Server, Site};
use crate::failure::{Failure, Trying};

/// The key vault that holds the keys.
const KEY_VAULT: &str = "bench-keys";
/// The role of those who use keys, as everyone knows it.
const CRYPTO_USER: &str = "12338af0-0e69-4776-bea7-57ae8d297424";
/// The role of those who make keys.
const CRYPTO_OFFICER: &str = "14b46e9e-c2b7-41b4-b07b-48a6ebf60603";
const JSON: &str = "application/json";
const FORM: &str = "application/x-www-form-urlencoded";
/// How often a throttled request of the set-up is sent again.
const ATTEMPTS_MAX: u32 = 60;

/// An application with a secret.
pub(crate) struct Caller {
    client_id: String,
    object_id: String,
    secret: String,
}

/// A served installation that can be measured.
pub(crate) struct World {
    pub(crate) address: Address,
    /// Host name of ARM and tokens, and with the port.
    pub(crate) main_host: String,
    main: String,
    /// Host name of the key vault, and with the port.
    pub(crate) vault_host: String,
    pub(crate) vault: String,
    tenant: String,
    group: String,
    pub(crate) officer: Caller,
    /// Two that may use keys, so that one can load the server while the other works.
    pub(crate) users: [Caller; 2],
}

impl World {
    /// Makes group, key vault, callers and roles on an installation that has none yet.
    pub(crate) fn make(site: &Site, server: &Server) -> Result<Self, Failure> {
        let facts = site.facts()?;
        let fact = |path: &str| text(&facts, path);
        let main = format!("custody.localhost:{}", server.port);
        let officer = Caller {
            client_id: fact("/administrator/clientId")?,
            object_id: fact("/administrator/objectId")?,
            secret: fs::read_to_string(fact("/administrator/clientSecretFile")?)
                .trying("the administrator's secret")?
                .trim()
                .to_owned(),
        };
        let mut ready = Preparing {
            connection: Connection::open(
                &Address::new(server.port, &site.authority_file())?,
                "custody.localhost",
            )?,
            main: main.clone(),
            token: String::new(),
        };
        let tenant = fact("/tenantId")?;
        ready.token = ready.token(&tenant, &officer, &format!("https://{main}"))?;
        let group = format!("/subscriptions/{}/resourceGroups/bench", fact("/subscriptionId")?);
        ready.ask(
            "PUT",
            &format!("{group}?api-version=2021-04-01"),
            &json!({"location": "local"}),
        )?;
        let vault = format!("{group}/providers/Microsoft.KeyVault/vaults/{KEY_VAULT}");
        let properties = json!({
            "tenantId": tenant,
            "sku": {"family": "A", "name": "standard"},
            "enableRbacAuthorization": true,
        });
        let body = json!({"location": "local", "properties": properties});
        ready.ask("PUT", &format!("{vault}?api-version=2023-07-01"), &body)?;
        let users = [ready.caller("bench-first")?, ready.caller("bench-second")?];
        ready.grant(&vault, CRYPTO_OFFICER, &officer, 0)?;
        for (number, user) in (1..).zip(&users) {
            ready.grant(&vault, CRYPTO_USER, user, number)?;
        }
        let vault_host = format!("{KEY_VAULT}.vault.custody.localhost");
        Ok(Self {
            address: Address::new(server.port, &site.authority_file())?,
            main_host: "custody.localhost".to_owned(),
            vault: format!("{vault_host}:{}", server.port),
            main,
            vault_host,
            tenant,
            group,
            officer,
            users,
        })
    }

    /// The administrator's way to the main host.
    pub(crate) fn arm(&self) -> Result<Arm<'_>, Failure> {
        let mut connection = Connection::open(&self.address, &self.main_host)?;
        let resource = format!("https://{}", self.main);
        let request = self.officer.token_request(&self.main, &self.tenant, &resource);
        let token = text(&succeed(&mut connection, &request)?, "/access_token")?;
        Ok(Arm { world: self, group: &self.group, token })
    }

    /// The request by which a caller gets a token for the key vault.
    pub(crate) fn token_request(&self, caller: &Caller) -> Vec<u8> {
        let port = self.address.port;
        let resource = format!("https://vault.custody.localhost:{port}");
        caller.token_request(&self.main, &self.tenant, &resource)
    }

    /// A token for the key vault.
    pub(crate) fn token(&self, caller: &Caller) -> Result<String, Failure> {
        let mut connection = Connection::open(&self.address, &self.main_host)?;
        let answer = succeed(&mut connection, &self.token_request(caller))?;
        text(&answer, "/access_token")
    }

    /// A request to the key vault, with a token.
    pub(crate) fn request(
        &self,
        token: &str,
        method: &str,
        target: &str,
        body: Option<&Value>,
    ) -> Arc<[u8]> {
        let body = body.map(Value::to_string);
        let body = body.as_deref().map(|body| (JSON, body));
        let authority = &self.vault;
        Request { method, authority, target, token: Some(token), body }.bytes().into()
    }

    /// Makes an RSA key and returns its version.
    pub(crate) fn make_rsa_key(&self, bits: u32) -> Result<String, Failure> {
        let officer = self.token(&self.officer)?;
        let mut connection = Connection::open(&self.address, &self.vault_host)?;
        let body = json!({"kty": "RSA", "key_size": bits});
        let create = format!("/keys/rsa-{bits}/create?api-version=7.4");
        let made = succeed(&mut connection, &self.request(&officer, "POST", &create, Some(&body)))?;
        let kid = text(&made, "/key/kid")?;
        Ok(kid.rsplit('/').next().unwrap_or_default().to_owned())
    }

    /// Makes an RSA key and returns the request that unwraps a data key with it.
    pub(crate) fn unwrap_request(&self, caller: &Caller, bits: u32) -> Result<Arc<[u8]>, Failure> {
        let version = self.make_rsa_key(bits)?;
        let token = self.token(caller)?;
        let mut connection = Connection::open(&self.address, &self.vault_host)?;
        let mut operation = |name: &str, value: &str| {
            let target = format!("/keys/rsa-{bits}/{version}/{name}?api-version=7.4");
            let body = json!({"alg": "RSA-OAEP-256", "value": value});
            let request = self.request(&token, "POST", &target, Some(&body));
            let answer = succeed(&mut connection, &request)?;
            Ok::<_, Failure>((text(&answer, "/value")?, request))
        };
        let data_key = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8";
        let (wrapped, _) = operation("wrapkey", data_key)?;
        let (unwrapped, request) = operation("unwrapkey", &wrapped)?;
        if unwrapped != data_key {
            return Err(Failure::new(format!(
                "rsa-{bits} unwraps something else than was wrapped"
            )));
        }
        Ok(request)
    }
}

impl Caller {
    fn token_request(&self, main: &str, tenant: &str, resource: &str) -> Vec<u8> {
        let Self { client_id, secret, .. } = self;
        let scope = percent_encoded(&format!("{resource}/.default"));
        let secret = percent_encoded(secret);
        let form = format!(
            "grant_type=client_credentials&client_id={client_id}&client_secret={secret}&scope={scope}"
        );
        let target = format!("/{tenant}/oauth2/v2.0/token");
        let body = Some((FORM, form.as_str()));
        Request { method: "POST", authority: main, target: &target, token: None, body }.bytes()
    }
}

/// The administrator, asking ARM.
pub(crate) struct Arm<'w> {
    world: &'w World,
    /// The group that everything lies in.
    pub(crate) group: &'w str,
    token: String,
}

impl Arm<'_> {
    /// A request.
    pub(crate) fn request(&self, method: &str, target: &str, body: Option<&Value>) -> Arc<[u8]> {
        let body = body.map(Value::to_string);
        let body = body.as_deref().map(|body| (JSON, body));
        let (authority, token) = (self.world.main.as_str(), Some(self.token.as_str()));
        Request { method, authority, target, token, body }.bytes().into()
    }

    /// Sends a request that must succeed.
    pub(crate) fn ask(&self, method: &str, target: &str, body: &Value) -> Result<Value, Failure> {
        self.send(&self.request(method, target, Some(body)))
    }

    pub(crate) fn get(&self, target: &str) -> Result<Value, Failure> {
        self.send(&self.request("GET", target, None))
    }

    fn send(&self, request: &[u8]) -> Result<Value, Failure> {
        let mut connection = Connection::open(&self.world.address, &self.world.main_host)?;
        succeed(&mut connection, request)
    }

    /// Makes a user-assigned identity; its id.
    pub(crate) fn identity(&self, name: &str) -> Result<String, Failure> {
        let kind = "Microsoft.ManagedIdentity/userAssignedIdentities";
        let id = format!("{}/providers/{kind}/{name}", self.group);
        let target = format!("{id}?api-version=2024-11-30");
        self.ask("PUT", &target, &json!({"location": "local"}))?;
        Ok(id)
    }

    pub(crate) fn grant(
        &self,
        scope: &str,
        role: &str,
        to: &Caller,
        number: u8,
    ) -> Result<(), Failure> {
        let (target, body) = assignment(scope, role, to, number);
        self.ask("PUT", &target, &body).map(drop)
    }
}

/// Path and body of a role assignment.
fn assignment(scope: &str, role: &str, to: &Caller, number: u8) -> (String, Value) {
    let name = format!("00000000-0000-0000-0000-0000000000{number:02}");
    let assignment = format!("{scope}/providers/Microsoft.Authorization/roleAssignments/{name}");
    let definition = format!("/providers/Microsoft.Authorization/roleDefinitions/{role}");
    let properties = json!({
        "roleDefinitionId": definition,
        "principalId": to.object_id,
        "principalType": "ServicePrincipal",
    });
    (format!("{assignment}?api-version=2022-04-01"), json!({"properties": properties}))
}

/// The administrator at work on the main host.
struct Preparing {
    connection: Connection,
    main: String,
    token: String,
}

impl Preparing {
    fn token(&mut self, tenant: &str, caller: &Caller, resource: &str) -> Result<String, Failure> {
        let request = caller.token_request(&self.main, tenant, resource);
        text(&succeed(&mut self.connection, &request)?, "/access_token")
    }

    fn ask(&mut self, method: &str, target: &str, body: &Value) -> Result<Value, Failure> {
        let body = body.to_string();
        let (token, body) = (Some(self.token.as_str()), Some((JSON, body.as_str())));
        let request = Request { method, authority: &self.main, target, token, body }.bytes();
        succeed(&mut self.connection, &request)
    }

    /// An application, its service principal and a secret.
    fn caller(&mut self, name: &str) -> Result<Caller, Failure> {
        let body = json!({"displayName": name});
        let application = self.ask("POST", "/v1.0/applications", &body)?;
        let client_id = text(&application, "/appId")?;
        let body = json!({"appId": client_id});
        let principal = self.ask("POST", "/v1.0/servicePrincipals", &body)?;
        let add = format!("/v1.0/applications/{}/addPassword", text(&application, "/id")?);
        let secret =
            self.ask("POST", &add, &json!({"passwordCredential": {"displayName": name}}))?;
        let object_id = text(&principal, "/id")?;
        Ok(Caller { client_id, object_id, secret: text(&secret, "/secretText")? })
    }

    fn grant(&mut self, scope: &str, role: &str, to: &Caller, number: u8) -> Result<(), Failure> {
        let (target, body) = assignment(scope, role, to, number);
        self.ask("PUT", &target, &body).map(drop)
    }
}

/// Sends a request that must succeed; if it is throttled, again after the time that is named.
fn succeed(connection: &mut Connection, request: &[u8]) -> Result<Value, Failure> {
    for _ in 0..ATTEMPTS_MAX {
        let answer = connection.ask(request)?;
        match (answer.status, answer.retry_after_s) {
            (200..=204, _) if answer.body.is_empty() => return Ok(Value::Null),
            (200..=204, _) => return serde_json::from_slice(answer.body).trying("an answer"),
            (429, Some(seconds)) => std::thread::sleep(Duration::from_secs(seconds)),
            (status, _) => {
                let line = request.split(|byte| *byte == b'\r').next().unwrap_or_default();
                let line = String::from_utf8_lossy(line);
                let said = String::from_utf8_lossy(answer.body);
                return Err(Failure::new(format!("{line}: status {status}: {said}")));
            }
        }
    }
    Err(Failure::new("the set-up was throttled without end"))
}

fn text(value: &Value, path: &str) -> Result<String, Failure> {
    let text = value.pointer(path).and_then(Value::as_str).map(str::to_owned);
    text.ok_or_else(|| Failure::new(format!("an answer has no {path}: {value}")))
}

/// All but letters and digits as `%XX`, for a form.
fn percent_encoded(text: &str) -> String {
    let encoded = text.bytes().map(|byte| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => char::from(byte).to_string(),
        other => format!("%{other:02X}"),
    });
    encoded.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_hold_any_secret() {
        assert_eq!(percent_encoded("aZ9~+/=."), "aZ9%7E%2B%2F%3D%2E");
        assert_eq!(percent_encoded("ü"), "%C3%BC");
    }
}
