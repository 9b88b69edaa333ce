//! For how long a deleted vault can be brought back, as its settings say.

use custody_resources::Refusal;
use serde_json::{Map, Value, json};

/// Fewest days that a deleted vault is kept; the default.
pub const SOFT_DELETE_DAYS_MIN: u32 = 14;
/// Most days that a deleted vault is kept.
pub const SOFT_DELETE_DAYS_MAX: u32 = 180;

/// Whether what is deleted can be brought back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum SoftDeleteState {
    /// It is gone at once.
    Off,
    /// It can, and a request may change that.
    #[default]
    On,
    /// It can, for good.
    AlwaysOn,
}

/// Soft delete of a vault. A vault whose client says nothing has it on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SoftDelete {
    /// Whether it is on.
    pub state: SoftDeleteState,
    /// Days until what was deleted is removed (14 to 180).
    pub days: u32,
}

impl Default for SoftDelete {
    fn default() -> Self {
        Self { state: SoftDeleteState::On, days: SOFT_DELETE_DAYS_MIN }
    }
}

impl SoftDelete {
    /// Days for which the vault is kept when it is deleted now; none if it goes at once.
    pub fn days_kept(self) -> Option<u32> {
        (self.state != SoftDeleteState::Off).then_some(self.days)
    }
}

/// How one kind of vault writes `softDeleteSettings`.
pub(crate) struct Words {
    state: &'static str,
    days: &'static str,
    off: &'static str,
    on: &'static str,
}

/// Of Backup vaults.
pub(crate) const BACKUP: Words =
    Words { state: "state", days: "retentionDurationInDays", off: "Off", on: "On" };
/// Of Recovery Services vaults.
pub(crate) const RECOVERY_SERVICES: Words = Words {
    state: "softDeleteState",
    days: "softDeleteRetentionPeriodInDays",
    off: "Disabled",
    on: "Enabled",
};
/// The word of both kinds, in whatever case.
const ALWAYS_ON: &str = "AlwaysOn";

impl Words {
    /// Reads settings as they are stored; what cannot be read there is as if it was not said.
    pub(crate) fn read(&self, settings: Option<&Value>) -> SoftDelete {
        settings.and_then(|settings| self.parse(settings).ok()).unwrap_or_default()
    }

    /// The settings to store: what is asked for, and for the rest what is stored.
    ///
    /// # Errors
    /// Refuses unknown states, other days than 14 to 180, and to end what is always on.
    pub(crate) fn settle(
        &self,
        asked: Option<Value>,
        stored: Option<&Value>,
    ) -> Result<Option<Value>, Refusal> {
        let fields = |value: &Value| value.as_object().cloned().unwrap_or_default();
        let Some(asked) = asked.filter(|asked| !asked.is_null()) else {
            return Ok(stored.cloned());
        };
        if !asked.is_object() {
            return Err(Refusal::bad_request("softDeleteSettings is an object"));
        }
        let mut whole = stored.map(fields).unwrap_or_default();
        whole.extend(fields(&asked).into_iter().filter(|(_, value)| !value.is_null()));
        let whole = Value::Object(whole);
        let wanted = self.parse(&whole)?;
        always_on_stays(wanted, self.read(stored))?;
        Ok(Some(whole))
    }

    fn parse(&self, settings: &Value) -> Result<SoftDelete, Refusal> {
        let wrong = |what: &str, why: &str| {
            let text = format!("softDeleteSettings.{what} {why}");
            Refusal::new(400, "InvalidRestApiParameter", text)
        };
        let state = match settings.get(self.state) {
            None => SoftDeleteState::default(),
            Some(word) => {
                let word = word.as_str().unwrap_or_default();
                let known = [
                    (self.off, SoftDeleteState::Off),
                    (self.on, SoftDeleteState::On),
                    (ALWAYS_ON, SoftDeleteState::AlwaysOn),
                ];
                let found = known.iter().find(|(known, _)| known.eq_ignore_ascii_case(word));
                let why = format!("is {}, {} or {ALWAYS_ON}", self.off, self.on);
                found.ok_or_else(|| wrong(self.state, &why))?.1
            }
        };
        let days = match settings.get(self.days) {
            None => SOFT_DELETE_DAYS_MIN,
            Some(days) => {
                let whole = whole_days(days);
                let fits =
                    |days: &u32| (SOFT_DELETE_DAYS_MIN..=SOFT_DELETE_DAYS_MAX).contains(days);
                match whole.filter(fits) {
                    Some(days) => days,
                    // Where nothing is kept, clients write what they like.
                    None if state == SoftDeleteState::Off => SOFT_DELETE_DAYS_MIN,
                    None => {
                        let why =
                            format!("is from {SOFT_DELETE_DAYS_MIN} to {SOFT_DELETE_DAYS_MAX}");
                        return Err(wrong(self.days, &why));
                    }
                }
            }
        };
        Ok(SoftDelete { state, days })
    }
}

/// Clients write whole days as `14.0` too.
fn whole_days(value: &Value) -> Option<u32> {
    let text = value.as_f64().filter(|days| days.fract() == 0.0)?.to_string();
    text.parse().ok()
}

/// Soft delete that is always on is never off, nor merely on, again.
pub(crate) fn always_on_stays(wanted: SoftDelete, stored: SoftDelete) -> Result<(), Refusal> {
    if stored.state != SoftDeleteState::AlwaysOn || wanted.state == SoftDeleteState::AlwaysOn {
        return Ok(());
    }
    Err(Refusal::new(
        400,
        "UserErrorSoftDeleteCannotBeDisabled",
        "soft delete of this vault is always on, which cannot be taken back",
    )
    .with_fix("create another vault without it"))
}

/// `settings` with these soft delete settings beneath `securitySettings`, where Recovery Services
/// vaults have them.
pub(crate) fn put_below_security(settings: &mut Map<String, Value>, soft_delete: Option<Value>) {
    let Some(soft_delete) = soft_delete else { return };
    let security = settings.entry("securitySettings").or_insert_with(|| json!({}));
    if let Some(security) = security.as_object_mut() {
        security.insert("softDeleteSettings".to_owned(), soft_delete);
    }
}
