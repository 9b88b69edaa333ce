//! The least of Microsoft Graph that `az ad` and role assignments by name need: applications,
//! service principals, and empty lists of what there is not yet. It shows and changes the caller's
//! own tenant alone. Every principal of the tenant may read; to write takes the right to grant
//! roles in it (`docs/rest-api.md`).

mod filter;
mod objects;

use custody_directory::Wish;
use custody_names::{ClientId, CorrelationId, PrincipalId};
use custody_resources::Refusal;
use custody_worker::{
    ApplicationChange, Author, CertificateWish, Holder, Platform, Principal, absent,
};
use data_encoding::BASE64;
use http::{Method, Response};
use serde::Deserialize as _;
use serde_json::{Map, Value, json};

use crate::base::Base;
use crate::reply::{self, Body};
use crate::server::Call;
use filter::Filter;

/// Most ids that may be looked up at once (Graph's limit).
const IDS_MAX: usize = 1_000;
/// The first segment of every path.
const VERSION: &str = "v1.0";

/// Whether a path is Graph's.
pub(crate) fn is_graph(path: &str) -> bool {
    path.split('/').find(|part| !part.is_empty()) == Some(VERSION)
}

/// Status and body.
type Answered = Result<(u16, Option<Value>), Refusal>;

/// One request, with what it takes to answer it.
struct Desk<'a> {
    platform: &'a Platform,
    base: &'a Base,
    call: &'a Call<'a>,
}

/// Answers one request below `/v1.0/`.
pub(crate) fn answer(platform: &Platform, base: &Base, call: &Call<'_>) -> Response<Body> {
    let desk = Desk { platform, base, call };
    match desk.answer() {
        Ok((status, body)) => reply::json(status, body.as_ref()),
        Err(refusal) => self::refusal(&refusal, call.correlation),
    }
}

impl Desk<'_> {
    fn answer(&self) -> Answered {
        let path = keyed(&self.call.path);
        let segments: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).skip(1).collect();
        let get = matches!(*self.call.method, Method::GET | Method::HEAD);
        match segments.as_slice() {
            ["applications", rest @ ..] => self.applications(rest),
            ["servicePrincipals", rest @ ..] => self.service_principals(rest),
            ["directoryObjects", "getByIds"] if *self.call.method == Method::POST => self.by_ids(),
            ["organization"] if get => self.organization(),
            ["me", ..] if get => {
                let text = "/me request is only valid with delegated authentication flow.";
                Err(Refusal::new(400, "BadRequest", text))
            }
            ["users" | "groups" | "oauth2PermissionGrants"] if get => self.list(Vec::new()),
            ["users" | "groups", id] if get => Err(not_found(id)),
            _ => {
                let text = format!("Resource not found for the segment '{}'.", segments.join("/"));
                Err(Refusal::new(404, "Request_ResourceNotFound", text))
            }
        }
    }

    fn applications(&self, rest: &[&str]) -> Answered {
        let (platform, body) = (self.platform, &self.call.body);
        match (self.call.method.as_str(), rest) {
            ("GET" | "HEAD", []) => {
                let all = platform.applications(self.call.caller.tenant)?;
                self.list(all.iter().map(objects::application).collect())
            }
            ("POST", []) => {
                let made = platform.create_application(self.author(), &change(body)?)?;
                Ok((201, Some(objects::application(&made))))
            }
            ("GET" | "HEAD", [id]) => self.application(id).map(|found| (200, Some(found))),
            ("PATCH", [id]) => {
                platform.update_application(self.author(), self.object(id)?, &change(body)?)?;
                Ok((204, None))
            }
            ("DELETE", [id]) => {
                platform.delete_application(self.author(), self.object(id)?)?;
                Ok((204, None))
            }
            ("POST", [id, verb]) => self.credential(Holder::Application(self.object(id)?), verb),
            ("GET" | "HEAD", [_, "owners"]) => self.list(Vec::new()),
            _ => Err(not_served(self.call)),
        }
    }

    fn service_principals(&self, rest: &[&str]) -> Answered {
        let (platform, body) = (self.platform, &self.call.body);
        match (self.call.method.as_str(), rest) {
            ("GET" | "HEAD", []) => self.list(self.all_principals()?),
            ("POST", []) => {
                let app: ClientId = text(body, "appId")?.parse().map_err(|_| {
                    Refusal::bad_request("Invalid value specified for property 'appId'.")
                })?;
                let enabled = body.get("accountEnabled").and_then(Value::as_bool);
                let author = self.author();
                let principal =
                    platform.create_service_principal(author, app, enabled.unwrap_or(true))?;
                let application = platform.application(app)?;
                let made = Principal { principal, application };
                Ok((201, Some(objects::service_principal(&made))))
            }
            ("GET" | "HEAD", [id]) => self.principal(id).map(|found| (200, Some(found))),
            ("PATCH", [id]) => self.change_principal(self.principal_object(id)?),
            ("DELETE", [id]) => {
                platform.delete_service_principal(self.author(), self.principal_object(id)?)?;
                Ok((204, None))
            }
            ("POST", [id, verb]) => {
                self.credential(Holder::ServicePrincipal(self.principal_object(id)?), verb)
            }
            (
                "GET" | "HEAD",
                [_, "owners" | "appRoleAssignments" | "appRoleAssignedTo" | "memberOf"],
            ) => self.list(Vec::new()),
            _ => Err(not_served(self.call)),
        }
    }

    fn change_principal(&self, object: PrincipalId) -> Answered {
        let body = &self.call.body;
        if let Some(enabled) = body.get("accountEnabled").and_then(Value::as_bool) {
            self.platform.enable_service_principal(self.author(), object, enabled)?;
        }
        if let Some(certificates) = certificates(body)? {
            self.platform.set_certificates(self.author(), object, &certificates)?;
        }
        Ok((204, None))
    }

    /// `addPassword` and `removePassword`.
    fn credential(&self, holder: Holder, verb: &str) -> Answered {
        let body = &self.call.body;
        match verb {
            "addPassword" => {
                let wish = body.get("passwordCredential").cloned().unwrap_or_else(|| json!({}));
                let wish = Wish::deserialize(wish).map_err(|error| {
                    Refusal::bad_request(format!("passwordCredential: {error}"))
                })?;
                let new = self.platform.add_password(self.author(), holder, &wish)?;
                let body = json!({
                    "keyId": new.kept.key_id,
                    "displayName": new.kept.display_name,
                    "hint": new.kept.hint,
                    "startDateTime": new.kept.start,
                    "endDateTime": new.kept.end,
                    "secretText": std::str::from_utf8(new.secret.expose()).unwrap_or_default(),
                    "customKeyIdentifier": null,
                });
                Ok((200, Some(body)))
            }
            "removePassword" => {
                self.platform.remove_password(self.author(), holder, text(body, "keyId")?)?;
                Ok((204, None))
            }
            _ => Err(not_served(self.call)),
        }
    }

    fn by_ids(&self) -> Answered {
        let ids = self.call.body.get("ids").and_then(Value::as_array);
        let ids = ids.ok_or_else(|| Refusal::bad_request("the body names no ids"))?;
        if ids.len() > IDS_MAX {
            return Err(Refusal::bad_request(format!("at most {IDS_MAX} ids at once")));
        }
        let applications = self.platform.applications(self.call.caller.tenant)?;
        let typed = |mut object: Value, kind: &str| {
            if let Some(fields) = object.as_object_mut() {
                fields.insert("@odata.type".into(), format!("#microsoft.graph.{kind}").into());
            }
            object
        };
        let principals = self.all_principals()?;
        let principals = principals.into_iter().map(|object| typed(object, "servicePrincipal"));
        let applications =
            applications.iter().map(|one| typed(objects::application(one), "application"));
        let wanted = |object: &Value| {
            let own = object.get("id").and_then(Value::as_str).unwrap_or_default();
            ids.iter().any(|id| id.as_str().is_some_and(|id| id.eq_ignore_ascii_case(own)))
        };
        let found: Vec<Value> = principals.chain(applications).filter(wanted).collect();
        Ok((200, Some(json!({ "value": found }))))
    }

    fn organization(&self) -> Answered {
        let tenant = self.call.caller.tenant;
        let tenants = self.platform.tenants()?;
        let name = tenants.into_iter().find(|(id, _)| *id == tenant).map(|(_, name)| name);
        let domain = &self.base.suffix;
        let organization = json!({
            "id": tenant,
            "displayName": name,
            "tenantType": "AAD",
            "verifiedDomains": [{ "name": domain, "isDefault": true, "isInitial": true }],
        });
        Ok((200, Some(json!({ "value": [organization] }))))
    }

    /// The objects that pass `$filter`.
    fn list(&self, objects: Vec<Value>) -> Answered {
        let filter = match self.call.parameter("$filter") {
            Some(text) => Filter::read(text).ok_or_else(|| {
                let text = format!("Unsupported or invalid query filter clause: {text:.200}");
                Refusal::new(400, "Request_UnsupportedQuery", text)
            })?,
            None => Filter::default(),
        };
        let value: Vec<Value> = objects.into_iter().filter(|one| filter.passes(one)).collect();
        Ok((200, Some(json!({ "value": value }))))
    }

    fn all_principals(&self) -> Result<Vec<Value>, Refusal> {
        let tenant = self.call.caller.tenant;
        let principals = self.platform.service_principals(tenant)?;
        let identities = self.platform.identities(tenant)?;
        let principals = principals.iter().map(objects::service_principal);
        let identities =
            identities.iter().map(|identity| objects::managed_identity(identity, tenant));
        Ok(principals.chain(identities).collect())
    }

    fn application(&self, id: &str) -> Result<Value, Refusal> {
        let all = self.platform.applications(self.call.caller.tenant)?;
        let mut all = all.iter().map(objects::application);
        all.find(|object| is_named(object, id)).ok_or_else(|| not_found(id))
    }

    fn principal(&self, id: &str) -> Result<Value, Refusal> {
        let found = self.all_principals()?.into_iter().find(|object| is_named(object, id));
        found.ok_or_else(|| not_found(id))
    }

    /// The object id behind an id or alternate key.
    fn object(&self, id: &str) -> Result<PrincipalId, Refusal> {
        match id.strip_prefix(BY_APP) {
            Some(_) => object_id(&self.application(id)?),
            None => id.parse().map_err(|_| not_found(id)),
        }
    }

    fn principal_object(&self, id: &str) -> Result<PrincipalId, Refusal> {
        match id.strip_prefix(BY_APP) {
            Some(_) => object_id(&self.principal(id)?),
            None => id.parse().map_err(|_| not_found(id)),
        }
    }

    fn author(&self) -> Author<'_> {
        Author { caller: &self.call.caller, correlation: self.call.correlation }
    }
}

/// How an alternate key stands in a path once it is a segment of its own.
const BY_APP: &str = "appId=";

/// Makes `/applications(appId='x')` into `/applications/appId=x`.
fn keyed(path: &str) -> String {
    path.replace("(appId='", "/appId=").replace("')", "")
}

fn is_named(object: &Value, id: &str) -> bool {
    let (property, wanted) = match id.strip_prefix(BY_APP) {
        Some(app) => ("appId", app),
        None => ("id", id),
    };
    let own = object.get(property).and_then(Value::as_str);
    own.is_some_and(|own| own.eq_ignore_ascii_case(wanted))
}

fn object_id(object: &Value) -> Result<PrincipalId, Refusal> {
    let id = object.get("id").and_then(Value::as_str).and_then(|id| id.parse().ok());
    id.ok_or_else(|| Refusal::bug("an object of the directory has no id"))
}

fn change(body: &Value) -> Result<ApplicationChange, Refusal> {
    let fields = body.as_object().ok_or_else(|| Refusal::bad_request("the body is no object"))?;
    let word = |name: &str| fields.get(name).and_then(Value::as_str).map(str::to_owned);
    let given = fields.get("passwordCredentials").and_then(Value::as_array);
    if given.is_some_and(|given| given.iter().any(|one| one.get("secretText").is_some())) {
        let text = "secrets are made here: POST …/addPassword returns a new one";
        return Err(Refusal::bad_request(text));
    }
    Ok(ApplicationChange {
        display_name: word("displayName"),
        identifier_uris: uris(fields)?,
        sign_in_audience: word("signInAudience"),
        certificates: certificates(body)?,
    })
}

fn uris(fields: &Map<String, Value>) -> Result<Option<Vec<String>>, Refusal> {
    match fields.get("identifierUris") {
        None | Some(Value::Null) => Ok(None),
        Some(given) => serde_json::from_value(given.clone())
            .map(Some)
            .map_err(|error| Refusal::bad_request(format!("identifierUris: {error}"))),
    }
}

/// The wished certificates, if the body says anything of them.
fn certificates(body: &Value) -> Result<Option<Vec<CertificateWish>>, Refusal> {
    let Some(given) = body.get("keyCredentials").filter(|given| !given.is_null()) else {
        return Ok(None);
    };
    let given =
        given.as_array().ok_or_else(|| Refusal::bad_request("keyCredentials must be a list"))?;
    let wishes = given.iter().map(|one| {
        let Some(key) = one.get("key").and_then(Value::as_str) else {
            return Ok(CertificateWish::Kept(text(one, "keyId")?.to_owned()));
        };
        let bare: String = key.split_ascii_whitespace().collect();
        let der = BASE64.decode(bare.as_bytes()).map_err(|error| {
            Refusal::bad_request(format!("keyCredentials.key is no base64: {error}"))
        })?;
        let wish = Wish::deserialize(one)
            .map_err(|error| Refusal::bad_request(format!("keyCredentials: {error}")))?;
        Ok(CertificateWish::New(der, wish))
    });
    wishes.collect::<Result<Vec<_>, Refusal>>().map(Some)
}

fn text<'b>(body: &'b Value, name: &str) -> Result<&'b str, Refusal> {
    body.get(name)
        .and_then(Value::as_str)
        .ok_or_else(|| Refusal::bad_request(format!("the body names no {name}")))
}

fn not_found(id: &str) -> Refusal {
    let unnamed = |_: custody_names::InvalidName| {
        let text = format!("Resource '{id:.200}' does not exist.");
        Refusal::new(404, "Request_ResourceNotFound", text)
    };
    id.parse().map_or_else(unnamed, absent)
}

fn not_served(call: &Call<'_>) -> Refusal {
    let text = format!("{} {} is not served", call.method, call.path);
    Refusal::new(404, "Request_BadRequest", text)
}

/// Graph's error body.
fn refusal(refusal: &Refusal, correlation: CorrelationId) -> Response<Body> {
    let (code, message) = match refusal.code.as_ref() {
        "AuthorizationFailed" => {
            let text =
                format!("Insufficient privileges to complete the operation. {}", refusal.message);
            ("Authorization_RequestDenied", text)
        }
        "InvalidRequestContent" => ("Request_BadRequest", refusal.message.clone()),
        code => (code, refusal.message.clone()),
    };
    let body = json!({
        "error": {
            "code": code,
            "message": message,
            "innerError": { "request-id": correlation, "client-request-id": correlation },
        }
    });
    reply::json(refusal.status, Some(&body))
}
