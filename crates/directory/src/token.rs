//! Access tokens: what they say, how they are issued, when they are believed.

use custody_ambient::{Entropy, Timestamp, random_array};
use custody_names::{ClientId, PrincipalId, ResourceId, TenantId};
use data_encoding::BASE64URL_NOPAD;
use serde::{Deserialize, Serialize};

use crate::SigningKeys;
use crate::jwt;

/// How long the token of an application is good for.
pub const APPLICATION_SECONDS: i64 = 3_600;
/// How long the token of a managed identity is good for.
pub const MANAGED_IDENTITY_SECONDS: i64 = 86_400;
/// How far the clock of the server that issued a token may be ahead. A token's end is exact.
pub const LEEWAY_SECONDS: i64 = 300;
/// Tokens begin to be good a little before they are issued, for clients whose clock is behind.
const BEFORE_SECONDS: i64 = 60;
/// Longest audience, in bytes.
pub const AUDIENCE_BYTES_MAX: usize = 512;

/// What a token says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Claims {
    /// For whom it is: the resource that was asked for, letter by letter.
    pub aud: String,
    /// Who issued it: `https://HOST/TENANT/v2.0`.
    pub iss: String,
    /// When, in seconds since 1970.
    pub iat: i64,
    /// From when on it is good.
    pub nbf: i64,
    /// Until when.
    pub exp: i64,
    /// The application id.
    pub appid: ClientId,
    /// The application id, by its name in tokens of version 2.
    pub azp: ClientId,
    /// How the application proved itself: 1 by a secret, 2 by a certificate.
    pub appidacr: String,
    /// `app`: no user stands behind it.
    pub idtyp: String,
    /// The object id of the principal in the tenant.
    pub oid: PrincipalId,
    /// The same.
    pub sub: PrincipalId,
    /// The tenant.
    pub tid: TenantId,
    /// The token's own name.
    pub uti: String,
    /// `2.0`.
    pub ver: String,
    /// The resource of a managed identity.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub xms_mirid: Option<ResourceId>,
}

/// How a principal proved who it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Proof {
    /// By a client secret.
    Secret,
    /// By an assertion signed with the key of its certificate.
    Certificate,
    /// By being asked for on the host that it is attached to; its resource.
    Attachment(ResourceId),
}

/// Whom a token is issued to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subject {
    /// The tenant it acts in.
    pub tenant: TenantId,
    /// Its application id.
    pub client: ClientId,
    /// Its object id there.
    pub principal: PrincipalId,
    /// How it proved that.
    pub proof: Proof,
}

/// An issued token.
#[derive(Clone, PartialEq, Eq)]
pub struct Issued {
    /// The token: a secret until it expires.
    pub token: String,
    /// Until when it is good, in seconds since 1970.
    pub expires: i64,
    /// How long that is, in seconds.
    pub seconds: i64,
}

/// Issues a token; none if there is no key or no randomness.
pub fn issue(
    keys: &SigningKeys,
    subject: Subject,
    audience: &str,
    issuer: &str,
    now: Timestamp,
    entropy: &dyn Entropy,
) -> Option<Issued> {
    let now = now.as_second();
    let (seconds, appidacr, xms_mirid) = match subject.proof {
        Proof::Secret => (APPLICATION_SECONDS, "1", None),
        Proof::Certificate => (APPLICATION_SECONDS, "2", None),
        Proof::Attachment(resource) => (MANAGED_IDENTITY_SECONDS, "2", Some(resource)),
    };
    let claims = Claims {
        aud: audience.to_owned(),
        iss: issuer.to_owned(),
        iat: now,
        nbf: now - BEFORE_SECONDS,
        exp: now + seconds,
        appid: subject.client,
        azp: subject.client,
        appidacr: appidacr.to_owned(),
        idtyp: "app".to_owned(),
        oid: subject.principal,
        sub: subject.principal,
        tid: subject.tenant,
        uti: BASE64URL_NOPAD.encode(&random_array::<16>(entropy).ok()?),
        ver: "2.0".to_owned(),
        xms_mirid,
    };
    let token = keys.sign(&serde_json::to_value(&claims).ok()?)?;
    Some(Issued { token, expires: now + seconds, seconds })
}

/// What a token must say to be believed at some place.
pub struct Expected<'a> {
    /// The host that issuers stand on: `https://custody.localhost:8443`.
    pub host: &'a str,
    /// The audiences that are right there; a slash at the end does not matter.
    pub audiences: &'a [String],
    /// The only tenant that is right there, if not every one is.
    pub tenant: Option<TenantId>,
}

/// Why a token is not believed. For the log: whoever sends it is told the same every time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TokenRefused {
    /// It is no token, too long, of another type or with extensions.
    #[error("it is not a well-formed token")]
    Malformed,
    /// The algorithm is not RS256, the key is not known, or the signature is not the key's.
    #[error("it is not signed by a key of this server")]
    Signature,
    /// It is another server's or tenant's.
    #[error("it was not issued here, or for another tenant")]
    Issuer,
    /// It is for another service.
    #[error("it is for another audience")]
    Audience,
    /// It is not good yet, or not any more.
    #[error("it is not within its time")]
    Time,
    /// Its principal is deleted or disabled.
    #[error("its principal is gone or disabled")]
    Principal,
}

/// The issuer of a tenant's tokens.
pub fn issuer(host: &str, tenant: TenantId) -> String {
    format!("{host}/{tenant}/v2.0")
}

/// A token whose signature was found right. What it says is still to be held against the place and
/// the time: [`Signed::believe`].
pub struct Signed {
    claims: Claims,
    key: String,
}

impl Signed {
    /// Verifies the signature of a token: the costly part of believing it.
    pub fn verify(token: &str, keys: &SigningKeys, now: Timestamp) -> Result<Self, TokenRefused> {
        let token = jwt::parse::<Claims>(token).ok_or(TokenRefused::Malformed)?;
        if !keys.signed(&token, now) {
            return Err(TokenRefused::Signature);
        }
        let key = token.header.kid.ok_or(TokenRefused::Signature)?;
        Ok(Self { claims: token.claims, key })
    }

    /// The name of the key that signed it.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// Whether its time is over, whatever the place.
    pub fn has_expired(&self, now: Timestamp) -> bool {
        self.claims.exp <= now.as_second()
    }

    /// Believes it, or not. Whether its principal still stands is for the caller to see.
    pub fn believe(
        &self,
        keys: &SigningKeys,
        expected: &Expected<'_>,
        now: Timestamp,
    ) -> Result<&Claims, TokenRefused> {
        let claims = &self.claims;
        if !keys.verify_with(&self.key, now) {
            return Err(TokenRefused::Signature);
        }
        let right_tenant = expected.tenant.is_none_or(|tenant| tenant == claims.tid);
        if !right_tenant || claims.iss != issuer(expected.host, claims.tid) {
            return Err(TokenRefused::Issuer);
        }
        let audience = claims.aud.trim_end_matches('/');
        if !expected.audiences.iter().any(|right| right.trim_end_matches('/') == audience) {
            return Err(TokenRefused::Audience);
        }
        if claims.nbf > now.as_second() + LEEWAY_SECONDS || self.has_expired(now) {
            return Err(TokenRefused::Time);
        }
        Ok(claims)
    }
}

/// Believes a token, or not. Whether its principal still stands is for the caller to see.
pub fn validate(
    token: &str,
    keys: &SigningKeys,
    expected: &Expected<'_>,
    now: Timestamp,
) -> Result<Claims, TokenRefused> {
    Signed::verify(token, keys, now)?.believe(keys, expected, now).cloned()
}

/// The name of the key that a token claims to be signed with, so that keys can be read again if it
/// is not known yet.
pub fn key_of(token: &str) -> Option<String> {
    jwt::parse::<Claims>(token)?.header.kid
}
