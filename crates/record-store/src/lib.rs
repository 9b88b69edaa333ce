//! Applies the engine's writes in one transaction; operations, queue and leases over SQLite.
