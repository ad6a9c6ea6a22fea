//! Whole numbers as JSON Schema has them: JSON knows one kind of number, and `3.0` is the integer `3`. For use with
//! `#[serde(deserialize_with = "service::number::whole")]`.

use std::{fmt, marker::PhantomData};

use serde::{Deserialize, Deserializer, de};

/// The largest whole number that every reader of JSON has exactly (RFC 8259, section 6): 2⁵³ - 1.
pub const LARGEST: u64 = 9_007_199_254_740_991;

/// A kind of whole numbers.
trait Kind: TryFrom<i128> {
    /// What is expected where one stands.
    const EXPECTED: &'static str;

    /// Asks for one by its type: where all values are texts, as in queries, they are read as numbers only then.
    fn ask<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Whole<Self>, D::Error>;
}

impl Kind for u64 {
    const EXPECTED: &'static str = "a whole number of at least 0";

    fn ask<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Whole<Self>, D::Error> {
        deserializer.deserialize_u64(Visitor(PhantomData))
    }
}

impl Kind for i64 {
    const EXPECTED: &'static str = "a whole number";

    fn ask<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Whole<Self>, D::Error> {
        deserializer.deserialize_i64(Visitor(PhantomData))
    }
}

struct Whole<T>(T);

impl<'de, T: Kind> Deserialize<'de> for Whole<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        T::ask(deserializer)
    }
}

struct Visitor<T>(PhantomData<T>);

impl<T: Kind> Visitor<T> {
    fn fit<E: de::Error>(&self, value: i128, told: de::Unexpected<'_>) -> Result<Whole<T>, E> {
        T::try_from(value).map(Whole).map_err(|_| E::invalid_value(told, self))
    }
}

impl<T: Kind> de::Visitor<'_> for Visitor<T> {
    type Value = Whole<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(T::EXPECTED)
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Whole<T>, E> {
        self.fit(value.into(), de::Unexpected::Unsigned(value))
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Whole<T>, E> {
        self.fit(value.into(), de::Unexpected::Signed(value))
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Whole<T>, E> {
        if value.fract() == 0.0 && value.abs() <= LARGEST as f64 {
            // Within these bounds nothing is lost.
            return self.fit(value as i128, de::Unexpected::Float(value));
        }
        Err(E::invalid_value(de::Unexpected::Float(value), &self))
    }
}

/// A whole number of at least 0, however it is written.
///
/// # Errors
/// It is another value.
pub fn whole<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    Whole::deserialize(deserializer).map(|whole| whole.0)
}

/// A whole number on either side of 0, however it is written.
///
/// # Errors
/// It is another value.
pub fn signed<'de, D: Deserializer<'de>>(deserializer: D) -> Result<i64, D::Error> {
    Whole::deserialize(deserializer).map(|whole| whole.0)
}

/// As [`whole`], or `null`. A member that may be absent needs `#[serde(default)]` too.
///
/// # Errors
/// It is another value.
pub fn optional<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    Option::<Whole<u64>>::deserialize(deserializer).map(|whole| whole.map(|whole| whole.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Deserialize)]
    struct Body {
        #[serde(deserialize_with = "whole")]
        n: u64,
        #[serde(default, deserialize_with = "optional")]
        m: Option<u64>,
    }

    #[test]
    fn a_whole_number_is_one_however_it_is_written() {
        let read = |json: &str| serde_json::from_str::<Body>(json).map(|body| (body.n, body.m)).ok();
        assert_eq!(read(r#"{"n": 3}"#), Some((3, None)));
        assert_eq!(read(r#"{"n": 3.0, "m": 1e3}"#), Some((3, Some(1000))));
        assert_eq!(read(r#"{"n": 3, "m": null}"#), Some((3, None)));
        for bad in
            [r#"{"n": 3.5}"#, r#"{"n": -1}"#, r#"{"n": "3"}"#, r#"{"n": 1e300}"#, r#"{"n": null}"#, r#"{"n": -1.0}"#]
        {
            assert_eq!(read(bad), None, "{bad}");
        }
    }

    #[test]
    fn one_is_read_from_a_query_too() {
        #[derive(Deserialize)]
        struct Range {
            #[serde(deserialize_with = "whole")]
            from: u64,
            #[serde(deserialize_with = "signed")]
            to: i64,
        }
        let read = |query: &str| {
            let uri = format!("/?{query}").parse().unwrap();
            axum::extract::Query::<Range>::try_from_uri(&uri).ok().map(|query| (query.from, query.to))
        };
        assert_eq!(read("from=3&to=-4"), Some((3, -4)));
        assert_eq!(read("from=-3&to=4"), None);
        assert_eq!(read("from=x&to=4"), None);
    }

    #[test]
    fn one_below_nothing_is_one_where_it_may_be() {
        let read = |json: &str| signed(&mut serde_json::Deserializer::from_str(json)).ok();
        assert_eq!([read("-3"), read("-3.0"), read("3e0")], [Some(-3), Some(-3), Some(3)]);
        assert_eq!(read("-9223372036854775808"), Some(i64::MIN));
        for bad in ["3.5", "1e300", "\"3\"", "9223372036854775808", "null"] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }
}
