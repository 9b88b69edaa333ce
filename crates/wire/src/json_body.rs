//! Bodies as JSON, read strictly: what two readers could understand differently is refused.

use std::fmt;

use custody_resources::Refusal;
use serde::de::{DeserializeSeed, Error, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Number, Value};

/// Deepest nesting of a body. The API's own bodies stay below twenty.
const DEPTH_MAX: usize = 64;

/// Reads a body; an empty one is `Null`. A name that stands twice in an object, nesting deeper
/// than [`DEPTH_MAX`], bytes that are no UTF-8 and anything after the value are refused.
pub(crate) fn parse(bytes: &[u8]) -> Result<Value, Refusal> {
    if bytes.is_empty() {
        return Ok(Value::Null);
    }
    let wrong = |error| Refusal::bad_request(format!("the body is no JSON: {error}"));
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let value = Strict { depth: 0 }.deserialize(&mut reader).map_err(wrong)?;
    reader.end().map_err(wrong)?;
    Ok(value)
}

/// Reads one value at this depth.
#[derive(Clone, Copy)]
struct Strict {
    depth: usize,
}

impl Strict {
    fn deeper<E: Error>(self) -> Result<Self, E> {
        if self.depth >= DEPTH_MAX {
            return Err(E::custom(format_args!("it is nested deeper than {DEPTH_MAX} levels")));
        }
        Ok(Self { depth: self.depth + 1 })
    }
}

impl<'de> DeserializeSeed<'de> for Strict {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, source: D) -> Result<Value, D::Error> {
        source.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value).map(Value::Number).ok_or_else(|| E::custom("no finite number"))
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(Value::String(text.to_owned()))
    }

    fn visit_string<E>(self, text: String) -> Result<Value, E> {
        Ok(Value::String(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut source: A) -> Result<Value, A::Error> {
        let inner = self.deeper()?;
        let mut values = Vec::new();
        while let Some(value) = source.next_element_seed(inner)? {
            values.push(value);
        }
        Ok(Value::Array(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut source: A) -> Result<Value, A::Error> {
        let inner = self.deeper()?;
        let mut fields = Map::new();
        while let Some(name) = source.next_key_seed(Name)? {
            let value = source.next_value_seed(inner)?;
            if fields.insert(name, value).is_some() {
                return Err(A::Error::custom("a name stands twice in an object"));
            }
        }
        Ok(Value::Object(fields))
    }
}

/// Reads the name of a field.
struct Name;

impl<'de> DeserializeSeed<'de> for Name {
    type Value = String;

    fn deserialize<D: Deserializer<'de>>(self, source: D) -> Result<String, D::Error> {
        String::deserialize(source)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn bodies() {
        let check = |text: &[u8], expected: Result<Value, &str>| {
            let got = parse(text).map_err(|refusal| refusal.message);
            match (got, expected) {
                (Ok(got), Ok(want)) => assert_eq!(got, want),
                (Err(got), Err(want)) => assert!(got.contains(want), "{got}"),
                (got, want) => panic!("{}: {got:?}, not {want:?}", String::from_utf8_lossy(text)),
            }
        };
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        check(b"", Ok(Value::Null));
        check(
            br#"{"a":[1,-2,1.5,"x",true,null],"b":{}}"#,
            Ok(json!({"a":[1,-2,1.5,"x",true,null],"b":{}})),
        );
        check(br#"{"a":1,"a":2}"#, Err("twice"));
        check(br#"{"x":{"a":1,"b":2,"\u0061":3}}"#, Err("twice"));
        check(b"{\"a\":\"\xff\"}", Err("no JSON"));
        check(b"{} {}", Err("no JSON"));
        check(b"[1", Err("no JSON"));
        check(b"1e999", Err("no JSON"));
        assert!(parse(nested(DEPTH_MAX).as_bytes()).is_ok());
        check(nested(DEPTH_MAX + 1).as_bytes(), Err("nested deeper"));
        check(nested(100_000).as_bytes(), Err("no JSON"));
    }
}
