//! JSON objects inside requests. Serde also accepts arrays for them, whose elements are the fields in order.

use std::fmt;
use std::marker::PhantomData;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};

/// A value that is read from a JSON object alone.
struct Object<T>(T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_map(ObjectVisitor(PhantomData)).map(Self)
    }
}

struct ObjectVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for ObjectVisitor<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, fields: A) -> Result<T, A::Error> {
        T::deserialize(MapAccessDeserializer::new(fields))
    }
}

/// Reads an object, for `#[serde(default, deserialize_with = "..")]`; `None` for `null`.
pub fn optional_object<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    from: D,
) -> Result<Option<T>, D::Error> {
    Ok(Option::<Object<T>>::deserialize(from)?.map(|object| object.0))
}

/// Reads a list of objects.
pub fn objects<'de, D: Deserializer<'de>, T: Deserialize<'de>>(from: D) -> Result<Vec<T>, D::Error> {
    let objects = Vec::<Object<T>>::deserialize(from)?;
    Ok(objects.into_iter().map(|object| object.0).collect())
}

/// Reads a list of objects; `None` for `null`.
pub fn optional_objects<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    from: D,
) -> Result<Option<Vec<T>>, D::Error> {
    let objects = Option::<Vec<Object<T>>>::deserialize(from)?;
    Ok(objects.map(|objects| objects.into_iter().map(|object| object.0).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::json::parse;

    #[derive(serde::Deserialize)]
    struct Inner {
        a: Option<u8>,
    }

    #[derive(serde::Deserialize)]
    struct Outer {
        #[serde(default, deserialize_with = "optional_object")]
        one: Option<Inner>,
        #[serde(default, deserialize_with = "objects")]
        many: Vec<Inner>,
        #[serde(default, deserialize_with = "optional_objects")]
        more: Option<Vec<Inner>>,
    }

    #[test]
    fn an_array_is_no_object() {
        let outer: Outer = parse(br#"{"one": {"a": 1}, "many": [{"a": 2}], "more": [{}]}"#).unwrap();
        assert_eq!(outer.one.unwrap().a, Some(1));
        assert_eq!((outer.many[0].a, outer.more.unwrap().len()), (Some(2), 1));
        let absent: Outer = parse(br#"{"one": null, "more": null}"#).unwrap();
        assert!(absent.one.is_none() && absent.many.is_empty() && absent.more.is_none());
        for wrong in [r#"{"one": [1]}"#, r#"{"many": [[2]]}"#, r#"{"more": [[]]}"#] {
            let error = parse::<Outer>(wrong.as_bytes()).err().unwrap().to_string();
            assert!(error.contains("expected an object"), "{error}");
        }
    }
}
