//! The clients of a key officer, made with settings alone.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use azure_core::credentials::TokenCredential;
use azure_core::http::{ClientOptions, RetryOptions, Transport};
use azure_identity::{
    ClientSecretCredential, ClientSecretCredentialOptions, ManagedIdentityCredential,
    ManagedIdentityCredentialOptions,
};
use azure_security_keyvault_keys::models::{CreateKeyParameters, Key};
use azure_security_keyvault_keys::{KeyClient, KeyClientOptions, ResourceExt as _};
use serde_json::Value;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// Who works with the keys of the test's key vault.
pub struct Officer {
    /// Keys of the key vault, as this officer.
    pub keys: KeyClient,
}

impl Officer {
    /// The installation's administrator. The authority is told by `AZURE_AUTHORITY_HOST`, whom to
    /// trust by `SSL_CERT_FILE`.
    pub fn new() -> Result<Self> {
        let file = fact("/administrator/clientSecretFile")?;
        Self::of_application(std::fs::read_to_string(file)?.trim())
    }

    /// The same with another secret.
    pub fn with_secret(&self, secret: &str) -> Result<Self> {
        Self::of_application(secret)
    }

    /// What `IDENTITY_ENDPOINT` and `IDENTITY_HEADER` stand for.
    pub fn identity_of_this_host(&self) -> Result<Self> {
        let options = ManagedIdentityCredentialOptions {
            client_options: client_options()?,
            ..ManagedIdentityCredentialOptions::default()
        };
        Self::of(ManagedIdentityCredential::new(Some(options))?)
    }

    /// Makes a key.
    pub async fn create(
        &self,
        name: &str,
        parameters: CreateKeyParameters,
    ) -> azure_core::Result<Key> {
        self.keys.create_key(name, parameters.try_into()?, None).await?.into_model()
    }

    /// The newest version of a key.
    pub async fn version(&self, name: &str) -> azure_core::Result<String> {
        let key = self.keys.get_key(name, None).await?.into_model()?;
        Ok(key.resource_id()?.version.unwrap_or_default())
    }

    fn of_application(secret: &str) -> Result<Self> {
        let options = ClientSecretCredentialOptions { client_options: client_options()? };
        let (tenant, client) = (fact("/tenantId")?, fact("/administrator/clientId")?);
        let secret = secret.to_owned().into();
        Self::of(ClientSecretCredential::new(&tenant, client, secret, Some(options))?)
    }

    fn of(credential: Arc<dyn TokenCredential>) -> Result<Self> {
        let name = std::env::var("CUSTODY_TEST_KEY_VAULT")?;
        let url = format!("https://{name}.{}", fact("/keyVaultSuffix")?);
        let client_options = client_options()?;
        let options = KeyClientOptions { client_options, ..KeyClientOptions::default() };
        Ok(Self { keys: KeyClient::new(&url, credential, Some(options))? })
    }
}

/// One of the facts that `custody env --json` prints.
fn fact(path: &str) -> Result<String> {
    let facts: Value = serde_json::from_str(&std::env::var("CUSTODY_TEST_ENV")?)?;
    let text = facts.pointer(path).and_then(Value::as_str).map(str::to_owned);
    text.ok_or_else(|| format!("custody env has no {path}").into())
}

/// A transport that resolves the names in the hosts file that `custody trust hosts` wrote, as the
/// system does those in /etc/hosts; nothing is retried.
fn client_options() -> Result<ClientOptions> {
    let mut transport = reqwest::Client::builder();
    for line in std::fs::read_to_string(std::env::var("CUSTODY_TEST_HOSTS")?)?.lines() {
        let mut words = line.split('#').next().unwrap_or_default().split_whitespace();
        let Some(address) = words.next() else { continue };
        let address: IpAddr = address.parse()?;
        for name in words {
            transport = transport.resolve(name, SocketAddr::new(address, 0));
        }
    }
    Ok(ClientOptions {
        transport: Some(Transport::new(Arc::new(transport.build()?))),
        retry: RetryOptions::none(),
        ..ClientOptions::default()
    })
}
