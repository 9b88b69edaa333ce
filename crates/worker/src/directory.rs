//! The directory of a tenant: what it holds, and how it is changed. Every change is one transaction
//! with its event in the activity log.

use std::collections::HashMap;

use custody_directory::{
    APPLICATIONS_MAX, Application, ServicePrincipal, Tenant, UserAssignedIdentity, application_id,
    service_principal_id, subscription_tenant, tenant_id,
};
use custody_names::{ClientId, CorrelationId, PrincipalId, ResourceId, TenantId};
use custody_resources::{
    ActivityEvent, ActivityStatus, Caller, Kind, Record, Refusal, Stop, Stored, SystemData, World,
    Write,
};

use crate::{Platform, fault};

// Whoever may grant roles may manage identities, for either leads to the other: a secret added to
// an owner's application is the owner's power. So the permissions bear the name of authorization,
// which Contributor leaves out.
/// The permission to make and change applications and service principals.
pub(crate) const WRITE: &str = "Microsoft.Authorization/directory/write";
/// The permission to delete them.
pub(crate) const DELETE: &str = "Microsoft.Authorization/directory/delete";

/// Who changes the directory, and in which request. What it changes is its own tenant's.
#[derive(Clone, Copy)]
pub struct Author<'a> {
    /// Who.
    pub caller: &'a Caller,
    /// Ties the events to the request.
    pub correlation: CorrelationId,
}

/// A service principal and its application.
pub struct Principal {
    /// The service principal.
    pub principal: Stored<ServicePrincipal>,
    /// Its application, unless that is gone.
    pub application: Option<Stored<Application>>,
}

impl Platform {
    /// Whether the tenant is one of this installation.
    pub fn has_tenant(&self, tenant: TenantId) -> Result<bool, Refusal> {
        if tenant == self.installation.tenant_id {
            return Ok(true);
        }
        let id = tenant_id(tenant)?;
        self.look(|world| Ok(world.stored::<Tenant>(&id)?.is_some()))
    }

    /// The tenant that the subscription around a resource belongs to.
    pub(crate) fn tenant_around(&self, id: &ResourceId) -> Result<TenantId, Refusal> {
        let subscription = id.subscription_id().map(ResourceId::subscription);
        let subscription =
            subscription.ok_or_else(|| Refusal::bug(format!("{id} lies in no subscription")))?;
        let found =
            self.look(|world| Ok(world.record(&subscription)?.and_then(subscription_tenant)))?;
        found.ok_or_else(|| custody_resources::not_found(&subscription))
    }

    /// The applications of a tenant.
    pub fn applications(&self, tenant: TenantId) -> Result<Vec<Stored<Application>>, Refusal> {
        self.look(|world| applications_of(world, tenant))
    }

    /// One application, by what it signs in as, whatever tenant it belongs to.
    pub fn application(&self, app: ClientId) -> Result<Option<Stored<Application>>, Refusal> {
        let id = application_id(app)?;
        self.look(|world| world.stored::<Application>(&id))
    }

    /// The service principals of a tenant, each with its application if that still stands.
    pub fn service_principals(&self, tenant: TenantId) -> Result<Vec<Principal>, Refusal> {
        self.look(|world| {
            let mut applications: HashMap<ClientId, Stored<Application>> =
                all_applications(world)?.into_iter().map(|one| (one.status.app_id, one)).collect();
            let with_application = |principal: Stored<ServicePrincipal>| Principal {
                application: applications.remove(&principal.status.app_id),
                principal,
            };
            Ok(principals_of(world, tenant)?.into_iter().map(with_application).collect())
        })
    }

    /// Whether the application has a service principal in the tenant.
    pub fn has_service_principal(&self, tenant: TenantId, app: ClientId) -> Result<bool, Refusal> {
        let id = service_principal_id(tenant, app)?;
        self.look(|world| Ok(world.record(&id)?.is_some()))
    }

    /// The user-assigned identities of a tenant, whose service principals show in its directory.
    pub fn identities(
        &self,
        tenant: TenantId,
    ) -> Result<Vec<Stored<UserAssignedIdentity>>, Refusal> {
        self.look(|world| {
            let all = world.below(&ResourceId::root(), UserAssignedIdentity::TYPE)?;
            let all: Result<Vec<_>, Refusal> =
                all.iter().map(Stored::<UserAssignedIdentity>::read).collect();
            Ok(all?.into_iter().filter(|one| one.status.tenant_id == tenant).collect())
        })
    }

    /// Changes the directory of the caller's tenant, if it may.
    pub(crate) fn write_directory<T>(
        &self,
        author: Author<'_>,
        permission: &str,
        mut plan: impl FnMut(&World) -> Result<(T, ResourceId, Vec<Write>), Stop>,
    ) -> Result<T, Refusal> {
        let scope = tenant_id(author.caller.tenant)?;
        let mut done = None;
        let applied = self.records.apply(&mut |world| {
            self.engine.permit(author.caller, permission, &scope, world)?;
            let (result, changed, mut writes) = plan(world)?;
            writes.push(self.directory_event(author, permission, changed));
            done = Some(result);
            Ok(writes)
        });
        applied.map_err(fault::of_apply)?;
        done.ok_or_else(|| Refusal::bug("a change was applied but not decided"))
    }

    /// What the directory tells of itself at one moment.
    pub(crate) fn look<T>(
        &self,
        mut look: impl FnMut(&World) -> Result<T, Stop>,
    ) -> Result<T, Refusal> {
        let mut found = None;
        let looked = self.records.view(&mut |world| {
            found = Some(look(world)?);
            Ok(())
        });
        looked.map_err(fault::of_apply)?;
        found.ok_or_else(|| Refusal::bug("the records were read but nothing was seen"))
    }

    pub(crate) fn shell(&self, author: Author<'_>, id: ResourceId) -> Record {
        Record::blank(id, SystemData::by(author.caller, self.clock.now()))
    }

    pub(crate) fn directory_event(
        &self,
        author: Author<'_>,
        permission: &str,
        changed: ResourceId,
    ) -> Write {
        let (now, caller) = (self.clock.now(), &author.caller.name);
        let begun = ActivityEvent::started(now, caller, permission, changed, author.correlation);
        Write::Activity(begun.then(ActivityStatus::Succeeded, 200))
    }
}

/// The write of a record, and it as it will be stored.
pub(crate) fn put<K: Kind>(stored: Stored<K>) -> Result<(Stored<K>, ResourceId, Vec<Write>), Stop> {
    let record = stored.into_record()?;
    let id = record.id.clone();
    Ok((Stored::read(&record)?, id, vec![Write::Put(Box::new(record))]))
}

pub(crate) fn applications_of(
    world: &World,
    tenant: TenantId,
) -> Result<Vec<Stored<Application>>, Stop> {
    let all = all_applications(world)?;
    Ok(all.into_iter().filter(|one| one.status.tenant == tenant).collect())
}

pub(crate) fn all_applications(world: &World) -> Result<Vec<Stored<Application>>, Stop> {
    let all = world.children(&ResourceId::root(), Application::TYPE)?;
    let all: Result<Vec<_>, Refusal> = all.iter().map(Stored::<Application>::read).collect();
    Ok(all?)
}

pub(crate) fn principals_of(
    world: &World,
    tenant: TenantId,
) -> Result<Vec<Stored<ServicePrincipal>>, Stop> {
    let all = world.children(&tenant_id(tenant)?, ServicePrincipal::TYPE)?;
    let all: Result<Vec<_>, Refusal> = all.iter().map(Stored::<ServicePrincipal>::read).collect();
    Ok(all?)
}

pub(crate) fn own_application(
    world: &World,
    author: Author<'_>,
    object: PrincipalId,
) -> Result<Stored<Application>, Stop> {
    let all = applications_of(world, author.caller.tenant)?;
    let found = all.into_iter().find(|one| one.status.object_id == object);
    found.ok_or_else(|| absent(object).into())
}

pub(crate) fn own_principal(
    world: &World,
    author: Author<'_>,
    object: PrincipalId,
) -> Result<Stored<ServicePrincipal>, Stop> {
    let all = principals_of(world, author.caller.tenant)?;
    let found = all.into_iter().find(|one| one.status.object_id == object);
    found.ok_or_else(|| absent(object).into())
}

/// The error of something that the tenant's directory does not hold.
pub fn absent(object: PrincipalId) -> Refusal {
    let text = format!(
        "Resource '{object}' does not exist or one of its queried reference-property objects are \
         not present."
    );
    Refusal::new(404, "Request_ResourceNotFound", text)
}

pub(crate) fn full(what: &str) -> Refusal {
    let text = format!("a tenant has at most {APPLICATIONS_MAX} {what}");
    Refusal::new(403, "Directory_QuotaExceeded", text).with_fix("delete those not needed any more")
}

pub(crate) fn no_randomness(error: custody_ambient::EntropyUnavailable) -> Refusal {
    Refusal::bug(error.to_string())
}
