//! Typed client for custody's own surfaces.
