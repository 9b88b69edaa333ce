//! Service principals: applications in a tenant.

use custody_directory::{
    APPLICATIONS_MAX, Application, Credentials, ONE_TENANT, ServicePrincipal, ServicePrincipalSpec,
    ServicePrincipalStatus, application_id, service_principal_id,
};
use custody_names::{ClientId, PrincipalId};
use custody_resources::{Refusal, Stored, Write};

use crate::Platform;
use crate::applications::{CertificateWish, Holder};
use crate::directory::{
    Author, DELETE, WRITE, full, no_randomness, own_principal, principals_of, put,
};

impl Platform {
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
}

fn no_application(app: ClientId) -> Refusal {
    let text = format!(
        "The appId '{app}' of the service principal does not reference a valid application object."
    );
    Refusal::new(400, "NoBackingApplicationObject", text)
}
