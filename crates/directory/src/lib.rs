//! Tenants, managed identities, role assignments.
