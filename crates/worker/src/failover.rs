//! Several keys around one vault: the rule for when one is lost (DESIGN §5).

use custody_backup_vaults::EncryptionSettings;
use custody_envelope::{Failover, KekError, KekFault};

/// What a refusal of one of several keys means under these settings.
pub(crate) fn failover_of(settings: Option<&EncryptionSettings>) -> Failover {
    match settings.map(|settings| settings.failover) {
        Some(custody_backup_vaults::Failover::Any) => Failover::Any,
        Some(custody_backup_vaults::Failover::Stop) | None => Failover::Stop,
    }
}

/// The failover rule (DESIGN §5) on what each key of a vault answered: a definite refusal stops it,
/// unless any key is enough; no answer does only if no key answers.
pub(crate) fn require_enough(
    answers: impl Iterator<Item = Result<(), KekError>>,
    failover: Failover,
) -> Result<(), KekError> {
    let (mut usable, mut silent, mut refused) = (false, None, None);
    for answer in answers {
        match answer {
            Ok(()) => usable = true,
            Err(error) if error.fault == KekFault::Unreachable => silent = silent.or(Some(error)),
            Err(error) => refused = refused.or(Some(error)),
        }
    }
    match (refused, silent) {
        (Some(refused), _) if failover == Failover::Stop || !usable => Err(refused),
        (_, Some(silent)) if !usable => Err(silent),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use custody_envelope::KeyEncryptionKeys as _;
    use custody_test_world::keks::Behaviour::{self, Disabled, Unreachable, Works};
    use custody_test_world::keks::MemoryKeks;

    use super::*;
    use crate::keks::state_is_active;

    /// DESIGN §5, row by row: two keys, and what they answer.
    #[test]
    fn what_two_keys_say_is_enough_or_not() {
        let keks = MemoryKeks::new();
        let check = |failover, answers: [Behaviour; 2], expected: Option<&str>| {
            let asked = answers.map(|behaviour| {
                let version = keks.add_version("kv1", "k");
                keks.set(&version, behaviour);
                let state = keks.describe(&version.pinned())?;
                state_is_active(&state, custody_ambient::Timestamp::UNIX_EPOCH)
            });
            let code = require_enough(asked.into_iter(), failover).err().map(|error| error.code);
            assert_eq!(code, expected, "{failover:?} {answers:?}");
        };
        let [refused, silent] = ["UserErrorCMKKeyDisabled", "KeyVaultUnreachable"].map(Some);
        for (answers, stop, any) in [
            ([Works, Works], None, None),
            ([Works, Unreachable], None, None),
            ([Unreachable, Works], None, None),
            ([Unreachable, Unreachable], silent, silent),
            ([Works, Disabled], refused, None),
            ([Disabled, Works], refused, None),
            ([Disabled, Unreachable], refused, refused),
            ([Unreachable, Disabled], refused, refused),
            ([Disabled, Disabled], refused, refused),
        ] {
            check(Failover::Stop, answers, stop);
            check(Failover::Any, answers, any);
        }
    }
}
