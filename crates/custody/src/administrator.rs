//! The administrator's application: made at the first start, with its secret in a file of its own
//! beside the seal.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use custody_client::encode;
use custody_wire::{Administrator, Server};
use serde_json::{Value, json};

use crate::context::Context;
use crate::error::CliError;
use crate::terminal;

/// The application's name in the directory.
const NAME: &str = "custody-admin";

/// The application, made if it is not there. A secret made now is shown once and kept in a file
/// (0600); `renew` makes another one beside those it has.
pub(crate) fn ensure(
    context: &Context<'_>,
    server: &Server,
    renew: bool,
) -> Result<Administrator, CliError> {
    let made = server.administrator_application(renew)?;
    let path = secret_file(context, &server.installation_id().to_string());
    if let Some(secret) = &made.secret {
        write(&path, secret.expose()).map_err(|reason| CliError::Path {
            path: terminal::path(path.as_os_str().as_encoded_bytes()),
            reason,
        })?;
        let shown = terminal::path(path.as_os_str().as_encoded_bytes());
        context.warn(&format!(
            "the administrator's application is {}; its secret is shown now and never again, and \
             kept in {shown}:\n  {}",
            made.client_id,
            String::from_utf8_lossy(secret.expose())
        ));
    }
    Ok(Administrator {
        client_id: made.client_id,
        object_id: made.object_id,
        secret_file: path.exists().then_some(path),
    })
}

/// The same as a data folder shows it that nobody serves: `{clientId, objectId,
/// clientSecretFile}`, or `Null` if there is no such application yet.
pub(crate) fn known(context: &Context<'_>) -> Result<Value, CliError> {
    let filter = encode(&format!("displayName eq '{NAME}'"));
    let found = context.client()?.list(&format!("/v1.0/servicePrincipals?$filter={filter}"))?;
    let Some(principal) = found.first() else { return Ok(Value::Null) };
    let installation = context.client()?.get("/custody/installation")?;
    let id = installation.get("installationId").and_then(Value::as_str).unwrap_or_default();
    let path = secret_file(context, id);
    Ok(json!({
        "clientId": principal.get("appId"),
        "objectId": principal.get("id"),
        "clientSecretFile": path.exists().then(|| path.to_string_lossy().into_owned()),
    }))
}

fn secret_file(context: &Context<'_>, installation: &str) -> PathBuf {
    context.place.seal_folder.join(format!("{installation}.administrator-secret"))
}

fn write(path: &Path, secret: &[u8]) -> io::Result<()> {
    let fresh = path.with_extension("new");
    match fs::remove_file(&fresh) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&fresh)?;
    file.write_all(secret).and_then(|()| file.sync_all())?;
    fs::rename(&fresh, path)
}
