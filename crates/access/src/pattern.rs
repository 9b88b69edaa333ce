//! Permission names with wildcards.

use serde::{Deserialize, Serialize};

/// A permission name of a role definition; `*` stands for any characters, slashes included
/// (`Microsoft.KeyVault/vaults/*/read`). Case does not distinguish.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ActionPattern(String);

impl ActionPattern {
    /// The pattern written like this.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The pattern as it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether the pattern covers `action`, a permission name without wildcards.
    pub fn covers(&self, action: &str) -> bool {
        let action = action.to_ascii_lowercase();
        let pattern = self.0.to_ascii_lowercase();
        let mut pieces = pattern.split('*');
        let first = pieces.next().unwrap_or_default();
        let Some(mut rest) = action.strip_prefix(first) else { return false };
        let Some(last) = pieces.next_back() else { return rest.is_empty() };
        for piece in pieces {
            // The leftmost place leaves the most for the pieces that follow.
            match rest.split_once(piece) {
                Some((_, after)) => rest = after,
                None => return false,
            }
        }
        rest.ends_with(last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_cover() {
        let check = |pattern: &str, action: &str, expected: bool| {
            assert_eq!(ActionPattern::new(pattern).covers(action), expected, "{pattern} {action}");
        };
        check("*", "Microsoft.KeyVault/vaults/read", true);
        check("*/read", "microsoft.keyvault/vaults/READ", true);
        check("*/read", "Microsoft.KeyVault/vaults/write", false);
        check("A/b/read", "a/B/Read", true);
        check("A/b/read", "A/b/reader", false);
        check("A/b", "A/b/read", false);
        check("A/*/write", "A/b/c/write", true);
        check("A/*/write", "A/write", false);
        check("A/*b*/read", "A/xbx/b/read", true);
        check("A/*bb", "A/bbb", true);
        check("*a*a", "a", false);
        check("**", "", true);
        check("", "A/b", false);
    }
}
