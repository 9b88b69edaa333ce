//! Cryptographic operations: the key is looked up and opened under the store's lock, used outside.

use std::sync::Arc;

use custody_access::Principal;
use custody_ambient::Entropy;
use custody_envelope::SecretBytes;
use custody_names::{KeyName, KeyVersion};

use crate::algorithm::{EncryptionAlgorithm, SignatureAlgorithm};
use crate::answer::KeyAnswer;
use crate::audit::RequestContext;
use crate::crypto::{self, PrivateKey, Sealed};
use crate::error::{KeyVaultError, Result};
use crate::key::Key;
use crate::key_shape::KeyShape;
use crate::key_use::KeyUse;
use crate::key_vaults::KeyVaults;
use crate::opened_keys::{Handle, Opening};
use crate::operation::KeyOperation;
use crate::private_key_pool::Applicant;
use crate::vault::KeyVaultRef;

/// Most random bytes in one answer.
pub const RANDOM_BYTES_MAX: u32 = 128;

/// A key version that may be used as was asked, opened as far as that needs.
pub(crate) struct UsableKey {
    pub(crate) key: Key,
    public_der: Vec<u8>,
    pub(crate) private: Option<PrivateKey>,
}

impl KeyVaults {
    /// Requests that use a key.
    pub(crate) fn use_key(
        &self,
        caller: &Principal,
        vault: &KeyVaultRef,
        operation: &KeyOperation<'_>,
        context: &RequestContext,
    ) -> Result<KeyAnswer> {
        let applicant = applicant(caller, context);
        if let Some((algorithm, _)) = operation.encryption() {
            self.admit(vault, algorithm)?;
        }
        let open = |name: &KeyName, version: Option<&KeyVersion>, wanted: KeyUse| {
            self.usable(vault, name, version, wanted, context)
        };
        match operation {
            KeyOperation::Encrypt { name, version, algorithm, plain, beside } => {
                let found = open(name, *version, KeyUse::Encrypt)?;
                let sealed = found.encrypt(*algorithm, plain, beside, self.entropy())?;
                Ok(KeyAnswer::Encrypted { key: found.key.id.clone(), sealed })
            }
            KeyOperation::Decrypt { name, version, algorithm, sealed } => {
                let found = open(name, *version, KeyUse::Decrypt)?;
                let _place = self.pool().enter(applicant, found.key.shape)?;
                let plain = found.decrypt(*algorithm, sealed)?;
                Ok(KeyAnswer::Decrypted { key: found.key.id.clone(), plain })
            }
            KeyOperation::Wrap { name, version, algorithm, plain } => {
                let found = open(name, *version, KeyUse::WrapKey)?;
                let wrapped = found.wrap(*algorithm, plain, self.entropy())?;
                Ok(KeyAnswer::Wrapped { key: found.key.id.clone(), wrapped })
            }
            KeyOperation::Unwrap { name, version, algorithm, wrapped } => {
                let found = open(name, *version, KeyUse::UnwrapKey)?;
                let _place = self.pool().enter(applicant, found.key.shape)?;
                let plain = found.unwrap(*algorithm, wrapped)?;
                Ok(KeyAnswer::Unwrapped { key: found.key.id.clone(), plain })
            }
            KeyOperation::Sign { name, version, algorithm, digest } => {
                let found = open(name, *version, KeyUse::Sign)?;
                let _place = self.pool().enter(applicant, found.key.shape)?;
                let signature = found.sign(*algorithm, digest)?;
                Ok(KeyAnswer::Signed { key: found.key.id.clone(), signature })
            }
            KeyOperation::Verify { name, version, algorithm, digest, signature } => {
                let found = open(name, *version, KeyUse::Verify)?;
                let valid = found.verify(*algorithm, digest, signature)?;
                Ok(KeyAnswer::Verified { key: found.key.id.clone(), valid })
            }
            KeyOperation::Rewrap { name, algorithm, items } => {
                self.rewrap(applicant, vault, (name, *algorithm), items, context)
            }
            KeyOperation::Release { name, version, request } => {
                self.release(vault, name, *version, request, context)
            }
            KeyOperation::Random { count } => self.random(*count),
            _ => Err(KeyVaultError::Bug("this request uses no key")),
        }
    }

    /// Looks a version up and opens it, if it may be used so now.
    pub(crate) fn usable(
        &self,
        vault: &KeyVaultRef,
        name: &KeyName,
        version: Option<&KeyVersion>,
        wanted: KeyUse,
        context: &RequestContext,
    ) -> Result<Arc<UsableKey>> {
        let private = !wanted.needs_public_half_only();
        let opening = if private { Opening::Private } else { Opening::Public };
        let handle = Handle::new(vault, name, version, opening);
        let key = self.opened().get_or_open(handle, self.store().changes()?, || {
            self.store().read(|session| {
                let row = session.version(vault, name, version)?;
                // What may not be used so now is not opened in the first place.
                row.key.permits(wanted, context.now)?;
                let opens = private || matches!(row.key.shape, KeyShape::Oct(_));
                let private = opens.then(|| session.private_key(vault, &row)).transpose()?;
                let private = private.map(PrivateKey::new);
                Ok(UsableKey { key: row.key, public_der: row.public_der, private })
            })
        })?;
        key.key.permits(wanted, context.now)?;
        Ok(key)
    }

    /// The key as it is shown, whether it may be used or not.
    pub(crate) fn shown(
        &self,
        vault: &KeyVaultRef,
        name: &KeyName,
        version: Option<&KeyVersion>,
    ) -> Result<KeyAnswer> {
        let handle = Handle::new(vault, name, version, Opening::Shown);
        let found = self.opened().get_or_open(handle, self.store().changes()?, || {
            let row = self.store().read(|session| session.version(vault, name, version))?;
            Ok(UsableKey { key: row.key, public_der: row.public_der, private: None })
        })?;
        Ok(KeyAnswer::Key(found.key.clone()))
    }

    /// Counts `RSA1_5`, and refuses it where the key vault does.
    fn admit(&self, vault: &KeyVaultRef, algorithm: EncryptionAlgorithm) -> Result<()> {
        if algorithm != EncryptionAlgorithm::Rsa15 {
            return Ok(());
        }
        self.count_rsa15();
        if vault.strictness.refuses_rsa15 {
            return Err(KeyVaultError::AlgorithmRefused(algorithm.as_str()));
        }
        Ok(())
    }

    fn random(&self, count: u32) -> Result<KeyAnswer> {
        let fits = (1..=RANDOM_BYTES_MAX).contains(&count);
        let length = usize::try_from(count).ok().filter(|_| fits).ok_or_else(|| {
            KeyVaultError::BadParameter(format!("count must be 1 to {RANDOM_BYTES_MAX}"))
        })?;
        let mut bytes = vec![0; length];
        self.entropy().fill(&mut bytes)?;
        Ok(KeyAnswer::Random(SecretBytes::new(bytes)))
    }
}

/// Who wants a place to compute in. What this process itself asks for waits, however much it is.
pub(crate) fn applicant(caller: &Principal, context: &RequestContext) -> Applicant {
    Applicant { caller: caller.id, is_refusable: context.client_address.is_some() }
}

impl UsableKey {
    fn encrypt(
        &self,
        algorithm: EncryptionAlgorithm,
        plain: &SecretBytes,
        beside: &Sealed,
        entropy: &dyn Entropy,
    ) -> Result<Sealed> {
        algorithm.check(self.key.shape)?;
        if !algorithm.encrypts() {
            return Err(unfit(algorithm, "wrapkey and unwrapkey"));
        }
        let private = self.private.as_ref().map(PrivateKey::bytes);
        crypto::encrypt(&self.public_der, private, algorithm, plain, beside, entropy)
    }

    fn decrypt(&self, algorithm: EncryptionAlgorithm, sealed: &Sealed) -> Result<SecretBytes> {
        algorithm.check(self.key.shape)?;
        if !algorithm.encrypts() {
            return Err(unfit(algorithm, "wrapkey and unwrapkey"));
        }
        let plain = crypto::decrypt(self.private()?, algorithm, sealed)?;
        plain.ok_or_else(|| KeyVaultError::WrapMismatch(self.key.id.clone()))
    }

    pub(crate) fn wrap(
        &self,
        algorithm: EncryptionAlgorithm,
        plain: &SecretBytes,
        entropy: &dyn Entropy,
    ) -> Result<Vec<u8>> {
        algorithm.check(self.key.shape)?;
        if !algorithm.wraps() {
            return Err(unfit(algorithm, "encrypt and decrypt"));
        }
        let private = self.private.as_ref().map(PrivateKey::bytes);
        let nothing = Sealed::default();
        crypto::encrypt(&self.public_der, private, algorithm, plain, &nothing, entropy)
            .map(|sealed| sealed.bytes)
    }

    pub(crate) fn unwrap(
        &self,
        algorithm: EncryptionAlgorithm,
        wrapped: &[u8],
    ) -> Result<SecretBytes> {
        algorithm.check(self.key.shape)?;
        if !algorithm.wraps() {
            return Err(unfit(algorithm, "encrypt and decrypt"));
        }
        let sealed = Sealed { bytes: wrapped.to_vec(), ..Sealed::default() };
        let plain = crypto::decrypt(self.private()?, algorithm, &sealed)?;
        plain.ok_or_else(|| KeyVaultError::WrapMismatch(self.key.id.clone()))
    }

    fn sign(&self, algorithm: SignatureAlgorithm, digest: &[u8]) -> Result<Vec<u8>> {
        algorithm.check(self.key.shape)?;
        crypto::sign(self.private()?, algorithm, digest)
    }

    fn verify(
        &self,
        algorithm: SignatureAlgorithm,
        digest: &[u8],
        signature: &[u8],
    ) -> Result<bool> {
        algorithm.check(self.key.shape)?;
        let private = self.private.as_ref().map(PrivateKey::bytes);
        crypto::verify(&self.public_der, private, algorithm, digest, signature)
    }

    fn private(&self) -> Result<&PrivateKey> {
        self.private.as_ref().ok_or(KeyVaultError::Bug("the private key was not opened"))
    }
}

fn unfit(algorithm: EncryptionAlgorithm, operations: &str) -> KeyVaultError {
    KeyVaultError::BadParameter(format!("alg {algorithm} is for {operations}"))
}
