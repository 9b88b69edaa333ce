//! Where a resource may stand, and what must stand around it.

use custody_names::ResourceId;

use crate::{Engine, Erased, Place, ProvisioningState, Refusal, Request, Stop, World, not_found};

impl Engine {
    /// The parent must stand, and be of the right type.
    pub(crate) fn check_place(
        &self,
        kind: &dyn Erased,
        request: &Request<'_>,
        world: &World,
    ) -> Result<(), Stop> {
        let mut parent = request.id.parent().unwrap_or_else(ResourceId::root);
        let fits = match kind.place() {
            Place::Root => parent.parent().is_none(),
            Place::Below(wanted) | Place::Within(wanted, _) => is_a(&parent, wanted),
            Place::AnyScope => true,
        };
        if !fits {
            let text = format!("a {} cannot stand below {parent}", kind.resource_type());
            return Err(Refusal::new(400, "InvalidResourceId", text).into());
        }
        parent = match kind.place() {
            Place::AnyScope => self.keeper(parent),
            Place::Within(_, around) => {
                let place = parent.lineage().find(|place| is_a(place, around));
                place.unwrap_or(parent)
            }
            Place::Root | Place::Below(_) => parent,
        };
        if parent.parent().is_none() {
            return Ok(());
        }
        match world.record(&parent)? {
            None => Err(not_found(&parent).into()),
            Some(record) if record.state == ProvisioningState::Deleting => {
                let name = parent.name().unwrap_or_default();
                let text = format!(
                    "'{name}' is in deprovisioning state and cannot perform this operation."
                );
                Err(Refusal::new(409, "ResourceGroupBeingDeleted", text).into())
            }
            Some(_) => Ok(()),
        }
    }

    /// The resource whose record answers for `scope`: itself, or for something that has no record,
    /// such as a key, the resource above it that it is a part of.
    fn keeper(&self, scope: ResourceId) -> ResourceId {
        let part = scope.resource_type().as_str().to_lowercase();
        let known = scope.lineage().find_map(|place| {
            let kind = self.registry().find(place.resource_type().as_str())?;
            Some((place, kind.resource_type().to_lowercase()))
        });
        match known {
            Some((place, whole))
                if part.strip_prefix(&whole).is_some_and(|rest| rest.starts_with('/')) =>
            {
                place
            }
            _ => scope,
        }
    }
}

/// Whether a resource is of this type.
pub(crate) fn is_a(id: &ResourceId, kind: &str) -> bool {
    id.resource_type().as_str().eq_ignore_ascii_case(kind)
}
