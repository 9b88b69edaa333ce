//! The directory of a tenant: its applications and their service principals. Every change is one
//! transaction with its event in the activity log.

use std::collections::HashMap;

use custody_directory::{
    APPLICATIONS_MAX, Application, ApplicationSpec, ApplicationStatus, Credentials, MANY_TENANTS,
    NewPassword, ONE_TENANT, ServicePrincipal, ServicePrincipalSpec, ServicePrincipalStatus,
    Tenant, UserAssignedIdentity, Wish, application_id, service_principal_id, tenant_id,
};
use custody_names::{ClientId, CorrelationId, PrincipalId, ResourceId, TenantId};
use custody_resources::{
    ActivityEvent, Caller, Kind, Record, Refusal, Stop, Stored, SystemData, Target, World, Write,
};

use crate::{Platform, fault};

/// Longest name of an application, in characters (Graph's rule).
const NAME_CHARS_MAX: usize = 256;
/// Most identifier URIs of one application.
const URIS_MAX: usize = 50;
/// Longest of them, in bytes.
const URI_BYTES_MAX: usize = 255;

// Whoever may grant roles may manage identities, for either leads to the other: a secret added to
// an owner's application is the owner's power. So the permissions bear the name of authorization,
// which Contributor leaves out.
/// The permission to make and change applications and service principals.
pub(crate) const WRITE: &str = "Microsoft.Authorization/directory/write";
/// The permission to delete them.
const DELETE: &str = "Microsoft.Authorization/directory/delete";

/// Who changes the directory, and in which request. What it changes is its own tenant's.
#[derive(Clone, Copy)]
pub struct Author<'a> {
    /// Who.
    pub caller: &'a Caller,
    /// Ties the events to the request.
    pub correlation: CorrelationId,
}

/// What is wanted of an application; what is absent stays as it is.
#[derive(Clone, Debug, Default)]
pub struct ApplicationChange {
    /// What it is called.
    pub display_name: Option<String>,
    /// URIs that tokens for it may be asked for by.
    pub identifier_uris: Option<Vec<String>>,
    /// Who may take it in.
    pub sign_in_audience: Option<String>,
    /// Its certificates, DER: those named by their ids are kept, the others are new.
    pub certificates: Option<Vec<CertificateWish>>,
}

/// A certificate in a change.
#[derive(Clone, Debug)]
pub enum CertificateWish {
    /// The one that has this id already.
    Kept(String),
    /// A new one.
    New(Vec<u8>, Wish),
}

/// A service principal and its application.
pub struct Principal {
    /// The service principal.
    pub principal: Stored<ServicePrincipal>,
    /// Its application, unless that is gone.
    pub application: Option<Stored<Application>>,
}

/// Whose credentials are meant, by its object id.
#[derive(Clone, Copy, Debug)]
pub enum Holder {
    /// An application's.
    Application(PrincipalId),
    /// A service principal's.
    ServicePrincipal(PrincipalId),
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

    /// Makes an application.
    pub fn create_application(
        &self,
        author: Author<'_>,
        change: &ApplicationChange,
    ) -> Result<Stored<Application>, Refusal> {
        let entropy = self.entropy.as_ref();
        let app = ClientId::mint(entropy).map_err(no_randomness)?;
        let object = PrincipalId::mint(entropy).map_err(no_randomness)?;
        let tenant = author.caller.tenant;
        self.write_directory(author, WRITE, |world| {
            if applications_of(world, tenant)?.len() >= APPLICATIONS_MAX {
                return Err(full("applications").into());
            }
            let status = ApplicationStatus {
                app_id: app,
                object_id: object,
                tenant,
                created: self.clock.now(),
            };
            let mut application = Stored::<Application> {
                record: self.shell(author, application_id(app)?),
                spec: ApplicationSpec {
                    sign_in_audience: MANY_TENANTS.to_owned(),
                    ..ApplicationSpec::default()
                },
                status,
            };
            self.apply_change(&mut application.spec, change)?;
            put(application)
        })
    }

    /// Changes an application of the caller's tenant.
    pub fn update_application(
        &self,
        author: Author<'_>,
        object: PrincipalId,
        change: &ApplicationChange,
    ) -> Result<Stored<Application>, Refusal> {
        self.write_directory(author, WRITE, |world| {
            let mut application = own_application(world, author, object)?;
            self.apply_change(&mut application.spec, change)?;
            put(application)
        })
    }

    /// Deletes an application with its service principals in every tenant; their tokens end.
    pub fn delete_application(
        &self,
        author: Author<'_>,
        object: PrincipalId,
    ) -> Result<(), Refusal> {
        self.write_directory(author, DELETE, |world| {
            let application = own_application(world, author, object)?;
            let id = application.record.id;
            let principals = world.referrers(Target::resource(&id))?;
            let mut writes: Vec<Write> =
                principals.iter().map(|record| Write::Remove(record.id.clone())).collect();
            writes.extend([Write::Remove(id.clone()), Write::RaiseRevocation]);
            Ok(((), id, writes))
        })
    }

    /// Makes the service principal of an application in the caller's tenant; the application may be
    /// another tenant's, if that lets others take it in (rule 143).
    pub fn create_service_principal(
        &self,
        author: Author<'_>,
        app: ClientId,
        enabled: bool,
    ) -> Result<Stored<ServicePrincipal>, Refusal> {
        let object = PrincipalId::mint(self.entropy.as_ref()).map_err(no_randomness)?;
        let tenant = author.caller.tenant;
        self.write_directory(author, WRITE, |world| {
            let application = world.stored::<Application>(&application_id(app)?)?;
            let open = |found: &Stored<Application>| {
                found.status.tenant == tenant || found.spec.sign_in_audience != ONE_TENANT
            };
            let application = application.filter(open).ok_or_else(|| no_application(app))?;
            let id = service_principal_id(tenant, app)?;
            if world.record(&id)?.is_some() {
                let text = format!(
                    "The service principal cannot be created, updated, or restored because the \
                     service principal name {app} is already in use."
                );
                return Err(
                    Refusal::new(409, "Request_MultipleObjectsWithSameKeyValue", text).into()
                );
            }
            if principals_of(world, tenant)?.len() >= APPLICATIONS_MAX {
                return Err(full("service principals").into());
            }
            put(Stored::<ServicePrincipal> {
                record: self.shell(author, id),
                spec: ServicePrincipalSpec {
                    account_enabled: enabled,
                    display_name: application.spec.display_name,
                    credentials: Credentials::default(),
                },
                status: ServicePrincipalStatus {
                    app_id: app,
                    object_id: object,
                    tenant,
                    home_tenant: application.status.tenant,
                    created: self.clock.now(),
                },
            })
        })
    }

    /// Enables or disables a service principal; disabled, its tokens end at once.
    pub fn enable_service_principal(
        &self,
        author: Author<'_>,
        object: PrincipalId,
        enabled: bool,
    ) -> Result<(), Refusal> {
        self.write_directory(author, WRITE, |world| {
            let mut principal = own_principal(world, author, object)?;
            principal.spec.account_enabled = enabled;
            let ((), id, mut writes) = put(principal).map(|(_, id, writes)| ((), id, writes))?;
            writes.push(Write::RaiseRevocation);
            Ok(((), id, writes))
        })
    }

    /// Deletes a service principal; its tokens end, its role assignments mean nobody.
    pub fn delete_service_principal(
        &self,
        author: Author<'_>,
        object: PrincipalId,
    ) -> Result<(), Refusal> {
        self.write_directory(author, DELETE, |world| {
            let id = own_principal(world, author, object)?.record.id;
            Ok(((), id.clone(), vec![Write::Remove(id), Write::RaiseRevocation]))
        })
    }

    /// Adds a new secret; nobody sees it but the one who asked for it.
    pub fn add_password(
        &self,
        author: Author<'_>,
        holder: Holder,
        wish: &Wish,
    ) -> Result<NewPassword, Refusal> {
        // The store may ask twice; the secret is minted once.
        let mut minted = Credentials::default();
        let new = minted.add_password(wish.clone(), self.clock.now(), self.entropy.as_ref())?;
        self.change_credentials(author, holder, |credentials| {
            credentials.take_password(new.kept.clone())
        })?;
        Ok(new)
    }

    /// Removes a secret.
    pub fn remove_password(
        &self,
        author: Author<'_>,
        holder: Holder,
        key_id: &str,
    ) -> Result<(), Refusal> {
        self.change_credentials(author, holder, |credentials| credentials.remove_password(key_id))
    }

    /// Replaces the certificates of a service principal.
    pub fn set_certificates(
        &self,
        author: Author<'_>,
        object: PrincipalId,
        wanted: &[CertificateWish],
    ) -> Result<(), Refusal> {
        self.change_credentials(author, Holder::ServicePrincipal(object), |credentials| {
            self.replace_certificates(credentials, wanted)
        })
    }

    fn change_credentials(
        &self,
        author: Author<'_>,
        holder: Holder,
        change: impl Fn(&mut Credentials) -> Result<(), Refusal>,
    ) -> Result<(), Refusal> {
        self.write_directory(author, WRITE, |world| {
            let (id, writes) = match holder {
                Holder::Application(object) => {
                    let mut found = own_application(world, author, object)?;
                    change(&mut found.spec.credentials)?;
                    let (_, id, writes) = put(found)?;
                    (id, writes)
                }
                Holder::ServicePrincipal(object) => {
                    let mut found = own_principal(world, author, object)?;
                    change(&mut found.spec.credentials)?;
                    let (_, id, writes) = put(found)?;
                    (id, writes)
                }
            };
            Ok(((), id, writes))
        })
    }

    fn apply_change(
        &self,
        spec: &mut ApplicationSpec,
        change: &ApplicationChange,
    ) -> Result<(), Refusal> {
        if let Some(name) = &change.display_name {
            spec.display_name.clone_from(name);
        }
        if let Some(uris) = &change.identifier_uris {
            spec.identifier_uris.clone_from(uris);
        }
        if let Some(audience) = &change.sign_in_audience {
            let one = audience.eq_ignore_ascii_case(ONE_TENANT);
            ONE_TENANT.clone_into(&mut spec.sign_in_audience);
            if !one {
                spec.sign_in_audience.clone_from(audience);
            }
        }
        if let Some(wanted) = &change.certificates {
            self.replace_certificates(&mut spec.credentials, wanted)?;
        }
        check_application(spec)
    }

    fn replace_certificates(
        &self,
        credentials: &mut Credentials,
        wanted: &[CertificateWish],
    ) -> Result<(), Refusal> {
        let old = std::mem::take(&mut credentials.certificates);
        for wish in wanted {
            match wish {
                CertificateWish::Kept(key_id) => credentials
                    .certificates
                    .extend(old.iter().find(|one| one.key_id == *key_id).cloned()),
                CertificateWish::New(der, wish) => {
                    credentials.add_certificate(der, wish.clone(), self.entropy.as_ref())?;
                }
            }
        }
        Ok(())
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
        Record::blank(id, SystemData::new(&author.caller.name, self.clock.now()))
    }

    pub(crate) fn directory_event(
        &self,
        author: Author<'_>,
        permission: &str,
        changed: ResourceId,
    ) -> Write {
        Write::Activity(ActivityEvent {
            time: self.clock.now(),
            caller: author.caller.name.clone(),
            operation_name: permission.to_owned(),
            resource: changed,
            status: "Succeeded".to_owned(),
            code: None,
            correlation: author.correlation,
        })
    }
}

/// The write of a record, and it as it will be stored.
fn put<K: Kind>(stored: Stored<K>) -> Result<(Stored<K>, ResourceId, Vec<Write>), Stop> {
    let record = stored.into_record()?;
    let id = record.id.clone();
    Ok((Stored::read(&record)?, id, vec![Write::Put(Box::new(record))]))
}

fn applications_of(world: &World, tenant: TenantId) -> Result<Vec<Stored<Application>>, Stop> {
    let all = all_applications(world)?;
    Ok(all.into_iter().filter(|one| one.status.tenant == tenant).collect())
}

fn all_applications(world: &World) -> Result<Vec<Stored<Application>>, Stop> {
    let all = world.children(&ResourceId::root(), Application::TYPE)?;
    let all: Result<Vec<_>, Refusal> = all.iter().map(Stored::<Application>::read).collect();
    Ok(all?)
}

fn principals_of(world: &World, tenant: TenantId) -> Result<Vec<Stored<ServicePrincipal>>, Stop> {
    let all = world.children(&tenant_id(tenant)?, ServicePrincipal::TYPE)?;
    let all: Result<Vec<_>, Refusal> = all.iter().map(Stored::<ServicePrincipal>::read).collect();
    Ok(all?)
}

fn own_application(
    world: &World,
    author: Author<'_>,
    object: PrincipalId,
) -> Result<Stored<Application>, Stop> {
    let all = applications_of(world, author.caller.tenant)?;
    let found = all.into_iter().find(|one| one.status.object_id == object);
    found.ok_or_else(|| absent(object).into())
}

fn own_principal(
    world: &World,
    author: Author<'_>,
    object: PrincipalId,
) -> Result<Stored<ServicePrincipal>, Stop> {
    let all = principals_of(world, author.caller.tenant)?;
    let found = all.into_iter().find(|one| one.status.object_id == object);
    found.ok_or_else(|| absent(object).into())
}

fn check_application(spec: &ApplicationSpec) -> Result<(), Refusal> {
    let name_chars = spec.display_name.chars().count();
    if name_chars == 0 || name_chars > NAME_CHARS_MAX {
        let text = format!("displayName must have 1 to {NAME_CHARS_MAX} characters");
        return Err(Refusal::bad_request(text));
    }
    let uris = &spec.identifier_uris;
    if uris.len() > URIS_MAX || uris.iter().any(|uri| uri.len() > URI_BYTES_MAX) {
        let text = format!("identifierUris: at most {URIS_MAX} of {URI_BYTES_MAX} bytes");
        return Err(Refusal::bad_request(text));
    }
    Ok(())
}

/// The error of something that the tenant's directory does not hold.
pub fn absent(object: PrincipalId) -> Refusal {
    let text = format!(
        "Resource '{object}' does not exist or one of its queried reference-property objects are \
         not present."
    );
    Refusal::new(404, "Request_ResourceNotFound", text)
}

fn no_application(app: ClientId) -> Refusal {
    let text = format!(
        "The appId '{app}' of the service principal does not reference a valid application object."
    );
    Refusal::new(400, "NoBackingApplicationObject", text)
}

fn full(what: &str) -> Refusal {
    let text = format!("a tenant has at most {APPLICATIONS_MAX} {what}");
    Refusal::new(403, "Directory_QuotaExceeded", text).with_fix("delete those not needed any more")
}

pub(crate) fn no_randomness(error: custody_ambient::EntropyUnavailable) -> Refusal {
    Refusal::bug(error.to_string())
}
