//! The first application of a tenant: its administrator, who makes everything else.

use aws_lc_rs::digest::{SHA256, digest};
use custody_access::OWNER;
use custody_directory::{
    Application, ApplicationSpec, ApplicationStatus, Credentials, NewPassword, ONE_TENANT,
    RoleAssignmentKind, RoleAssignmentSpec, RoleAssignmentStatus, ServicePrincipal,
    ServicePrincipalSpec, ServicePrincipalStatus, Subscription, SubscriptionSpec,
    SubscriptionStatus, Tenant, TenantSpec, TenantStatus, Wish, application_id, role_assignment_id,
    role_definition_id, service_principal_id, tenant_id,
};
use custody_envelope::SecretBytes;
use custody_names::{ClientId, CorrelationId, PrincipalId, ResourceId, SubscriptionId, TenantId};
use custody_resources::{Kind as _, Refusal, Stop, Stored, World, Write};

use crate::directory::{Author, WRITE as WRITE_DIRECTORY, no_randomness};
use crate::{Platform, fault};

/// What the administrator's application is called.
const NAME: &str = "custody-admin";
/// Longest name of a tenant, in characters.
const TENANT_NAME_CHARS_MAX: usize = 256;
/// The permission to make a tenant.
const WRITE_TENANT: &str = "Microsoft.Authorization/tenants/write";

/// The application that administers a tenant.
pub struct AdministratorApplication {
    /// What it signs in as.
    pub client_id: ClientId,
    /// Who its roles are granted to.
    pub object_id: PrincipalId,
    /// Its secret, text, when one was made just now: it is never to be had again.
    pub secret: Option<SecretBytes>,
}

/// A tenant that was made.
pub struct NewTenant {
    /// The tenant.
    pub tenant_id: TenantId,
    /// Its first subscription.
    pub subscription_id: SubscriptionId,
    /// Who administers it: Owner of its directory and of its subscription, and of nothing else.
    pub administrator: AdministratorApplication,
}

/// The parts of an administrator that are minted once.
struct Minted {
    client: ClientId,
    principal: PrincipalId,
    application: PrincipalId,
    password: NewPassword,
}

impl Platform {
    /// The administrator's application of the first tenant, made if it is not there, with its
    /// secret if that was made just now. Its client id follows from the installation's id, so that
    /// it is the same when lost records are made again. With `renew` it gets a new secret besides
    /// those it has, for when the first one was lost.
    pub fn ensure_administrator_application(
        &self,
        renew: bool,
    ) -> Result<AdministratorApplication, Refusal> {
        let minted = Minted { client: self.administrator_client()?, ..self.mint()? };
        let caller = self.administrator();
        let author = Author { caller: &caller, correlation: self.correlation()? };
        let tenant = self.installation.tenant_id;
        let place = application_id(minted.client)?;
        let mut outcome = None;
        let applied = self.records.apply(&mut |world| {
            let application = world.stored::<Application>(&place)?;
            let there = service_principal_id(tenant, minted.client)?;
            let principal = world.stored::<ServicePrincipal>(&there)?;
            if let (Some(mut application), Some(principal)) = (application, principal) {
                outcome = Some((principal.status.object_id, renew));
                if !renew {
                    return Ok(Vec::new());
                }
                application.spec.credentials.take_password(minted.password.kept.clone())?;
                let event = self.directory_event(author, WRITE_DIRECTORY, place.clone());
                return Ok(vec![application.into_write()?, event]);
            }
            outcome = Some((minted.principal, true));
            let mut writes = retire(world, &place, tenant, minted.client)?;
            writes.extend(self.administrator_writes(
                author,
                tenant,
                &minted,
                &[ResourceId::root()],
            )?);
            Ok(writes)
        });
        applied.map_err(fault::of_apply)?;
        let (object_id, made) = outcome.ok_or_else(|| Refusal::bug("nothing was decided"))?;
        let secret = made.then_some(minted.password.secret);
        Ok(AdministratorApplication { client_id: minted.client, object_id, secret })
    }

    /// Makes a tenant with a subscription and an administrator of its own.
    pub fn create_tenant(
        &self,
        author: Author<'_>,
        display_name: &str,
    ) -> Result<NewTenant, Refusal> {
        let name_chars = display_name.chars().count();
        if name_chars == 0 || name_chars > TENANT_NAME_CHARS_MAX {
            let text = format!("displayName must have 1 to {TENANT_NAME_CHARS_MAX} characters");
            return Err(Refusal::bad_request(text));
        }
        let entropy = self.entropy.as_ref();
        let tenant = TenantId::mint(entropy).map_err(no_randomness)?;
        let subscription = SubscriptionId::mint(entropy).map_err(no_randomness)?;
        let minted = self.mint()?;
        let (directory, resources) = (tenant_id(tenant)?, ResourceId::subscription(subscription));
        let applied = self.records.apply(&mut |world| {
            self.engine.permit(author.caller, WRITE_TENANT, &ResourceId::root(), world)?;
            let made = Stored::<Tenant> {
                record: self.shell(author, directory.clone()),
                spec: TenantSpec { display_name: display_name.to_owned() },
                status: TenantStatus {},
            };
            let first = Stored::<Subscription> {
                record: self.shell(author, resources.clone()),
                spec: SubscriptionSpec { display_name: display_name.to_owned() },
                status: SubscriptionStatus { tenant_id: tenant, state: "Enabled".to_owned() },
            };
            let mut writes = vec![
                made.into_write()?,
                first.into_write()?,
                self.directory_event(author, WRITE_TENANT, directory.clone()),
            ];
            let scopes = [directory.clone(), resources.clone()];
            writes.extend(self.administrator_writes(author, tenant, &minted, &scopes)?);
            Ok(writes)
        });
        applied.map_err(fault::of_apply)?;
        let administrator = AdministratorApplication {
            client_id: minted.client,
            object_id: minted.principal,
            secret: Some(minted.password.secret),
        };
        Ok(NewTenant { tenant_id: tenant, subscription_id: subscription, administrator })
    }

    /// The tenants of this installation with their names, the first one first.
    pub fn tenants(&self) -> Result<Vec<(TenantId, String)>, Refusal> {
        let first = (self.installation.tenant_id, "custody".to_owned());
        let others = self.look(|world| {
            let records = world.children(&ResourceId::root(), Tenant::TYPE)?;
            let mut others = Vec::new();
            for record in records {
                let name = Stored::<Tenant>::read(record)?.spec.display_name;
                let id = record.id.name().and_then(|id| id.parse().ok());
                others.extend(id.map(|id| (id, name)));
            }
            Ok(others)
        })?;
        Ok(std::iter::once(first).chain(others).collect())
    }

    fn mint(&self) -> Result<Minted, Refusal> {
        let entropy = self.entropy.as_ref();
        let mut credentials = Credentials::default();
        Ok(Minted {
            client: ClientId::mint(entropy).map_err(no_randomness)?,
            principal: PrincipalId::mint(entropy).map_err(no_randomness)?,
            application: PrincipalId::mint(entropy).map_err(no_randomness)?,
            password: credentials.add_password(Wish::default(), self.clock.now(), entropy)?,
        })
    }

    fn administrator_client(&self) -> Result<ClientId, Refusal> {
        let text = format!("{NAME} {}", self.installation.installation_id);
        let hash = digest(&SHA256, text.as_bytes());
        let head = hash.as_ref().first_chunk::<16>().copied();
        let mut bytes = head.ok_or_else(|| Refusal::bug("SHA-256 has 32 bytes"))?;
        // A GUID of version 8 (RFC 9562): its bits are the vendor's.
        bytes[6] = (bytes[6] & 0x0F) | 0x80;
        bytes[8] = (bytes[8] & 0x3F) | 0x80;
        Ok(ClientId::from_bytes(bytes))
    }

    fn correlation(&self) -> Result<CorrelationId, Refusal> {
        CorrelationId::mint(self.entropy.as_ref()).map_err(no_randomness)
    }

    fn administrator_writes(
        &self,
        author: Author<'_>,
        tenant: TenantId,
        minted: &Minted,
        scopes: &[ResourceId],
    ) -> Result<Vec<Write>, Refusal> {
        let now = self.clock.now();
        let id = application_id(minted.client)?;
        let application = Stored::<Application> {
            record: self.shell(author, id.clone()),
            spec: ApplicationSpec {
                display_name: NAME.to_owned(),
                identifier_uris: Vec::new(),
                sign_in_audience: ONE_TENANT.to_owned(),
                credentials: Credentials {
                    passwords: vec![minted.password.kept.clone()],
                    certificates: Vec::new(),
                },
            },
            status: ApplicationStatus {
                app_id: minted.client,
                object_id: minted.application,
                tenant,
                created: now,
            },
        };
        let principal = Stored::<ServicePrincipal> {
            record: self.shell(author, service_principal_id(tenant, minted.client)?),
            spec: ServicePrincipalSpec {
                account_enabled: true,
                display_name: NAME.to_owned(),
                credentials: Credentials::default(),
            },
            status: ServicePrincipalStatus {
                app_id: minted.client,
                object_id: minted.principal,
                tenant,
                home_tenant: tenant,
                created: now,
            },
        };
        let mut writes = vec![
            application.into_write()?,
            principal.into_write()?,
            self.directory_event(author, WRITE_DIRECTORY, id),
            Write::RaiseRevocation,
        ];
        for scope in scopes {
            writes.push(self.owner(author, scope, minted.principal)?);
        }
        Ok(writes)
    }

    /// The assignment that makes a principal Owner at a scope.
    pub(crate) fn owner(
        &self,
        author: Author<'_>,
        scope: &ResourceId,
        principal: PrincipalId,
    ) -> Result<Write, Refusal> {
        // An assignment may bear any GUID; the principal's own is free.
        let id = role_assignment_id(scope, &principal.to_string())?;
        let assignment = Stored::<RoleAssignmentKind> {
            record: self.shell(author, id),
            spec: RoleAssignmentSpec {
                role_definition_id: role_definition_id(OWNER),
                principal_id: principal,
                principal_type: Some("ServicePrincipal".to_owned()),
                description: Some("The administrator's application.".to_owned()),
            },
            status: RoleAssignmentStatus { scope: scope.clone() },
        };
        assignment.into_write()
    }
}

/// Removes what is left of an administrator of which somebody deleted the other half.
fn retire(
    world: &World,
    application: &ResourceId,
    tenant: TenantId,
    client: ClientId,
) -> Result<Vec<Write>, Stop> {
    let principal = service_principal_id(tenant, client)?;
    let mut writes = Vec::new();
    for id in [application, &principal] {
        if world.record(id)?.is_some() {
            writes.push(Write::Remove(id.clone()));
        }
    }
    Ok(writes)
}
