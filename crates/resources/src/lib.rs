//! The ARM resource engine: kinds, plans, operations, references, errors; no IO.
