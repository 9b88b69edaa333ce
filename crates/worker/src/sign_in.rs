//! Tokens: the keys they are signed with, who gets one, and whose they are.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use custody_directory::token::{self, Claims, Expected, Issued, Signed, Subject, TokenRefused};
use custody_directory::{
    Application, Proven, SIGNING_KEY_LAG_SECONDS, ServicePrincipal, Shown, SignIn, SignInError,
    SigningKeys, UserAssignedIdentity, application_id, hash_of, service_principal_id, sign_in,
};
use custody_names::{ClientId, PrincipalId, ResourceId, TenantId};
use custody_resources::{Caller, CallerKind, Kind as _, Refusal, Stop, Stored, World};

use crate::conclusions::Conclusions;
use crate::directory::Author;
use crate::{Platform, fault};

/// The permission to replace the signing key.
const ROTATE: &str = "Microsoft.Authorization/signingKey/rotate/action";
/// The name of the signing keys among the server secrets.
const SIGNING_KEYS: &str = "token signing keys";
/// How long the keys are used without looking whether another process replaced them.
const KEYS_FRESH: Duration = Duration::from_secs(SIGNING_KEY_LAG_SECONDS.unsigned_abs());
/// How often at most a token with an unknown key makes us look.
const KEYS_LOOK_EVERY: Duration = Duration::from_secs(1);
/// Failures of one client at one address within [`FAILURES_WITHIN`] after which it is told to wait.
pub const FAILURES_MAX: u32 = 10;
/// How long failures count.
pub const FAILURES_WITHIN: Duration = Duration::from_mins(1);
/// Most clients whose failures, and most assertions whose use, is remembered.
const REMEMBERED_MAX: usize = 20_000;
/// Most assertions of one client whose use is remembered: no client shuts out the others.
const ASSERTIONS_OF_CLIENT_MAX: usize = 500;
/// Most tokens whose signature is not verified again.
const SIGNED_MAX: usize = 4_096;

/// What the process remembers to issue and believe tokens.
#[derive(Default)]
pub(crate) struct TokenDesk {
    keys: Mutex<Option<KeysInHand>>,
    failures: Mutex<HashMap<(ClientId, Option<IpAddr>), Failures>>,
    assertions: Mutex<HashMap<String, Assertion>>,
    /// Tokens whose signature was verified, by their hash.
    signed: Mutex<HashMap<String, Arc<Signed>>>,
    /// Whose principal stands.
    standing: Conclusions<Bearer, ()>,
}

/// Whom a token speaks of.
#[derive(PartialEq, Eq, Hash)]
struct Bearer {
    principal: PrincipalId,
    tenant: TenantId,
    client: ClientId,
    resource: Option<String>,
}

impl Bearer {
    fn of(claims: &Claims) -> Self {
        Self {
            principal: claims.oid,
            tenant: claims.tid,
            client: claims.appid,
            resource: claims.xms_mirid.as_ref().map(ResourceId::canonical),
        }
    }
}

struct KeysInHand {
    keys: Arc<SigningKeys>,
    read: Duration,
}

#[derive(Clone, Copy)]
struct Failures {
    count: u32,
    since: Duration,
}

/// An assertion that was taken: from where, until when it is good, and its hash.
struct Assertion {
    address: Option<IpAddr>,
    expires: i64,
    hash: String,
}

/// Who wants a token for what.
pub struct TokenRequest<'a> {
    /// The application and what it shows.
    pub sign_in: SignIn<'a>,
    /// The resource that the token is for.
    pub audience: &'a str,
    /// The host that the issuer stands on.
    pub host: &'a str,
    /// Where the request came from.
    pub address: Option<IpAddr>,
}

/// Why a token's caller is not known.
#[derive(Debug, thiserror::Error)]
pub enum AuthenticationError {
    /// The token is not believed.
    #[error("the token is refused: {0}")]
    Refused(#[from] TokenRefused),
    /// The keys or records cannot be read.
    #[error("the token cannot be checked: {0}")]
    Unavailable(Box<Refusal>),
}

impl Platform {
    /// Lets an application sign in, and issues its token if `is_known` knows the resource.
    pub fn issue_token(
        &self,
        request: &TokenRequest<'_>,
        is_known: &dyn Fn() -> Result<bool, Refusal>,
    ) -> Result<Issued, SignInError> {
        let subject = match self.prove(request) {
            Ok(proven) => proven.subject,
            Err(error) if error.is_failed_proof() => {
                let client = (request.sign_in.client, request.address);
                return Err(if self.has_failed_often(client) {
                    SignInError::Throttled
                } else {
                    error
                });
            }
            Err(error) => return Err(error),
        };
        if !is_known().map_err(|_| SignInError::Unavailable)? {
            let (resource, tenant) = (request.audience.to_owned(), subject.tenant);
            return Err(SignInError::ResourceUnknown { resource, tenant });
        }
        self.issue(subject, request.audience, request.host)
    }

    /// Issues a token to a principal that has proved who it is.
    pub(crate) fn issue(
        &self,
        subject: Subject,
        audience: &str,
        host: &str,
    ) -> Result<Issued, SignInError> {
        let keys = self.signing_keys(None).map_err(|_| SignInError::Unavailable)?;
        let issuer = token::issuer(host, subject.tenant);
        let (now, entropy) = (self.clock.now(), self.entropy.as_ref());
        token::issue(&keys, subject, audience, &issuer, now, entropy)
            .ok_or(SignInError::Unavailable)
    }

    /// Whose token it is, if it is believed and its principal still stands.
    pub fn caller_of(
        &self,
        token: &str,
        expected: &Expected<'_>,
    ) -> Result<Caller, AuthenticationError> {
        let unavailable = |refusal| AuthenticationError::Unavailable(Box::new(refusal));
        let signed = self.signed(token)?;
        let keys = self.signing_keys(Some(signed.key())).map_err(unavailable)?;
        let claims = signed.believe(&keys, expected, self.clock.now())?;
        let state = self.records.state().map_err(|error| unavailable(fault::of_store(&error)))?;
        let bearer = Bearer::of(claims);
        let stands = self.tokens.standing.get_or_draw(state, bearer, || {
            self.look(|world| Ok(principal_stands(world, claims)?.then_some(())))
        });
        match stands.map_err(unavailable)? {
            Some(()) => Ok(caller(claims)),
            None => Err(TokenRefused::Principal.into()),
        }
    }

    /// The token with its signature verified; whose was verified of late is known by its hash.
    fn signed(&self, token: &str) -> Result<Arc<Signed>, AuthenticationError> {
        let unavailable = |refusal| AuthenticationError::Unavailable(Box::new(refusal));
        let hash = hash_of(token.as_bytes());
        if let Some(known) = lock(&self.tokens.signed).get(&hash) {
            return Ok(Arc::clone(known));
        }
        let key = token::key_of(token).ok_or(TokenRefused::Malformed)?;
        let keys = self.signing_keys(Some(&key)).map_err(unavailable)?;
        let now = self.clock.now();
        let signed = Arc::new(Signed::verify(token, &keys, now)?);
        let mut known = lock(&self.tokens.signed);
        if known.len() >= SIGNED_MAX {
            known.retain(|_, signed| !signed.has_expired(now));
        }
        if known.len() >= SIGNED_MAX {
            known.clear();
        }
        known.insert(hash, Arc::clone(&signed));
        Ok(signed)
    }

    /// The public keys that tokens are verified with, as a JWK set.
    pub fn jwks(&self, issuer: &str) -> Result<serde_json::Value, Refusal> {
        Ok(self.signing_keys(None)?.jwks(issuer, self.clock.now()))
    }

    /// Replaces the signing key at once; tokens it signed stay good until they expire.
    pub fn rotate_signing_key(&self, author: Author<'_>) -> Result<String, Refusal> {
        let root = ResourceId::root();
        let recorded = self.records.apply(&mut |world| {
            self.engine.permit(author.caller, ROTATE, &root, world)?;
            Ok(vec![self.directory_event(author, ROTATE, root.clone())])
        });
        recorded.map_err(fault::of_apply)?;
        self.read_signing_keys(true).map(|keys| keys.newest().to_owned())
    }

    fn prove(&self, request: &TokenRequest<'_>) -> Result<Proven, SignInError> {
        let mut proven = None;
        let looked = self.records.view(&mut |world| {
            proven = Some(sign_in(world, &request.sign_in)?);
            Ok(())
        });
        looked.map_err(|_| SignInError::Unavailable)?;
        let proven = proven.ok_or(SignInError::Unavailable)??;
        if let (Some((name, expires)), Shown::Assertion(text)) =
            (&proven.assertion, request.sign_in.shown)
        {
            let name = format!("{} {}", request.sign_in.client, hash_of(name.as_bytes()));
            self.take_assertion(name, *expires, hash_of(text.as_bytes()), request.address)?;
        }
        Ok(proven)
    }

    /// An assertion is good for the client that made it: Azure's libraries send the same one for
    /// several tokens within its life, so its second use is no replay, but one from another
    /// address is, and so is another assertion of the same name.
    fn take_assertion(
        &self,
        name: String,
        expires: i64,
        hash: String,
        address: Option<IpAddr>,
    ) -> Result<(), SignInError> {
        let now = self.clock.now().as_second();
        let mut taken = lock(&self.tokens.assertions);
        if let Some(earlier) = taken.get(&name).filter(|earlier| earlier.expires > now) {
            let same = earlier.hash == hash && earlier.address == address;
            let replay = SignInError::AssertionWrong("it was used before");
            return if same { Ok(()) } else { Err(replay) };
        }
        let client = name.split(' ').next().unwrap_or_default();
        let is_full = |taken: &HashMap<String, Assertion>| {
            let own = taken.keys().filter(|other| other.split(' ').next() == Some(client));
            taken.len() >= REMEMBERED_MAX || own.count() >= ASSERTIONS_OF_CLIENT_MAX
        };
        if is_full(&taken) {
            taken.retain(|_, assertion| assertion.expires > now);
        }
        if is_full(&taken) {
            return Err(SignInError::Throttled);
        }
        taken.insert(name, Assertion { address, expires, hash });
        Ok(())
    }

    /// Counts a failure, and says whether there were too many of late. Who shows what is right is
    /// never kept waiting: one script with an old secret must not shut out all others.
    fn has_failed_often(&self, client: (ClientId, Option<IpAddr>)) -> bool {
        let now = self.clock.since_boot();
        let is_over = |failures: &Failures| now.saturating_sub(failures.since) >= FAILURES_WITHIN;
        let mut all = lock(&self.tokens.failures);
        if all.len() >= REMEMBERED_MAX {
            all.retain(|_, failures| !is_over(failures));
        }
        if all.len() >= REMEMBERED_MAX && !all.contains_key(&client) {
            return true;
        }
        let failures = all.entry(client).or_insert(Failures { count: 0, since: now });
        if is_over(failures) {
            *failures = Failures { count: 0, since: now };
        }
        failures.count = failures.count.saturating_add(1);
        failures.count > FAILURES_MAX
    }

    /// The signing keys as they are now, or as they were moments ago; with a key's name, so new
    /// that they know it if any process does.
    fn signing_keys(&self, wanted: Option<&str>) -> Result<Arc<SigningKeys>, Refusal> {
        let now = self.clock.since_boot();
        if let Some(held) = &*lock(&self.tokens.keys) {
            let age = now.saturating_sub(held.read);
            let is_known = wanted.is_none_or(|name| held.keys.knows(name));
            if age < if is_known { KEYS_FRESH } else { KEYS_LOOK_EVERY } {
                return Ok(Arc::clone(&held.keys));
            }
        }
        self.read_signing_keys(false)
    }

    fn read_signing_keys(&self, replace: bool) -> Result<Arc<SigningKeys>, Refusal> {
        let store = self.key_vaults.store();
        let now = self.clock.now();
        let broken = || Refusal::bug("the keys that tokens are signed with cannot be read");
        let failed = |error: custody_key_vault::KeyVaultError| {
            Refusal::new(503, error.code(), error.to_string())
        };
        let stored = store.sealed_secret(SIGNING_KEYS).map_err(failed)?;
        let mut keys = stored.as_ref().and_then(SigningKeys::read);
        if replace || keys.as_ref().is_none_or(|keys| keys.are_due(now)) {
            store
                .change_sealed_secret(SIGNING_KEYS, |stored| {
                    let stored = stored.and_then(SigningKeys::read);
                    // Another process may have been faster.
                    let fresh = stored.as_ref().is_some_and(|keys| !keys.are_due(now));
                    if fresh && !replace {
                        return None;
                    }
                    SigningKeys::with_new_key(stored.as_ref(), now)
                })
                .map_err(failed)?;
            let stored = store.sealed_secret(SIGNING_KEYS).map_err(failed)?;
            keys = stored.as_ref().and_then(SigningKeys::read);
        }
        let keys = Arc::new(keys.ok_or_else(broken)?);
        let read = self.clock.since_boot();
        *lock(&self.tokens.keys) = Some(KeysInHand { keys: Arc::clone(&keys), read });
        Ok(keys)
    }
}

/// Whether the principal that a token speaks of is still there, still itself, and enabled.
fn principal_stands(world: &World, claims: &Claims) -> Result<bool, Stop> {
    if let Some(resource) = &claims.xms_mirid {
        return Ok(identity(world, resource)?.is_some_and(|identity| {
            let status = identity.status;
            (status.principal_id, status.client_id, status.tenant_id)
                == (claims.oid, claims.appid, claims.tid)
        }));
    }
    let application = application_id(claims.appid)?;
    let place = service_principal_id(claims.tid, claims.appid)?;
    let application = world.stored::<Application>(&application)?;
    let principal = world.stored::<ServicePrincipal>(&place)?;
    Ok(application.is_some()
        && principal.is_some_and(|principal| {
            principal.spec.account_enabled && principal.status.object_id == claims.oid
        }))
}

/// The user-assigned identity of this id, if it is one and is there.
pub(crate) fn identity(
    world: &World,
    id: &ResourceId,
) -> Result<Option<Stored<UserAssignedIdentity>>, Stop> {
    if !id.resource_type().as_str().eq_ignore_ascii_case(UserAssignedIdentity::TYPE) {
        return Ok(None);
    }
    world.stored::<UserAssignedIdentity>(id)
}

fn caller(claims: &Claims) -> Caller {
    let client = claims.appid;
    let kind = match &claims.xms_mirid {
        Some(resource) => CallerKind::ManagedIdentity { client, resource: Some(resource.clone()) },
        None => CallerKind::Application { client },
    };
    // The application id is what no one can take: display names are anybody's choice.
    Caller {
        principal: claims.oid,
        tenant: claims.tid,
        name: client.to_string(),
        kind,
        address: None,
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
