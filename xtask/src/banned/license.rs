//! Licence expressions (SPDX, and the old `A/B` for `A OR B`).

/// Whether the expression can be met with allowed licences alone.
pub(crate) fn allowed(expression: &str, allow: &[String]) -> bool {
    let spaced = expression.replace('(', " ( ").replace(')', " ) ").replace('/', " OR ");
    let mut words = Words { all: spaced.split_whitespace().collect(), next: 0, allow };
    words.any() == Some(true) && words.peek().is_none()
}

/// An expression being read. `None` from its methods means that it is malformed.
struct Words<'e> {
    all: Vec<&'e str>,
    next: usize,
    allow: &'e [String],
}

impl<'e> Words<'e> {
    /// `A OR B …`
    fn any(&mut self) -> Option<bool> {
        let mut met = self.all()?;
        while self.skip("OR") {
            met |= self.all()?;
        }
        Some(met)
    }

    /// `A AND B …`, which binds closer.
    fn all(&mut self) -> Option<bool> {
        let mut met = self.one()?;
        while self.skip("AND") {
            met &= self.one()?;
        }
        Some(met)
    }

    /// A licence, one with an exception, or a whole expression in brackets.
    fn one(&mut self) -> Option<bool> {
        if self.skip("(") {
            let met = self.any()?;
            return self.skip(")").then_some(met);
        }
        let license = self.take()?;
        let license = if self.skip("WITH") {
            format!("{license} WITH {}", self.take()?)
        } else {
            license.to_owned()
        };
        Some(self.allow.contains(&license))
    }

    fn peek(&self) -> Option<&'e str> {
        self.all.get(self.next).copied()
    }

    fn take(&mut self) -> Option<&'e str> {
        let word = self.peek()?;
        self.next += 1;
        Some(word)
    }

    fn skip(&mut self, word: &str) -> bool {
        let found = self.peek() == Some(word);
        self.next += usize::from(found);
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions() {
        let allow = ["MIT", "Apache-2.0", "ISC"].map(str::to_owned);
        let check = |expression: &str, expected: bool| {
            assert_eq!(allowed(expression, &allow), expected, "{expression}");
        };
        check("MIT", true);
        check("GPL-3.0", false);
        check("GPL-3.0 OR MIT", true);
        check("GPL-3.0/MIT", true);
        check("GPL-3.0 AND MIT", false);
        check("MIT AND GPL-3.0 OR ISC", true);
        check("MIT AND (GPL-3.0 OR ISC)", true);
        check("MIT AND (GPL-3.0 OR BSD)", false);
        check("Apache-2.0 WITH LLVM-exception", false);
        check("Apache-2.0 WITH LLVM-exception OR Apache-2.0", true);
        check("", false);
        check("MIT MIT", false);
        check("(MIT", false);
        check("MIT OR", false);
    }
}
