//! The network rules of a key vault and the one decision on them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use custody_names::ResourceId;
use custody_resources::Refusal;
use serde::{Deserialize, Serialize};

/// Most address rules of a key vault (Azure's limit).
const ADDRESS_RULES_MAX: usize = 1_000;
/// Most virtual network rules of a key vault (Azure's limit).
const NETWORK_RULES_MAX: usize = 200;

/// From where a key vault's keys may be used (`networkAcls`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct NetworkAcls {
    /// Who passes whatever the rules say.
    pub bypass: Bypass,
    /// What holds where no rule matches.
    pub default_action: NetworkAction,
    /// Addresses that are let through.
    pub ip_rules: Vec<AddressRule>,
    /// Kept and shown: no call comes out of an Azure network here, so none of them matches.
    pub virtual_network_rules: Vec<VirtualNetworkRule>,
}

/// Who passes whatever the rules say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Bypass {
    /// Trusted services: a vault that uses its own system-assigned identity.
    #[default]
    #[serde(alias = "azureservices")]
    AzureServices,
    /// Nobody.
    #[serde(alias = "none")]
    None,
}

/// What happens to a call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum NetworkAction {
    /// It is let through.
    #[default]
    #[serde(alias = "allow")]
    Allow,
    /// It is refused.
    #[serde(alias = "deny")]
    Deny,
}

/// One address or range that is let through.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AddressRule {
    /// `198.51.100.7`, `198.51.100.0/24` or the same of IPv6.
    pub value: String,
}

/// One virtual network that would be let through.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct VirtualNetworkRule {
    /// The subnet.
    pub id: ResourceId,
    /// Whether the subnet may lack the service endpoint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ignore_missing_vnet_service_endpoint: Option<bool>,
}

/// Whether the key vault can be reached by others than trusted services at all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum PublicNetworkAccess {
    /// By whoever the network rules let through.
    #[default]
    #[serde(alias = "enabled", alias = "")]
    Enabled,
    /// By nobody.
    #[serde(alias = "disabled")]
    Disabled,
}

/// Why a call does not reach the keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Barrier {
    /// The key vault's public network access is disabled.
    #[error(
        "Public network access is disabled and request is not from a trusted service nor via an \
         approved private link."
    )]
    PublicAccessDisabled,
    /// No rule lets the address through.
    #[error("Client address is not authorized and caller is not a trusted service.")]
    AddressNotAllowed,
}

impl Barrier {
    /// The inner code of the data plane's 403.
    pub fn inner_code(self) -> &'static str {
        match self {
            Self::PublicAccessDisabled => "ForbiddenByConnection",
            Self::AddressNotAllowed => "ForbiddenByFirewall",
        }
    }
}

/// From where the keys of one key vault may be used, as its record says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NetworkRules {
    acls: NetworkAcls,
    public_access: PublicNetworkAccess,
}

impl NetworkRules {
    /// What a record says; where it says nothing everybody passes.
    pub fn new(acls: Option<&NetworkAcls>, public_access: Option<PublicNetworkAccess>) -> Self {
        Self {
            acls: acls.cloned().unwrap_or_default(),
            public_access: public_access.unwrap_or_default(),
        }
    }

    /// Whether a call reaches the keys. `address` is where it comes from; a call from within the
    /// process has none. `trusted` is a property of the worker's call path, never of a token: only
    /// a vault that uses its system-assigned identity from within has it (rules 37, 39, 40).
    pub fn admit(&self, address: Option<IpAddr>, trusted: bool) -> Result<(), Barrier> {
        if trusted && self.acls.bypass == Bypass::AzureServices {
            return Ok(());
        }
        if self.public_access == PublicNetworkAccess::Disabled {
            return Err(Barrier::PublicAccessDisabled);
        }
        if self.acls.default_action == NetworkAction::Allow {
            return Ok(());
        }
        let ranges =
            self.acls.ip_rules.iter().filter_map(|rule| rule.value.parse::<AddressRange>().ok());
        match address {
            Some(address) if ranges.into_iter().any(|range| range.covers(address)) => Ok(()),
            _ => Err(Barrier::AddressNotAllowed),
        }
    }
}

/// The rules as they are stored: every address a range, as Azure shows them.
pub(crate) fn settle(mut rules: NetworkAcls) -> Result<NetworkAcls, Refusal> {
    let refuse = |text: String| Err(Refusal::new(400, "BadRequest", text));
    if rules.ip_rules.len() > ADDRESS_RULES_MAX {
        return refuse(format!("a key vault holds at most {ADDRESS_RULES_MAX} IP rules"));
    }
    if rules.virtual_network_rules.len() > NETWORK_RULES_MAX {
        let text = format!("a key vault holds at most {NETWORK_RULES_MAX} virtual network rules");
        return refuse(text);
    }
    for rule in &mut rules.ip_rules {
        let Ok(range) = rule.value.parse::<AddressRange>() else {
            return refuse(format!(
                "The value '{}' of properties.networkAcls.ipRules is neither an IP address nor a \
                 range in CIDR form.",
                rule.value
            ));
        };
        if !rule.value.contains('/') {
            rule.value = format!("{}/{}", rule.value, range.bits);
        }
    }
    Ok(rules)
}

/// Addresses with the same first `bits` bits; a single one has all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct AddressRange {
    start: IpAddr,
    bits: u8,
}

impl AddressRange {
    /// Whether the address lies in it; `::ffff:10.0.0.1` is `10.0.0.1`.
    pub fn covers(self, address: IpAddr) -> bool {
        match (self.start, address.to_canonical()) {
            (IpAddr::V4(start), IpAddr::V4(address)) => {
                let differ = start.to_bits() ^ address.to_bits();
                differ.leading_zeros() >= u32::from(self.bits)
            }
            (IpAddr::V6(start), IpAddr::V6(address)) => {
                let differ = start.to_bits() ^ address.to_bits();
                differ.leading_zeros() >= u32::from(self.bits)
            }
            _ => false,
        }
    }
}

/// The text is neither an address nor a range.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it is neither an IP address nor a range in CIDR form")]
pub struct NoAddressRange;

impl TryFrom<String> for AddressRange {
    type Error = NoAddressRange;

    fn try_from(text: String) -> Result<Self, NoAddressRange> {
        text.parse()
    }
}

impl FromStr for AddressRange {
    type Err = NoAddressRange;

    fn from_str(text: &str) -> Result<Self, NoAddressRange> {
        let (start, bits) = match text.split_once('/') {
            Some((start, bits)) => (start, Some(bits)),
            None => (text, None),
        };
        let start: IpAddr = start.parse().map_err(|_| NoAddressRange)?;
        let most = match start {
            IpAddr::V4(_) => Ipv4Addr::BITS,
            IpAddr::V6(_) => Ipv6Addr::BITS,
        };
        let most = u8::try_from(most).map_err(|_| NoAddressRange)?;
        // `parse` would take "+8" too.
        let digits = |text: &&str| text.bytes().all(|byte| byte.is_ascii_digit());
        let bits = match bits {
            Some(bits) => Some(bits)
                .filter(digits)
                .and_then(|bits| bits.parse().ok())
                .ok_or(NoAddressRange)?,
            None => most,
        };
        if bits <= most { Ok(Self { start, bits }) } else { Err(NoAddressRange) }
    }
}
