//! `$filter`: the little of OData that clients of ARM send. Terms that must all hold, each a
//! comparison with a text or a function of texts.

use std::iter::Peekable;
use std::str::Chars;

use custody_resources::Refusal;

/// Longest filter, in characters.
const FILTER_CHARACTERS_MAX: usize = 8_000;

/// One term of a filter. Names of fields and functions are in lower case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Term {
    /// `field eq 'value'`, and the like.
    Compare {
        /// The field.
        field: String,
        /// How.
        with: Comparison,
        /// With what.
        value: String,
    },
    /// `name('argument', …)`.
    Call {
        /// The function.
        name: String,
        /// Its arguments; a field's name is one in lower case.
        arguments: Vec<String>,
    },
}

/// How a field is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Comparison {
    /// `eq`
    Equal,
    /// `ne`
    NotEqual,
    /// `ge`
    AtLeast,
    /// `le`
    AtMost,
}

/// Reads a filter; an absent one has no terms.
pub(crate) fn parse(text: Option<&str>) -> Result<Vec<Term>, Refusal> {
    let text = text.unwrap_or_default();
    let wrong = || {
        let shown: String = text.chars().take(200).collect();
        Refusal::new(400, "InvalidFilterInQueryString", format!("Invalid $filter '{shown}'."))
    };
    if text.chars().count() > FILTER_CHARACTERS_MAX {
        return Err(wrong());
    }
    let tokens = tokens(text).ok_or_else(wrong)?;
    let mut rest = tokens.as_slice();
    let mut terms = Vec::new();
    while !rest.is_empty() {
        if !terms.is_empty() {
            rest = match rest {
                [Token::Word(word), tail @ ..] if word.eq_ignore_ascii_case("and") => tail,
                _ => return Err(wrong()),
            };
        }
        let (term, tail) = term(rest).ok_or_else(wrong)?;
        terms.push(term);
        rest = tail;
    }
    Ok(terms)
}

/// The refusal of a term that means nothing where it stands.
pub(crate) fn unknown(term: &Term) -> Refusal {
    let name = match term {
        Term::Compare { field, .. } => field,
        Term::Call { name, .. } => name,
    };
    let text = format!("Invalid $filter: '{name}' cannot be filtered by like this here.");
    Refusal::new(400, "InvalidFilterInQueryString", text)
}

#[derive(Debug, PartialEq)]
enum Token {
    Word(String),
    Text(String),
    Open,
    Close,
    Comma,
}

fn tokens(text: &str) -> Option<Vec<Token>> {
    let mut all = Vec::new();
    let mut rest = text.chars().peekable();
    while let Some(next) = rest.next() {
        all.push(match next {
            ' ' | '\t' => continue,
            '(' => Token::Open,
            ')' => Token::Close,
            ',' => Token::Comma,
            '\'' => Token::Text(quoted(&mut rest)?),
            first => {
                let mut word = String::from(first);
                while let Some(more) = rest.next_if(|c| !" \t(),'".contains(*c)) {
                    word.push(more);
                }
                Token::Word(word)
            }
        });
    }
    Some(all)
}

/// What stands up to the closing quote; two quotes are one.
fn quoted(rest: &mut Peekable<Chars<'_>>) -> Option<String> {
    let mut text = String::new();
    loop {
        match rest.next()? {
            '\'' if rest.next_if_eq(&'\'').is_some() => text.push('\''),
            '\'' => return Some(text),
            other => text.push(other),
        }
    }
}

fn term(tokens: &[Token]) -> Option<(Term, &[Token])> {
    match tokens {
        [Token::Word(name), Token::Open, rest @ ..] => {
            let (arguments, rest) = arguments(rest)?;
            Some((Term::Call { name: name.to_ascii_lowercase(), arguments }, rest))
        }
        [Token::Word(field), Token::Word(word), value, rest @ ..] => {
            let with = match word.to_ascii_lowercase().as_str() {
                "eq" => Comparison::Equal,
                "ne" => Comparison::NotEqual,
                "ge" => Comparison::AtLeast,
                "le" => Comparison::AtMost,
                _ => return None,
            };
            let (Token::Word(value) | Token::Text(value)) = value else { return None };
            let field = field.to_ascii_lowercase();
            Some((Term::Compare { field, with, value: value.clone() }, rest))
        }
        _ => None,
    }
}

fn arguments(mut tokens: &[Token]) -> Option<(Vec<String>, &[Token])> {
    let mut all = Vec::new();
    loop {
        tokens = match tokens {
            [Token::Close, rest @ ..] => return Some((all, rest)),
            [Token::Text(text), rest @ ..] => {
                all.push(text.clone());
                rest
            }
            [Token::Word(word), rest @ ..] => {
                all.push(word.to_ascii_lowercase());
                rest
            }
            _ => return None,
        };
        if let [Token::Comma, rest @ ..] = tokens {
            tokens = rest;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn equal(field: &str, value: &str) -> Term {
        Term::Compare { field: field.into(), with: Comparison::Equal, value: value.into() }
    }

    #[test]
    fn filters() {
        let check = |text: &str, expected: &[Term]| {
            assert_eq!(parse(Some(text)).unwrap(), expected, "{text}");
        };
        check("", &[]);
        check("roleName eq 'Key Vault Reader'", &[equal("rolename", "Key Vault Reader")]);
        check(
            "resourceType eq 'Microsoft.KeyVault/vaults' and name eq 'o''neil'",
            &[equal("resourcetype", "Microsoft.KeyVault/vaults"), equal("name", "o'neil")],
        );
        let call = |name: &str, arguments: &[&str]| Term::Call {
            name: name.into(),
            arguments: arguments.iter().map(|text| (*text).to_owned()).collect(),
        };
        check("atScope()", &[call("atscope", &[])]);
        check("atScope() and assignedTo('x')", &[call("atscope", &[]), call("assignedto", &["x"])]);
        check("substringof('kv', name)", &[call("substringof", &["kv", "name"])]);
        check(
            "eventTimestamp ge 2026-01-01T00:00:00Z",
            &[Term::Compare {
                field: "eventtimestamp".into(),
                with: Comparison::AtLeast,
                value: "2026-01-01T00:00:00Z".into(),
            }],
        );
        for wrong in
            ["a eq", "a eq 'b", "a eq 'b' or c eq 'd'", "(a eq 'b')", "f('x'", "a b c", "'"]
        {
            let refusal = parse(Some(wrong)).unwrap_err();
            assert_eq!(refusal.code, "InvalidFilterInQueryString", "{wrong}");
        }
    }
}
