//! Applications: making, changing and deleting them, and their credentials.

use custody_directory::{
    APPLICATIONS_MAX, Application, ApplicationSpec, ApplicationStatus, Credentials, MANY_TENANTS,
    NewPassword, ONE_TENANT, Wish, application_id,
};
use custody_names::{ClientId, PrincipalId};
use custody_resources::{Refusal, Stored, Target, Write};

use crate::Platform;
use crate::directory::{
    Author, DELETE, WRITE, applications_of, full, no_randomness, own_application, own_principal,
    put,
};

/// Longest name of an application, in characters (Graph's rule).
const NAME_CHARS_MAX: usize = 256;
/// Most identifier URIs of one application.
const URIS_MAX: usize = 50;
/// Longest of them, in bytes.
const URI_BYTES_MAX: usize = 255;

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

/// Whose credentials are meant, by its object id.
#[derive(Clone, Copy, Debug)]
pub enum Holder {
    /// An application's.
    Application(PrincipalId),
    /// A service principal's.
    ServicePrincipal(PrincipalId),
}

impl Platform {
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

    pub(crate) fn change_credentials(
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

    pub(crate) fn replace_certificates(
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
