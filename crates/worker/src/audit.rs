//! Records of the key vault, on the ledger.

use std::sync::Arc;

use custody_activity::{Importance, Ledger};
use custody_key_vault::{AuditRecord, AuditSink, AuditUnavailable};

/// Puts every request to a key vault on the ledger before it is answered (rule 118).
pub(crate) struct LedgerSink {
    ledger: Arc<Ledger>,
}

impl LedgerSink {
    pub(crate) fn new(ledger: Arc<Ledger>) -> Self {
        Self { ledger }
    }
}

impl AuditSink for LedgerSink {
    fn record(&self, record: &AuditRecord) -> Result<(), AuditUnavailable> {
        // An unwrap is what a restore on a full disk needs: it may use the ledger's reserve.
        let importance = match record.operation_name {
            "KeyUnwrap" | "KeyGet" => Importance::Essential,
            _ => Importance::Ordinary,
        };
        let appended = self.ledger.append(record, importance);
        appended.map(drop).map_err(|error| AuditUnavailable(error.to_string()))
    }
}
