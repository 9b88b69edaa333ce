//! Opening a repository without the records, and setting up from a recovery kit.
use std::path::PathBuf; use std::sync::Arc; use custody_envelope::SecretBytes; use serde_json::Value; use crate::{Platform, PlatformOptions, StartError};
/// x
pub struct LoneRepository { /// x
 pub folder: PathBuf, /// x
 pub fingerprint: Option<String>, /// x
 pub kit: Option<(Vec<u8>, SecretBytes)> }
/// x
pub fn open_repository(_o: PlatformOptions, _w: LoneRepository) -> Result<Arc<Platform>, StartError> { Err(StartError::Bug("x")) }
/// x
pub fn restore_kit(_o: PlatformOptions, _k: &[u8], _p: &SecretBytes) -> Result<Value, StartError> { Err(StartError::Bug("x")) }
