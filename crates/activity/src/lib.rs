//! The hash-chained ledger of every use of a key, and its verification.
