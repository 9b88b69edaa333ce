//! Directory objects as Graph shows them.

use custody_directory::{Application, Certificate, Credentials, UserAssignedIdentity};
use custody_names::TenantId;
use custody_resources::Stored;
use custody_worker::Principal;
use data_encoding::{BASE64, BASE64URL_NOPAD, HEXUPPER};
use serde_json::{Value, json};

/// An application.
pub(crate) fn application(found: &Stored<Application>) -> Value {
    let credentials = &found.spec.credentials;
    json!({
        "id": found.status.object_id,
        "appId": found.status.app_id,
        "displayName": found.spec.display_name,
        "identifierUris": found.spec.identifier_uris,
        "signInAudience": found.spec.sign_in_audience,
        "createdDateTime": found.status.created,
        "deletedDateTime": null,
        "passwordCredentials": passwords(credentials),
        "keyCredentials": certificates(credentials),
        "appRoles": [],
        "requiredResourceAccess": [],
        "tags": [],
        "web": { "homePageUrl": null, "redirectUris": [] },
        "publicClient": { "redirectUris": [] },
        "spa": { "redirectUris": [] },
        "isFallbackPublicClient": null,
    })
}

/// The service principal of an application.
pub(crate) fn service_principal(found: &Principal) -> Value {
    let Principal { principal, application } = found;
    let mut names = vec![principal.status.app_id.to_string()];
    names.extend(application.iter().flat_map(|found| found.spec.identifier_uris.clone()));
    let credentials = &principal.spec.credentials;
    json!({
        "id": principal.status.object_id,
        "appId": principal.status.app_id,
        "displayName": principal.spec.display_name,
        "appDisplayName":
            application.as_ref().map_or(&principal.spec.display_name, |found| &found.spec.display_name),
        "appOwnerOrganizationId": principal.status.home_tenant,
        "accountEnabled": principal.spec.account_enabled,
        "servicePrincipalType": "Application",
        "servicePrincipalNames": names,
        "alternativeNames": [],
        "signInAudience": application.as_ref().map(|found| &found.spec.sign_in_audience),
        "createdDateTime": principal.status.created,
        "passwordCredentials": passwords(credentials),
        "keyCredentials": certificates(credentials),
        "appRoles": [],
        "tags": [],
    })
}

/// The service principal of a managed identity.
pub(crate) fn managed_identity(found: &Stored<UserAssignedIdentity>, tenant: TenantId) -> Value {
    let name = found.record.id.name().unwrap_or_default();
    json!({
        "id": found.status.principal_id,
        "appId": found.status.client_id,
        "displayName": name,
        "appDisplayName": null,
        "appOwnerOrganizationId": tenant,
        "accountEnabled": true,
        "servicePrincipalType": "ManagedIdentity",
        "servicePrincipalNames": [found.status.client_id],
        "alternativeNames": ["isExplicit=True", found.record.id],
        "createdDateTime": found.record.system.created_at,
        "passwordCredentials": [],
        "keyCredentials": [],
        "appRoles": [],
        "tags": [],
    })
}

fn passwords(credentials: &Credentials) -> Vec<Value> {
    let shown = credentials.passwords.iter().map(|password| {
        json!({
            "keyId": password.key_id,
            "displayName": password.display_name,
            "hint": password.hint,
            "startDateTime": password.start,
            "endDateTime": password.end,
            "secretText": null,
            "customKeyIdentifier": null,
        })
    });
    shown.collect()
}

fn certificates(credentials: &Credentials) -> Vec<Value> {
    let shown = credentials.certificates.iter().map(|certificate| {
        let read = BASE64.decode(certificate.der.as_bytes()).ok();
        let read = read.as_deref().and_then(Certificate::read);
        let thumbprint = read.and_then(|read| BASE64URL_NOPAD.decode(read.x5t.as_bytes()).ok());
        json!({
            "keyId": certificate.key_id,
            "displayName": certificate.display_name,
            "type": "AsymmetricX509Cert",
            "usage": "Verify",
            "startDateTime": certificate.start,
            "endDateTime": certificate.end,
            "customKeyIdentifier": thumbprint.map(|bytes| HEXUPPER.encode(&bytes)),
            "key": null,
        })
    });
    shown.collect()
}
