//! Which addresses webhooks may lie at.

use std::net::IpAddr;

use custody_key_vault::AddressRange;

/// Addresses that belong to a machine or a network, to a protocol, or to nobody (RFC 6890 and its
/// updates): not reached unless allowed. Tunnels that carry an IPv4 address are among them.
const INSIDE: [&str; 21] = [
    "0.0.0.0/8",
    "10.0.0.0/8",
    "100.64.0.0/10",
    "127.0.0.0/8",
    "168.63.129.16", // Azure's host, to its virtual machines
    "169.254.0.0/16",
    "172.16.0.0/12",
    "192.0.0.0/24",
    "192.88.99.0/24",
    "192.168.0.0/16",
    "198.18.0.0/15",
    "224.0.0.0/3",
    "::/96",
    "64:ff9b::/96",
    "64:ff9b:1::/48",
    "2001::/32",
    "2002::/16",
    "fc00::/7",
    "fe80::/10",
    "fec0::/10",
    "ff00::/8",
];

/// Which addresses inside networks may be posted to all the same.
#[derive(Clone, Debug, Default)]
pub(crate) struct Reach {
    allowed: Vec<AddressRange>,
}

impl Reach {
    /// Every address outside, and these.
    pub(crate) fn new(allowed: Vec<AddressRange>) -> Self {
        Self { allowed }
    }

    /// Whether something may be posted to this address.
    pub(crate) fn admits(&self, address: IpAddr) -> bool {
        let is_inside =
            |range: &&str| range.parse::<AddressRange>().is_ok_and(|range| range.covers(address));
        self.allowed.iter().any(|range| range.covers(address)) || !INSIDE.iter().any(is_inside)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_inside_is_reached_unless_it_is_allowed() {
        let check = |allowed: &[&str], address: &str, admitted: bool| {
            let ranges = allowed.iter().map(|range| range.parse().unwrap()).collect();
            let got = Reach::new(ranges).admits(address.parse().unwrap());
            assert_eq!(got, admitted, "{address} with {allowed:?}");
        };
        for outside in ["20.50.1.1", "100.63.255.255", "192.0.1.1", "2603:1030::1", "172.32.0.1"] {
            check(&[], outside, true);
        }
        for inside in [
            "127.0.0.1",
            "127.9.9.9",
            "0.0.0.0",
            "10.1.2.3",
            "172.31.255.255",
            "192.168.1.1",
            "100.64.0.1",
            "169.254.169.254",
            "168.63.129.16",
            "198.19.0.1",
            "224.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::ffff:10.0.0.1",
            "::10.0.0.1",
            "64:ff9b::a00:1",
            "2002:a00:1::",
            "fd00::1",
            "fe80::1",
            "ff02::1",
        ] {
            check(&[], inside, false);
        }
        check(&["10.1.0.0/16"], "10.1.2.3", true);
        check(&["10.1.0.0/16"], "10.2.2.3", false);
        check(&["fd00::/8"], "fd12::1", true);
        check(&["127.0.0.1"], "127.0.0.1", true);
        check(&["127.0.0.1"], "169.254.169.254", false);
    }
}
