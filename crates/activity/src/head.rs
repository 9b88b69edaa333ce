//! Signed heads: what to keep elsewhere so that a shortened ledger is noticed.

use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use custody_ambient::Timestamp;
use data_encoding::BASE64;
use serde::{Deserialize, Serialize};

use crate::{LedgerError, Position};

/// The version of the head file and of what is signed.
const HEAD_FORMAT: u32 = 1;

/// Signs heads. The seed stays inside.
pub struct Signer {
    pair: Ed25519KeyPair,
}

impl Signer {
    /// A signer from a 32-byte Ed25519 seed (RFC 8032 §5.1.5), which the caller then zeroes.
    pub fn from_seed(seed: &[u8; 32]) -> Result<Self, LedgerError> {
        let pair =
            Ed25519KeyPair::from_seed_unchecked(seed).map_err(|_| LedgerError::InvalidSigner)?;
        Ok(Self { pair })
    }

    /// The public key, 32 bytes in base64.
    pub fn public_key(&self) -> String {
        BASE64.encode(self.pair.public_key().as_ref())
    }

    /// The signature of a head, in base64.
    pub(crate) fn sign(&self, head: Position, time: Timestamp) -> Result<String, LedgerError> {
        let signature = self.pair.try_sign(message(head, time).as_bytes());
        signature.map(|bytes| BASE64.encode(bytes.as_ref())).map_err(|_| LedgerError::InvalidSigner)
    }
}

/// A head to keep elsewhere.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeadFile {
    /// Version of this file.
    pub format: u32,
    /// The last line, and with it all before.
    #[serde(flatten)]
    pub position: Position,
    /// When it was the last one.
    pub time: Timestamp,
    /// Who signed, in base64; `None` where no signing key was at hand.
    pub public_key: Option<String>,
    /// Ed25519 signature, in base64.
    pub signature: Option<String>,
}

impl HeadFile {
    /// The head, signed if there is a signer.
    pub(crate) fn sign(
        position: Position,
        time: Timestamp,
        signer: Option<&Signer>,
    ) -> Result<Self, LedgerError> {
        let signature = signer.map(|signer| signer.sign(position, time)).transpose()?;
        let public_key = signer.map(Signer::public_key);
        Ok(Self { format: HEAD_FORMAT, position, time, public_key, signature })
    }

    /// Reads a head file and checks its signature.
    pub fn from_json(text: &str) -> Result<Self, LedgerError> {
        let head: Self = serde_json::from_str(text)
            .map_err(|error| LedgerError::InvalidHead(error.to_string()))?;
        head.check()?;
        Ok(head)
    }

    /// The file's text, one JSON object with a line end.
    pub fn to_json(&self) -> Result<String, LedgerError> {
        let text = serde_json::to_string_pretty(self);
        text.map(|text| text + "\n").map_err(|error| LedgerError::InvalidHead(error.to_string()))
    }

    /// Whether the signature is that of the key it names. An unsigned head passes: it is worth
    /// what the place is worth where it was kept.
    pub(crate) fn check(&self) -> Result<(), LedgerError> {
        let wrong = |why: &str| Err(LedgerError::InvalidHead(why.to_owned()));
        if self.format != HEAD_FORMAT {
            return wrong("its format is newer than this custody knows");
        }
        match (&self.public_key, &self.signature) {
            (None, None) => Ok(()),
            (Some(key), Some(signature)) if signed(key, self.position, self.time, signature) => {
                Ok(())
            }
            _ => wrong("its signature is wrong"),
        }
    }
}

/// Whether `signature` is that of `public_key` over this head; both in base64.
pub(crate) fn signed(public_key: &str, head: Position, time: Timestamp, signature: &str) -> bool {
    let (Ok(key), Ok(signature)) =
        (BASE64.decode(public_key.as_bytes()), BASE64.decode(signature.as_bytes()))
    else {
        return false;
    };
    let key = UnparsedPublicKey::new(&ED25519, key);
    key.verify(message(head, time).as_bytes(), &signature).is_ok()
}

/// What is signed (`docs/formats/ledger.md`, "Bytes").
fn message(head: Position, time: Timestamp) -> String {
    format!("custody ledger head {HEAD_FORMAT}\n{}\n{}\n{time}\n", head.sequence, head.hash)
}
