//! Backup instances, recovery points, jobs.
