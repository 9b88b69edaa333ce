//! The data plane of one key vault (`reference`: Key Vault REST 7.4, keys and deleted keys).

use custody_names::{KeyName, KeyVaultName, KeyVersion};
use http::Method;
use serde_json::Value;

use crate::{Client, ClientError};

/// The suffix of the key vaults' hosts.
const HOST_SUFFIX: &str = "vault.custody.localhost";
/// The api-version of data plane requests.
const API_VERSION: &str = "7.4";

/// The keys of one key vault.
pub struct KeyVault<'c> {
    client: &'c Client,
    host: String,
}

impl<'c> KeyVault<'c> {
    pub(crate) fn new(client: &'c Client, name: &KeyVaultName) -> Self {
        Self { client, host: format!("https://{name}.{HOST_SUFFIX}") }
    }

    /// The URI of a key without a version: it follows the newest one.
    pub fn key_uri(&self, key: &KeyName) -> String {
        format!("{}/keys/{key}", self.host)
    }

    /// Makes a key, or a new version of it if it exists.
    pub fn create(&self, key: &KeyName, body: &Value) -> Result<Value, ClientError> {
        self.call(Method::POST, &format!("keys/{key}/create"), Some(body))
    }

    /// Reads the newest version of a key, or the version asked for.
    pub fn show(&self, key: &KeyName, version: Option<&KeyVersion>) -> Result<Value, ClientError> {
        self.call(Method::GET, &key_path(key, version), None)
    }

    /// Lists the keys.
    pub fn list(&self) -> Result<Vec<Value>, ClientError> {
        self.client.list(&self.uri("keys"))
    }

    /// Lists the versions of a key.
    pub fn versions(&self, key: &KeyName) -> Result<Vec<Value>, ClientError> {
        self.client.list(&self.uri(&format!("keys/{key}/versions")))
    }

    /// Changes attributes, permitted operations or tags of the newest or of the named version.
    pub fn update(
        &self,
        key: &KeyName,
        version: Option<&KeyVersion>,
        body: &Value,
    ) -> Result<Value, ClientError> {
        self.call(Method::PATCH, &key_path(key, version), Some(body))
    }

    /// Makes a new version of a key.
    pub fn rotate(&self, key: &KeyName) -> Result<Value, ClientError> {
        self.call(Method::POST, &format!("keys/{key}/rotate"), Some(&empty()))
    }

    /// Deletes a key; it can be recovered until it is purged.
    pub fn delete(&self, key: &KeyName) -> Result<Value, ClientError> {
        self.call(Method::DELETE, &format!("keys/{key}"), None)
    }

    /// Lists the deleted keys.
    pub fn list_deleted(&self) -> Result<Vec<Value>, ClientError> {
        self.client.list(&self.uri("deletedkeys"))
    }

    /// Brings a deleted key back.
    pub fn recover(&self, key: &KeyName) -> Result<Value, ClientError> {
        self.call(Method::POST, &format!("deletedkeys/{key}/recover"), Some(&empty()))
    }

    /// Destroys a deleted key for ever.
    pub fn purge(&self, key: &KeyName) -> Result<(), ClientError> {
        self.call(Method::DELETE, &format!("deletedkeys/{key}"), None).map(drop)
    }

    fn call(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Value, ClientError> {
        Ok(self.client.exchange(method, &self.uri(path), body)?.body)
    }

    fn uri(&self, path: &str) -> String {
        format!("{}/{path}?api-version={API_VERSION}", self.host)
    }
}

fn key_path(key: &KeyName, version: Option<&KeyVersion>) -> String {
    match version {
        Some(version) => format!("keys/{key}/{version}"),
        None => format!("keys/{key}"),
    }
}

fn empty() -> Value {
    Value::Object(serde_json::Map::new())
}
