//! Principals, role definitions and assignments, and the one decision: may X do Y on Z.
