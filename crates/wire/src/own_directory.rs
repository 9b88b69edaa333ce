//! custody's own requests about the directory: tenants, identities on this host, the signing key.

use std::sync::Arc;

use custody_names::ResourceId;
use custody_resources::Refusal;
use custody_worker::{AdministratorApplication, Author, Platform};
use http::Method;
use serde_json::{Value, json};

use crate::own;
use crate::server::{Call, Server};

impl Server {
    /// The application that administers the first tenant, made if it is not there; its secret is
    /// in the answer when it was made just now. With `renew` it gets another one.
    pub fn administrator_application(
        &self,
        renew: bool,
    ) -> Result<AdministratorApplication, Refusal> {
        self.platform.ensure_administrator_application(renew)
    }
}

/// Answers what is below `/custody/` and about the directory; `None` for everything else.
pub(crate) fn answer(
    platform: &Arc<Platform>,
    call: &Call<'_>,
    segments: &[&str],
) -> Option<Result<Value, Refusal>> {
    let author = Author { caller: &call.caller, correlation: call.correlation };
    Some(match (call.method, segments) {
        (&Method::GET, ["tenants"]) => tenants(platform, call),
        (&Method::POST, ["tenants"]) => create_tenant(platform, author, &call.body),
        (&Method::POST, ["subscriptions", id, "transfer"]) => {
            transfer(platform, author, id, &call.body)
        }
        (&Method::GET, ["host", "identities"]) => {
            own::permit(platform, call, "Microsoft.Authorization/hostIdentities/read")
                .and_then(|()| attached(platform))
        }
        (&Method::POST, ["host", "identities"]) => attach(platform, author, &call.body),
        (&Method::DELETE, ["host", "identities"]) => {
            let id = call.parameter("identityId").unwrap_or_default();
            let workload = call.parameter("workload");
            identity(id)
                .and_then(|id| platform.detach_identity(author, &id, workload).map(|()| json!({})))
        }
        (&Method::POST, ["signingKey", "rotate"]) => {
            platform.rotate_signing_key(author).map(|kid| json!({ "kid": kid }))
        }
        _ => return None,
    })
}

/// A caller sees its own tenant; one who may read at the root, all.
fn tenants(platform: &Platform, call: &Call<'_>) -> Result<Value, Refusal> {
    let all = platform.tenants()?;
    let sees_all = own::permit(platform, call, "Microsoft.Authorization/tenants/read").is_ok();
    let shown = all.iter().filter(|(id, _)| sees_all || *id == call.caller.tenant);
    let shown = shown.map(|(id, name)| json!({ "tenantId": id, "displayName": name }));
    Ok(json!({ "value": shown.collect::<Vec<_>>() }))
}

fn create_tenant(platform: &Platform, author: Author<'_>, body: &Value) -> Result<Value, Refusal> {
    let made = platform.create_tenant(author, text(body, "displayName")?)?;
    let secret = made.administrator.secret.as_ref();
    let secret = secret.and_then(|secret| std::str::from_utf8(secret.expose()).ok());
    Ok(json!({
        "tenantId": made.tenant_id,
        "subscriptionId": made.subscription_id,
        "administrator": {
            "clientId": made.administrator.client_id,
            "objectId": made.administrator.object_id,
            "clientSecret": secret,
        },
    }))
}

/// Moves a subscription to another tenant; with `dryRun` says what that would mean.
fn transfer(
    platform: &Arc<Platform>,
    author: Author<'_>,
    subscription: &str,
    body: &Value,
) -> Result<Value, Refusal> {
    let wrong = |error: custody_names::InvalidName| Refusal::bad_request(error.to_string());
    let subscription = subscription.parse().map_err(wrong)?;
    let tenant = text(body, "tenantId")?.parse().map_err(wrong)?;
    let dry_run = body.get("dryRun").and_then(Value::as_bool).unwrap_or(false);
    let transfer = platform.transfer_subscription(author, subscription, tenant, dry_run)?;
    serde_json::to_value(transfer).map_err(|error| Refusal::bug(error.to_string()))
}

fn attached(platform: &Platform) -> Result<Value, Refusal> {
    let shown = platform.workloads()?.into_iter().map(|workload| {
        let form =
            if workload.name == custody_directory::WHOLE_HOST { "imds" } else { "appService" };
        json!({ "workload": workload.name, "form": form, "identities": workload.identities })
    });
    Ok(json!({ "value": shown.collect::<Vec<_>>() }))
}

fn attach(platform: &Platform, author: Author<'_>, body: &Value) -> Result<Value, Refusal> {
    let id = identity(text(body, "identityId")?)?;
    let workload = body.get("workload").and_then(Value::as_str);
    let renew = body.get("renewHeader").and_then(Value::as_bool).unwrap_or(false);
    let attached = platform.attach_identity(author, &id, workload, renew)?;
    let header = attached.header.as_ref();
    let header = header.and_then(|header| std::str::from_utf8(header.expose()).ok());
    Ok(json!({
        "workload": attached.workload,
        "identityHeader": header,
        "path": workload.map(|_| crate::managed_identity::APP_SERVICE),
    }))
}

fn identity(text: &str) -> Result<ResourceId, Refusal> {
    text.parse()
        .map_err(|error: custody_names::InvalidName| Refusal::bad_request(error.to_string()))
}

fn text<'b>(body: &'b Value, name: &str) -> Result<&'b str, Refusal> {
    body.get(name)
        .and_then(Value::as_str)
        .ok_or_else(|| Refusal::bad_request(format!("the body names no {name}")))
}
