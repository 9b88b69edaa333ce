//! How the command ends, as a number that scripts can rely on.

/// The exit codes. New ones may be added; a script treats what it does not know as failure.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ExitCode {
    /// Done.
    #[default]
    Success = 0,
    /// It failed, and no other code says why.
    Failure = 1,
    /// The command line, a name or the configuration is wrong.
    Usage = 2,
    /// Done, but something was left out or could not be read; it is listed.
    CompletedWithWarnings = 3,
    /// The caller is not allowed to.
    NotAuthorised = 4,
    /// What was named does not exist.
    NotFound = 5,
    /// Something stands in the way: it exists already, changed meanwhile, or a rule forbids it.
    Conflict = 6,
    /// The key may not be used: disabled, expired, deleted, or its grant is gone.
    KeyUnavailable = 7,
    /// Key vault, store or server cannot be reached now; trying again may help.
    Unreachable = 8,
    /// Stored data is damaged.
    Damaged = 9,
    /// A confirmation is needed and nobody could give it.
    ConfirmationMissing = 10,
    /// Another process is busy with the same thing.
    Busy = 11,
    /// The data was written by a newer version of custody.
    NewerFormat = 12,
    /// The seal, its passphrase or keys.db is missing or wrong.
    SealUnavailable = 13,
    /// No space is left on the disk.
    DiskFull = 14,
    /// Stopped by Ctrl-C.
    Interrupted = 130,
}

impl ExitCode {
    /// All of them in order, with what they mean.
    pub const TABLE: [(Self, &'static str); 16] = [
        (Self::Success, "done"),
        (Self::Failure, "failed, and no other code says why"),
        (Self::Usage, "the command line, a name or the configuration is wrong"),
        (Self::CompletedWithWarnings, "completed with warnings: what was left out is listed"),
        (Self::NotAuthorised, "not authorised"),
        (Self::NotFound, "what was named does not exist"),
        (Self::Conflict, "conflict or precondition: a rule or something existing forbids it"),
        (Self::KeyUnavailable, "the key may not be used: disabled, expired, deleted, not granted"),
        (Self::Unreachable, "key vault, store or server unreachable: try again"),
        (Self::Damaged, "stored data is damaged"),
        (Self::ConfirmationMissing, "confirmation missing: no terminal and no --yes, or not given"),
        (Self::Busy, "busy: another process holds what this one needs"),
        (Self::NewerFormat, "written by a newer version of custody"),
        (Self::SealUnavailable, "the seal, its passphrase or keys.db is missing or wrong"),
        (Self::DiskFull, "no space left on the disk"),
        (Self::Interrupted, "interrupted by Ctrl-C"),
    ];

    /// The number.
    pub const fn number(self) -> u8 {
        self as u8
    }

    /// The exit code of an error: by its code, else by the finer code of a key vault, else by the
    /// HTTP status.
    pub fn of_error(code: &str, inner_code: Option<&str>, status: Option<u16>) -> Self {
        if status == Some(404) {
            return Self::NotFound; // a key that is looked up, not one that a job needs
        }
        let by_code = [inner_code, Some(code)].into_iter().flatten().find_map(of_code);
        by_code.unwrap_or_else(|| of_status(status))
    }
}

/// The codes whose meaning the HTTP status does not tell, or that come without one (jobs).
fn of_code(code: &str) -> Option<ExitCode> {
    let named = CODES.iter().find(|(_, codes)| codes.contains(&code)).map(|(exit, _)| *exit);
    let prefix = || PREFIXES.iter().find(|(part, _)| code.starts_with(part)).map(|found| found.1);
    let suffix = || SUFFIXES.iter().find(|(part, _)| code.ends_with(part)).map(|found| found.1);
    named.or_else(prefix).or_else(suffix)
}

const PREFIXES: &[(&str, ExitCode)] =
    &[("UserErrorCMK", ExitCode::KeyUnavailable), ("Invalid", ExitCode::Usage)];

const SUFFIXES: &[(&str, ExitCode)] = &[
    ("NewerFormat", ExitCode::NewerFormat),
    ("FormatTooNew", ExitCode::NewerFormat),
    ("NotFound", ExitCode::NotFound),
    ("Damaged", ExitCode::Damaged),
    ("Full", ExitCode::DiskFull),
    ("Busy", ExitCode::Busy),
    ("Unavailable", ExitCode::Unreachable),
];

const CODES: &[(ExitCode, &[&str])] = &[
    (ExitCode::Failure, &["EntropyUnavailable", "InternalServerError", "UnexpectedAnswer"]),
    (
        ExitCode::Usage,
        &["ConfigurationInvalid", "PointAmbiguous", "SourceHintsInvalid", "UsageError"],
    ),
    (
        ExitCode::NotAuthorised,
        &["AuthorizationFailed", "LinkedAuthorizationFailed", "ForbiddenByRbac", "AccessDenied"],
    ),
    (ExitCode::NotFound, &["NotInitialised"]),
    (
        ExitCode::Conflict,
        &[
            "DataFolderNotEmpty",
            "KeyringForeignVault",
            "ObjectIsDeletedButRecoverable",
            "RepositoryAlreadyExists",
            "RepositoryForeignVault",
            "TargetDeviceUnfit",
            // Rules about changing settings, not about using the key.
            "UserErrorCMKCannotBeDisabled",
            "UserErrorCMKInfrastructureEncryptionCannotBeModified",
            "UserErrorCMKKeyUriAndIdentityUpdateNotAllowedTogether",
            "UserErrorCMKKeyVaultRegionMismatch",
            "UserErrorCMKManagedHsmNotSupported",
            "UserErrorCMKNotSupportedOnVaultWithRegisteredItems",
            "UserErrorCMKPurgeProtectionNotEnabledOnKeyVault",
            "UserErrorCMKSoftDeleteNotEnabledOnKeyVault",
            "UserErrorCMKSystemAssignedIdentityAtCreation",
        ],
    ),
    (
        ExitCode::KeyUnavailable,
        &[
            "KeyDisabled",
            "KeyExpired",
            "KeyLeaseEnded",
            "KeyNotFound",
            "KeyNotYetValid",
            "KeyOperationForbidden",
            "KeyringNoAllowedKey",
        ],
    ),
    (
        ExitCode::Unreachable,
        &["KeyLeaseExpired", "OperationTimedOut", "ServerBusy", "ServerUnreachable"],
    ),
    (
        ExitCode::Damaged,
        &[
            "KeyCommitmentMismatch",
            "KeyGenerationUnknown",
            "KeyringRolledBack",
            "KeyringUntrusted",
            "MacMismatch",
            "RepositoryChunkLost",
            "SealForeignVault",
            "SealWrongType",
            "StoreDeviceFailed",
            "StoreObjectShort",
            "WrapMismatch",
        ],
    ),
    (ExitCode::ConfirmationMissing, &["ConfirmationMissing"]),
    (ExitCode::Busy, &["AnotherOperationInProgress", "OperationTakenOver"]),
    (
        ExitCode::SealUnavailable,
        &[
            "KeyStoreMissing",
            "KeysMissing",
            "PassphraseMissing",
            "SealMismatch",
            "SealMissing",
            "SealRefused",
            "WrongPassphrase",
        ],
    ),
    (ExitCode::Interrupted, &["Interrupted", "JobCancelled"]),
];

fn of_status(status: Option<u16>) -> ExitCode {
    match status {
        Some(400 | 405 | 413 | 415 | 422) => ExitCode::Usage,
        Some(401 | 403) => ExitCode::NotAuthorised,
        Some(404 | 410) => ExitCode::NotFound,
        Some(409 | 412 | 428) => ExitCode::Conflict,
        Some(423) => ExitCode::Busy,
        Some(429 | 502 | 503 | 504) => ExitCode::Unreachable,
        Some(507) => ExitCode::DiskFull,
        _ => ExitCode::Failure,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_is_in_the_table_once_and_in_order() {
        let numbers: Vec<u8> = ExitCode::TABLE.iter().map(|(code, _)| code.number()).collect();
        assert_eq!(numbers, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 130]);
    }

    #[test]
    fn errors_map_to_exit_codes() {
        let check = |code: &str, inner: Option<&str>, status: Option<u16>, expected: u8| {
            let exit = ExitCode::of_error(code, inner, status);
            assert_eq!(exit.number(), expected, "{code} {inner:?} {status:?}");
        };
        check("InternalServerError", None, Some(500), 1);
        check("SomethingNew", None, None, 1);
        check("InvalidRequestContent", None, Some(400), 2);
        check("BadParameter", None, Some(400), 2);
        check("AuthorizationFailed", None, Some(403), 4);
        check("Forbidden", Some("ForbiddenByRbac"), Some(403), 4);
        check("ResourceNotFound", None, Some(404), 5);
        check("PointNotFound", None, None, 5);
        check("KeyNotFound", None, Some(404), 5);
        check("KeyNotFound", None, None, 7);
        check("Conflict", Some("ObjectIsDeletedButRecoverable"), Some(409), 6);
        check("PreconditionFailed", None, Some(412), 6);
        check("UserErrorCMKCannotBeDisabled", None, Some(400), 6);
        check("Forbidden", Some("KeyDisabled"), Some(403), 7);
        check("UserErrorCMKKeyVaultAuthFailure", None, None, 7);
        check("UserErrorCMKMissingMangedIdentityPermissionOnKeyVault", None, None, 7);
        check("KeyUnavailable", None, None, 8);
        check("StoreUnavailable", None, None, 8);
        check("Throttled", None, Some(429), 8);
        check("RepositoryDamaged", None, None, 9);
        check("LedgerDamaged", None, None, 9);
        check("ConfirmationMissing", None, None, 10);
        check("AnotherOperationInProgress", None, Some(409), 11);
        check("RecordsBusy", None, Some(503), 11);
        check("RepositoryNewerFormat", None, None, 12);
        check("LedgerFormatTooNew", None, None, 12);
        check("SealMissing", None, None, 13);
        check("WrongPassphrase", None, None, 13);
        check("KeysMissing", None, None, 13);
        check("SealDamaged", None, None, 9);
        check("StoreFull", None, None, 14);
        check("DataFolderFull", None, None, 14);
        check("JobCancelled", None, None, 130);
    }
}
