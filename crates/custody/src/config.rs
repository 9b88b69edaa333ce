//! The configuration file: `config.toml` in the data folder, or where `--config` says.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use custody_wire::{AddressRange, Region};
use serde::Deserialize;
use serde::de::{Deserializer, Error as _};

use crate::error::CliError;
use crate::in_process::SealKind;
use crate::output::Format;
use crate::progress::ProgressMode;

/// Longest configuration file, in bytes.
const FILE_BYTES_MAX: u64 = 1 << 20;
/// Most locations that an installation adds.
const LOCATIONS_MAX: usize = 100;

/// What the file may hold. Unknown keys are refused, so that a slip of the pen is noticed.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub(crate) struct Config {
    /// The output format unless `--output` is given.
    pub output: Option<Format>,
    /// How progress is shown unless `--progress` is given.
    pub progress: Option<ProgressMode>,
    /// The resource group unless `--resource-group` is given.
    pub resource_group: Option<String>,
    /// The Backup vault unless `--vault` is given.
    pub vault: Option<String>,
    /// The seal of the embedded key vault.
    pub seal: SealConfig,
    /// What `custody up` serves.
    pub server: ServerConfig,
    /// Where it posts to.
    pub webhooks: WebhooksConfig,
    /// How it looks after the keys of vaults.
    pub keys: KeysConfig,
    /// Whose word counts for the release of keys.
    pub release_authority: Vec<ReleaseAuthorityConfig>,
    /// Places for resources, besides Azure's regions and the installation's own: `[[locations]]`.
    #[serde(deserialize_with = "locations")]
    pub locations: Vec<Region>,
}

/// The `[seal]` part.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub(crate) struct SealConfig {
    /// Its kind.
    pub kind: Option<SealKind>,
    /// The folder of its file.
    pub folder: Option<PathBuf>,
}

/// The `[server]` part.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub(crate) struct ServerConfig {
    /// The address it listens on.
    pub listen: Option<String>,
    /// The port, if the address names none.
    pub port: Option<u16>,
    /// What all host names end with.
    pub suffix: Option<String>,
    /// A certificate chain to show instead of the installation's own.
    pub tls_cert: Option<PathBuf>,
    /// Its key.
    pub tls_key: Option<PathBuf>,
    /// The port of the managed-identity endpoint.
    pub managed_identity: Option<u16>,
    /// Most connections at once.
    pub connections_max: Option<usize>,
}

/// The `[webhooks]` part.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub(crate) struct WebhooksConfig {
    /// Addresses inside a network that may be posted to all the same.
    pub allow_addresses: Vec<AddressRange>,
}

/// The `[keys]` part.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub(crate) struct KeysConfig {
    /// How often each vault's keys are probed, in minutes: 1 to 10,080, a week.
    #[serde(deserialize_with = "probe_minutes")]
    pub probe_minutes: Option<u64>,
}

/// Longest time between two probes, in minutes.
const PROBE_MINUTES_MAX: u64 = 7 * 24 * 60;

fn probe_minutes<'de, D: Deserializer<'de>>(source: D) -> Result<Option<u64>, D::Error> {
    let minutes = u64::deserialize(source)?;
    if (1..=PROBE_MINUTES_MAX).contains(&minutes) {
        return Ok(Some(minutes));
    }
    Err(D::Error::custom(format!("it must be 1 to {PROBE_MINUTES_MAX} minutes")))
}

/// One `[[release-authority]]` part.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct ReleaseAuthorityConfig {
    /// Its URL, as release policies and the `iss` of its tokens name it.
    pub url: String,
    /// The file with the keys it signs with, a JWK set.
    pub keys_file: PathBuf,
}

/// One of the `[[locations]]`.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct LocationConfig {
    name: String,
    display_name: Option<String>,
    geography: Option<String>,
}

fn locations<'de, D: Deserializer<'de>>(source: D) -> Result<Vec<Region>, D::Error> {
    let all = Vec::<LocationConfig>::deserialize(source)?;
    if all.len() > LOCATIONS_MAX {
        return Err(D::Error::custom(format!("at most {LOCATIONS_MAX} locations can be added")));
    }
    let mut known: Vec<Region> = Vec::new();
    for LocationConfig { name, display_name, geography } in all {
        let place = Region::own(&name, display_name.as_deref(), geography.as_deref());
        let place = place.map_err(D::Error::custom)?;
        if known.iter().any(|other| other.name == place.name) {
            return Err(D::Error::custom(format!("the location {} is there twice", place.name)));
        }
        known.push(place);
    }
    Ok(known)
}

impl Config {
    /// Reads `named` if the user named a file, else `config.toml` in the data folder if there is
    /// one.
    pub(crate) fn read(named: Option<&Path>, data_folder: &Path) -> Result<Self, CliError> {
        let path = named.map_or_else(|| data_folder.join("config.toml"), Path::to_path_buf);
        let wrong = |reason: String| CliError::Configuration { path: path.clone(), reason };
        let text = match std::fs::metadata(&path) {
            Ok(metadata) if metadata.len() > FILE_BYTES_MAX => {
                return Err(wrong(format!("it is longer than {FILE_BYTES_MAX} bytes")));
            }
            Ok(_) => std::fs::read_to_string(&path).map_err(|error| wrong(error.to_string()))?,
            Err(error) if error.kind() == ErrorKind::NotFound && named.is_none() => {
                return Ok(Self::default());
            }
            Err(error) => return Err(wrong(error.to_string())),
        };
        Self::parse(&text).map_err(wrong)
    }

    fn parse(text: &str) -> Result<Self, String> {
        toml::from_str(text).map_err(|error| {
            let start = error.span().map_or(0, |span| span.start);
            let line = 1 + text.bytes().take(start).filter(|byte| *byte == b'\n').count();
            format!("line {line}: {}", error.message())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_known_is_read() {
        let check = |text: &str, expected: Result<(), &str>| {
            let parsed = Config::parse(text).map(drop);
            match (parsed, expected) {
                (Ok(()), Ok(())) => {}
                (Err(got), Err(want)) => assert!(got.starts_with(want), "{text}: {got}"),
                (got, want) => panic!("{text}: got {got:?}, wanted {want:?}"),
            }
        };
        check("", Ok(()));
        check("output = \"table\"\nresource-group = \"g\"\n[seal]\nkind = \"file\"\n", Ok(()));
        check("output = \"json\"\nretries = 3\n", Err("line 2: unknown field `retries`"));
        check("\n\noutput = \"html\"\n", Err("line 3: unknown variant `html`"));
        check("[server]\nlisten = \"127.0.0.1:8443\"\nport = 1\ntls-cert = \"a\"\n", Ok(()));
        check("[server]\nlisten-on = \"x\"\n", Err("line 2: unknown field `listen-on`"));
        check("[server]\nport = 65536\n", Err("line 2: "));
        check("[[locations]]\nname = \"My Region 1\"\ngeography = \"Europe\"\n", Ok(()));
        let twice = "[[locations]]\nname = \"a b\"\n[[locations]]\nname = \"AB\"\n";
        check(twice, Err("line 1: the location ab is there twice"));
        check("[[locations]]\nname = \"East US\"\n", Err("line 1: eastus is a region of Azure"));
        check("[[locations]]\nplace = \"x\"\n", Err("line 2: unknown field `place`"));
        check("[seal]\nkind = 3\n", Err("line 2: "));
        check("[webhooks]\nallow-addresses = [\"10.0.0.0/8\", \"fd00::1\"]\n", Ok(()));
        check("[webhooks]\nallow-addresses = [\"intranet\"]\n", Err("line 2: it is neither"));
        check("[keys]\nprobe-minutes = 15\n", Ok(()));
        check("[keys]\nprobe-minutes = 0\n", Err("line 2: it must be 1 to 10080 minutes"));
        check("[keys]\nprobe-minutes = 10081\n", Err("line 2: it must be"));
        check("[webhooks]\nallow-all = true\n", Err("line 2: unknown field `allow-all`"));
        let authority = "[[release-authority]]\nurl = \"https://a.example\"\n";
        check(&format!("{authority}keys-file = \"a.json\"\n"), Ok(()));
        check(authority, Err("line 1: missing field `keys-file`"));
        check(&format!("{authority}keys-url = \"a\"\n"), Err("line 3: unknown field"));
        check("output = \n", Err("line 1: "));
        check("\u{0}\u{1}", Err("line 1: "));
    }
}
