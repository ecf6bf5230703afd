//! What the pool was told to be harmless.

use std::collections::HashSet;

/// The routines, views and triggers that are known to change no session: `shop.price_of`, all of a schema as
/// `shop.*`, or a loadable function by its name alone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Harmless {
    /// In lower case.
    names: HashSet<(Option<Vec<u8>>, Vec<u8>)>,
}

impl Harmless {
    /// What these names say. A name without a schema is one of any schema.
    pub fn new<'a>(names: impl IntoIterator<Item = &'a str>) -> Harmless {
        let split = |name: &str| {
            let lower = name.to_lowercase();
            match lower.split_once('.') {
                Some((schema, name)) => (Some(schema.into()), name.into()),
                None => (None, lower.into()),
            }
        };
        Harmless {
            names: names.into_iter().map(split).collect(),
        }
    }

    /// Whether it contains this name, in lower case. Without a schema it may be one of any.
    pub(super) fn contains(&self, schema: Option<&[u8]>, name: &[u8]) -> bool {
        if self.names.is_empty() {
            return false;
        }
        let has = |schema: Option<&[u8]>, name: &[u8]| {
            self.names
                .contains(&(schema.map(<[u8]>::to_vec), name.to_vec()))
        };
        has(None, name) || schema.is_some() && (has(schema, name) || has(schema, b"*"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_schemas_and_functions() {
        let harmless = Harmless::new(["Shop.price_of", "tools.*", "crc64"]);
        for (schema, name, is_harmless) in [
            (Some("shop"), "price_of", true),
            (Some("shop"), "other", false),
            (Some("tools"), "anything", true),
            (Some("shop"), "crc64", true),
            (None, "crc64", true),
            (None, "price_of", false),
            (Some("x"), "*", false),
        ] {
            let found = harmless.contains(schema.map(str::as_bytes), name.as_bytes());
            assert_eq!(found, is_harmless, "{schema:?}.{name}");
        }
        assert!(!Harmless::default().contains(None, b"x"));
    }
}
