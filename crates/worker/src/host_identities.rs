//! Managed identities on this host: an administrator attaches user-assigned identities to workloads,
//! and what runs there gets their tokens without a secret of its own. The identity of a vault is
//! never among them: the worker alone uses that, in this process.

use std::net::IpAddr;

use custody_activity::Importance;
use custody_directory::token::{Issued, Proof, Subject};
use custody_directory::{
    ATTACHED_MAX, SignInError, UserAssignedIdentity, WHOLE_HOST, Workload, WorkloadSpec,
    WorkloadStatus, hash_of, is_hash_of, mint_secret, workload_id,
};
use custody_envelope::SecretBytes;
use custody_names::{ClientId, CorrelationId, PrincipalId, ResourceId, TenantId};
use custody_resources::{Kind as _, Refusal, Stored, Write};
use serde_json::json;

use crate::directory::Author;
use crate::sign_in::identity;
use crate::{Platform, fault};

/// The permission to attach and detach.
const WRITE: &str = "Microsoft.Authorization/hostIdentities/write";
/// The permission to use an identity, asked of the identity.
const ASSIGN: &str = "Microsoft.ManagedIdentity/userAssignedIdentities/assign/action";

/// An identity that was attached.
pub struct Attached {
    /// To which workload.
    pub workload: String,
    /// The secret that the workload's requests must bear, text, when one was made just now.
    pub header: Option<SecretBytes>,
}

/// A workload and its identities.
pub struct WorkloadFacts {
    /// Its name.
    pub name: String,
    /// What is attached to it.
    pub identities: Vec<ResourceId>,
}

/// Which identity is meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Chosen {
    /// The only one.
    TheOnly,
    /// The one with this application id.
    Client(ClientId),
    /// The one with this object id.
    Principal(PrincipalId),
    /// This resource.
    Resource(ResourceId),
}

/// Who on this host asks for a token.
#[derive(Clone, Copy)]
pub enum Asking<'a> {
    /// Whoever reaches the instance metadata address.
    Host,
    /// The workload with this secret.
    Workload(&'a [u8]),
}

/// A request for a managed identity's token.
pub struct IdentityRequest<'a> {
    /// Who asks.
    pub asking: Asking<'a>,
    /// For which identity.
    pub chosen: Chosen,
    /// The resource that the token is for.
    pub audience: &'a str,
    /// The host that the issuer stands on.
    pub host: &'a str,
    /// Where the request came from.
    pub address: Option<IpAddr>,
    /// Ties the record to the request.
    pub correlation: CorrelationId,
}

impl Platform {
    /// Attaches an identity to a workload, or to the whole host. A new workload gets a secret, and
    /// with `renew` an old one another.
    pub fn attach_identity(
        &self,
        author: Author<'_>,
        identity_id: &ResourceId,
        workload: Option<&str>,
        renew: bool,
    ) -> Result<Attached, Refusal> {
        let name = workload.unwrap_or(WHOLE_HOST);
        if workload.is_some_and(|name| name.eq_ignore_ascii_case(WHOLE_HOST)) {
            let text = format!("'{WHOLE_HOST}' is no workload's name: it means the whole host");
            return Err(Refusal::bad_request(text));
        }
        let id = workload_id(name)?;
        let secret = match workload {
            Some(_) => Some(mint_secret(self.entropy.as_ref())?),
            None => None,
        };
        let mut is_new = false;
        let applied = self.records.apply(&mut |world| {
            self.engine.permit(author.caller, WRITE, &ResourceId::root(), world)?;
            self.engine.permit(author.caller, ASSIGN, identity_id, world)?;
            let found = identity(world, identity_id)?.ok_or_else(|| no_identity(identity_id))?;
            let stored = world.stored::<Workload>(&id)?;
            is_new = renew || stored.is_none();
            let mut stored = stored.unwrap_or_else(|| Stored::<Workload> {
                record: self.shell(author, id.clone()),
                spec: WorkloadSpec::default(),
                status: WorkloadStatus {},
            });
            let attached = &mut stored.spec.identities;
            if !attached.contains(identity_id) {
                attached.push(found.record.id);
            }
            if attached.len() > ATTACHED_MAX {
                let text = format!("a workload has at most {ATTACHED_MAX} identities");
                return Err(Refusal::bad_request(text).into());
            }
            if is_new {
                stored.spec.header_sha256 = secret.as_ref().map(|secret| hash_of(secret.expose()));
            }
            let event = self.directory_event(author, WRITE, identity_id.clone());
            Ok(vec![stored.into_write()?, event])
        });
        applied.map_err(fault::of_apply)?;
        Ok(Attached { workload: name.to_owned(), header: secret.filter(|_| is_new) })
    }

    /// Detaches an identity; a workload without any is gone, and its secret with it.
    pub fn detach_identity(
        &self,
        author: Author<'_>,
        identity_id: &ResourceId,
        workload: Option<&str>,
    ) -> Result<(), Refusal> {
        let id = workload_id(workload.unwrap_or(WHOLE_HOST))?;
        let applied = self.records.apply(&mut |world| {
            self.engine.permit(author.caller, WRITE, &ResourceId::root(), world)?;
            let stored = world.stored::<Workload>(&id)?;
            let attached = |found: &Stored<Workload>| found.spec.identities.contains(identity_id);
            let mut stored = stored.filter(attached).ok_or_else(|| not_attached(identity_id))?;
            stored.spec.identities.retain(|one| one != identity_id);
            let write = if stored.spec.identities.is_empty() {
                Write::Remove(id.clone())
            } else {
                stored.into_write()?
            };
            Ok(vec![write, self.directory_event(author, WRITE, identity_id.clone())])
        });
        applied.map_err(fault::of_apply)
    }

    /// The workloads of this host; none while nothing is attached, and then nothing is served.
    pub fn workloads(&self) -> Result<Vec<WorkloadFacts>, Refusal> {
        self.look(|world| {
            let mut all = Vec::new();
            for record in world.children(&ResourceId::root(), Workload::TYPE)? {
                let name = record.id.name().unwrap_or_default().to_owned();
                let identities = Stored::<Workload>::read(record)?.spec.identities;
                all.push(WorkloadFacts { name, identities });
            }
            Ok(all)
        })
    }

    /// Issues a token of an attached identity, if its tenant knows the resource; that is on the
    /// ledger before it is answered.
    pub fn identity_token(
        &self,
        request: &IdentityRequest<'_>,
        is_known: &dyn Fn(TenantId) -> Result<bool, Refusal>,
    ) -> Result<(Issued, ClientId), Refusal> {
        let (workload, found) = self.find_attached(request)?;
        let status = found.status;
        if !is_known(status.tenant_id)? {
            let (resource, tenant) = (request.audience.to_owned(), status.tenant_id);
            let text = SignInError::ResourceUnknown { resource, tenant }.to_string();
            return Err(Refusal::new(400, "ResourceUnknown", text));
        }
        let subject = Subject {
            tenant: status.tenant_id,
            client: status.client_id,
            principal: status.principal_id,
            proof: Proof::Attachment(found.record.id.clone()),
        };
        let issued = self.issue(subject, request.audience, request.host).map_err(|error| {
            let (status, text) = (error.status(), error.to_string());
            Refusal::new(status, "TokenUnavailable", text)
        })?;
        let record = json!({
            "category": "AuditEvent",
            "operationName": "ManagedIdentityToken",
            "resultType": "Success",
            "resourceId": found.record.id,
            "callerIpAddress": request.address,
            "correlationId": request.correlation,
            "identity": { "principalId": status.principal_id, "clientId": status.client_id },
            "properties": { "workload": workload, "audience": request.audience },
        });
        self.ledger
            .append(&record, Importance::Ordinary)
            .map_err(|error| Refusal::new(503, "AuditUnavailable", error.to_string()))?;
        Ok((issued, status.client_id))
    }

    fn find_attached(
        &self,
        request: &IdentityRequest<'_>,
    ) -> Result<(String, Stored<UserAssignedIdentity>), Refusal> {
        self.look(|world| {
            let workloads = world.children(&ResourceId::root(), Workload::TYPE)?;
            let mut asking = None;
            for record in workloads {
                let spec = Stored::<Workload>::read(record)?.spec;
                let is_it = match (request.asking, &spec.header_sha256) {
                    (Asking::Host, None) => true,
                    (Asking::Workload(secret), Some(hash)) => is_hash_of(hash, secret),
                    _ => false,
                };
                if is_it {
                    asking = Some((record.id.name().unwrap_or_default().to_owned(), spec));
                }
            }
            let (name, spec) = asking.ok_or_else(|| unknown_workload(request.asking))?;
            let mut right = Vec::new();
            for id in &spec.identities {
                right.extend(identity(world, id)?.filter(|found| request.chosen.is(found)));
            }
            match (right.pop(), right.is_empty()) {
                (Some(found), true) => Ok((name, found)),
                (Some(_), false) => Err(ambiguous().into()),
                (None, _) => {
                    Err(Refusal::new(400, "IdentityNotFound", "Identity not found").into())
                }
            }
        })
    }
}

impl Chosen {
    fn is(&self, found: &Stored<UserAssignedIdentity>) -> bool {
        match self {
            Self::TheOnly => true,
            Self::Client(client) => found.status.client_id == *client,
            Self::Principal(principal) => found.status.principal_id == *principal,
            Self::Resource(id) => found.record.id == *id,
        }
    }
}

fn no_identity(id: &ResourceId) -> Refusal {
    let text = format!("there is no user-assigned identity {id}");
    Refusal::new(404, "ResourceNotFound", text).with_fix("custody identity create")
}

fn not_attached(id: &ResourceId) -> Refusal {
    Refusal::new(404, "IdentityNotAttached", format!("{id} is not attached to that workload"))
}

fn unknown_workload(asking: Asking<'_>) -> Refusal {
    match asking {
        Asking::Host => {
            Refusal::new(404, "IdentityNotFound", "no identity is attached to this host")
        }
        Asking::Workload(_) => {
            Refusal::new(401, "IdentityHeaderWrong", "X-IDENTITY-HEADER is no workload's secret")
        }
    }
}

fn ambiguous() -> Refusal {
    let text = "Multiple user assigned identities exist, please specify the clientId / resourceId \
                of the identity in the token request";
    Refusal::new(400, "IdentityAmbiguous", text)
}
