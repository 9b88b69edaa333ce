//! Certificates: the installation's own authority, or what the operator gives.
//!
//! The authority's key is a 0600 file beside the seal, outside the data folder. It signs only
//! leaves for the hosts of this installation, and a name constraint keeps it from ever vouching
//! for others, so that trusting it costs little. A leaf is made at every start and its key is
//! never written anywhere; it is renewed long before its end without a restart.

use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use custody_ambient::{Clock, Timestamp};
use rcgen::{
    BasicConstraints, CertificateParams, CidrSubnet, DnType, ExtendedKeyUsagePurpose,
    GeneralSubtree, IsCa, Issuer, KeyPair, KeyUsagePurpose, NameConstraints, SanType,
};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{ServerConfig, crypto};
use time::OffsetDateTime;

use crate::connection::{ALPN_H2, ALPN_HTTP1};
use crate::private_file;

/// How long an authority is valid.
const AUTHORITY_TIME: Duration = Duration::from_hours(20 * 365 * 24);
/// How long a leaf is valid.
const LEAF_TIME: Duration = Duration::from_hours(90 * 24);
/// A leaf is renewed when this much of its time is left.
const RENEWAL_TIME: Duration = Duration::from_hours(30 * 24);
/// How far a leaf reaches back, for clients whose clocks are slow.
const SKEW: Duration = Duration::from_hours(24);
/// The file of the data folder that clients are told to trust.
const AUTHORITY_FILE: &str = "ca.pem";

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CertificateError {
    /// A file cannot be read or written.
    #[error("{} cannot be used: {reason}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What stands in the way.
        reason: io::Error,
    },
    /// A certificate or key is not what it should be.
    #[error("{} is no usable certificate or key: {reason}", path.display())]
    Unusable {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A certificate cannot be made.
    #[error("a certificate cannot be made: {0}")]
    Making(String),
}

impl CertificateError {
    /// Stable code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::File { .. } => "CertificateFileUnusable",
            Self::Unusable { .. } => "CertificateUnusable",
            Self::Making(_) => "CertificateNotMade",
        }
    }
}

/// Where an installation's own authority is, and what it may vouch for.
#[derive(Clone, Debug)]
pub struct Authority {
    /// The folder of its key: the seal's.
    pub key_folder: PathBuf,
    /// The folder of the certificate that clients trust: the data folder.
    pub data_folder: PathBuf,
    /// The installation, for names.
    pub installation: String,
    /// The suffix of all hosts.
    pub suffix: String,
}

/// The certificate that a listener shows, now and after renewal.
pub struct Certificates {
    source: Source,
    shown: Arc<Shown>,
}

enum Source {
    Own { authority: Authority, clock: Arc<dyn Clock> },
    Given { certificate: PathBuf, key: PathBuf },
}

/// What connections are shown; a renewal replaces it.
#[derive(Debug)]
struct Shown(RwLock<(Arc<CertifiedKey>, Mark)>);

/// What tells whether a shown certificate is still the right one.
#[derive(Clone, Debug, PartialEq)]
enum Mark {
    Until(Timestamp),
    Files(Vec<(Option<std::time::SystemTime>, u64)>),
}

impl Certificates {
    /// A leaf of the installation's own authority, which is made if there is none. `clock` must
    /// be the one that clients go by, never a virtual one.
    pub fn own(authority: Authority, clock: Arc<dyn Clock>) -> Result<Self, CertificateError> {
        let shown = Shown(RwLock::new(authority.leaf(clock.now())?));
        Ok(Self { source: Source::Own { authority, clock }, shown: Arc::new(shown) })
    }

    /// The certificate chain and key of these PEM files.
    pub fn given(certificate: &Path, key: &Path) -> Result<Self, CertificateError> {
        let shown = Shown(RwLock::new(read_given(certificate, key)?));
        let source = Source::Given { certificate: certificate.to_owned(), key: key.to_owned() };
        Ok(Self { source, shown: Arc::new(shown) })
    }

    /// The certificate that clients must trust, for an installation's own authority.
    pub fn authority_file(&self) -> Option<PathBuf> {
        match &self.source {
            Source::Own { authority, .. } => Some(authority.data_folder.join(AUTHORITY_FILE)),
            Source::Given { .. } => None,
        }
    }

    /// Renews what is shown if its end is near, or if the given files have changed. Connections
    /// that exist keep what they were shown. Returns whether there was something to do.
    pub fn renew(&self) -> Result<bool, CertificateError> {
        let shown = self.shown.0.read().unwrap_or_else(PoisonError::into_inner).1.clone();
        let fresh = match (&self.source, shown) {
            (Source::Own { authority, clock }, Mark::Until(end)) => {
                let now = clock.now();
                if now + RENEWAL_TIME < end {
                    return Ok(false);
                }
                authority.leaf(now)?
            }
            (Source::Given { certificate, key }, mark) => {
                if mark_of(certificate, key) == mark {
                    return Ok(false);
                }
                read_given(certificate, key)?
            }
            (Source::Own { .. }, Mark::Files(_)) => return Ok(false),
        };
        *self.shown.0.write().unwrap_or_else(PoisonError::into_inner) = fresh;
        Ok(true)
    }

    /// How to shake hands: TLS 1.2 and 1.3, HTTP/2 and HTTP/1.1.
    pub(crate) fn tls(&self) -> Result<Arc<ServerConfig>, CertificateError> {
        let making = |error: rustls::Error| CertificateError::Making(error.to_string());
        let provider = Arc::new(crypto::aws_lc_rs::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(making)?
            .with_no_client_auth()
            .with_cert_resolver(Arc::clone(&self.shown) as Arc<dyn ResolvesServerCert>);
        config.alpn_protocols = vec![ALPN_H2.to_vec(), ALPN_HTTP1.to_vec()];
        // Tickets keep what a resumed session needs at the client: nothing is remembered here.
        config.ticketer = crypto::aws_lc_rs::Ticketer::new().map_err(making)?;
        config.send_tls13_tickets = 1;
        Ok(Arc::new(config))
    }
}

impl ResolvesServerCert for Shown {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner).0))
    }
}

impl Authority {
    /// A fresh leaf.
    fn leaf(&self, now: Timestamp) -> Result<(Arc<CertifiedKey>, Mark), CertificateError> {
        let key = self.open(now)?;
        let params = self.params(now)?;
        let issuer = Issuer::new(params, key);
        let leaf_key = KeyPair::generate().map_err(making)?;
        let end = now + LEAF_TIME;
        let mut leaf = CertificateParams::default();
        leaf.not_before = date(now - SKEW)?;
        leaf.not_after = date(end)?;
        leaf.distinguished_name.push(DnType::CommonName, self.suffix.as_str());
        leaf.subject_alt_names = self.names()?;
        leaf.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        leaf.use_authority_key_identifier_extension = true;
        let leaf = leaf.signed_by(&leaf_key, &issuer).map_err(making)?;
        let chain = vec![leaf.der().clone()];
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(leaf_key.serialize_der()));
        let shown = certified(chain, key).map_err(CertificateError::Making)?;
        Ok((Arc::new(shown), Mark::Until(end)))
    }

    /// The authority's key. It is made at the first start with its certificate, which clients find
    /// in the data folder.
    fn open(&self, now: Timestamp) -> Result<KeyPair, CertificateError> {
        let key_file = self.kept("ca-key.pem");
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |reason| CertificateError::File { path, reason }
        };
        if !key_file.exists() {
            let fresh = KeyPair::generate().map_err(making)?;
            let pem = fresh.serialize_pem();
            // Of two that start at once, one makes the key and both read it.
            private_file::create(&key_file, pem.as_bytes()).map_err(failed(&key_file))?;
        }
        let pem = private_file::read(&key_file).map_err(failed(&key_file))?;
        let unusable =
            |reason: String| CertificateError::Unusable { path: key_file.clone(), reason };
        let pem = std::str::from_utf8(&pem).map_err(|error| unusable(error.to_string()))?;
        let key = KeyPair::from_pem(pem).map_err(|error| unusable(error.to_string()))?;
        let certificate_file = self.kept("ca.pem");
        if !certificate_file.exists() {
            let made = self.params(now)?.self_signed(&key).map_err(making)?;
            private_file::create(&certificate_file, made.pem().as_bytes())
                .map_err(failed(&certificate_file))?;
        }
        let text = fs::read(&certificate_file).map_err(failed(&certificate_file))?;
        let shown = self.data_folder.join(AUTHORITY_FILE);
        if fs::read(&shown).ok().as_deref() != Some(text.as_slice()) {
            private_file::replace(&shown, &text, 0o644).map_err(failed(&shown))?;
        }
        Ok(key)
    }

    /// A file of the authority beside the seal. The suffix is part of its name, since the
    /// authority may vouch for no other.
    fn kept(&self, name: &str) -> PathBuf {
        self.key_folder.join(format!("{}.{}.{name}", self.installation, self.suffix))
    }

    fn params(&self, now: Timestamp) -> Result<CertificateParams, CertificateError> {
        let mut params = CertificateParams::default();
        let short: String = self.installation.chars().take(8).collect();
        let name = format!("custody {} ({short})", self.suffix);
        params.distinguished_name.push(DnType::CommonName, name);
        params.not_before = date(now - SKEW)?;
        params.not_after = date(now + AUTHORITY_TIME)?;
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let dns = |name: &str| GeneralSubtree::DnsName(name.to_owned());
        let network = |address: IpAddr, prefix| {
            GeneralSubtree::IpAddress(CidrSubnet::from_addr_prefix(address, prefix))
        };
        params.name_constraints = Some(NameConstraints {
            permitted_subtrees: vec![
                dns(&self.suffix),
                dns("localhost"),
                network(Ipv4Addr::LOCALHOST.into(), 8),
                network(Ipv6Addr::LOCALHOST.into(), 128),
            ],
            excluded_subtrees: Vec::new(),
        });
        Ok(params)
    }

    fn names(&self) -> Result<Vec<SanType>, CertificateError> {
        let suffix = &self.suffix;
        let hosts = [
            suffix.clone(),
            format!("*.vault.{suffix}"),
            format!("*.managedhsm.{suffix}"),
            "localhost".to_owned(),
        ];
        let mut names = Vec::new();
        for host in hosts {
            names.push(SanType::DnsName(host.try_into().map_err(making)?));
        }
        names.push(SanType::IpAddress(Ipv4Addr::LOCALHOST.into()));
        names.push(SanType::IpAddress(Ipv6Addr::LOCALHOST.into()));
        Ok(names)
    }
}

fn read_given(
    certificate: &Path,
    key: &Path,
) -> Result<(Arc<CertifiedKey>, Mark), CertificateError> {
    // Looked at first: a file that changes while it is read is read again at the next look.
    let mark = mark_of(certificate, key);
    let unusable = |path: &Path| {
        let path = path.to_owned();
        move |reason: String| CertificateError::Unusable { path, reason }
    };
    let chain: Result<Vec<_>, _> = CertificateDer::pem_file_iter(certificate)
        .and_then(Iterator::collect)
        .map_err(|error| unusable(certificate)(error.to_string()));
    let private =
        PrivateKeyDer::from_pem_file(key).map_err(|error| unusable(key)(error.to_string()))?;
    let shown = certified(chain?, private).map_err(unusable(certificate))?;
    Ok((Arc::new(shown), mark))
}

/// Times and lengths of the given files.
fn mark_of(certificate: &Path, key: &Path) -> Mark {
    let one = |path: &Path| match fs::metadata(path) {
        Ok(metadata) => (metadata.modified().ok(), metadata.len()),
        Err(_) => (None, 0),
    };
    Mark::Files(vec![one(certificate), one(key)])
}

fn certified(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<CertifiedKey, String> {
    let key =
        crypto::aws_lc_rs::sign::any_supported_type(&key).map_err(|error| error.to_string())?;
    let certified = CertifiedKey::new(chain, key);
    certified.keys_match().map_err(|error| error.to_string())?;
    Ok(certified)
}

fn making(error: rcgen::Error) -> CertificateError {
    CertificateError::Making(error.to_string())
}

fn date(time: Timestamp) -> Result<OffsetDateTime, CertificateError> {
    OffsetDateTime::from_unix_timestamp(time.as_second())
        .map_err(|error| CertificateError::Making(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn given_files_are_shown_and_read_again_when_they_change() {
        let folder = tempfile::tempdir().unwrap();
        let (chain, key) = (folder.path().join("chain.pem"), folder.path().join("key.pem"));
        // Names of different length: no two of these files look alike.
        let write = |name: &str| {
            let made = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
            fs::write(&chain, made.cert.pem()).unwrap();
            fs::write(&key, made.signing_key.serialize_pem()).unwrap();
            made.cert.der().clone()
        };
        let first = write("a.example");
        let certificates = Certificates::given(&chain, &key).unwrap();
        let shown = || certificates.shown.0.read().unwrap().0.cert.clone();
        assert_eq!(shown(), [first]);
        assert!(!certificates.renew().unwrap(), "nothing changed");
        let second = write("another.example");
        assert!(certificates.renew().unwrap());
        assert_eq!(shown(), std::slice::from_ref(&second));
        // A chain whose key is not there yet leaves what is shown.
        fs::write(&key, "half a key").unwrap();
        assert!(certificates.renew().is_err());
        assert_eq!(shown(), [second]);
        let third = write("third.example.org");
        assert!(certificates.renew().unwrap());
        assert_eq!(shown(), [third]);
        assert!(certificates.authority_file().is_none());
    }
}
