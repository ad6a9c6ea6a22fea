//! What clients may send in fields: each type has its rule twice, for garde (which enforces it) and for the OpenAPI document
//! (which tells of it). A test holds the two together by driving the service from its document.

use garde::Validate;
use serde::Deserialize;
use utoipa::ToSchema;

/// Refuses control characters: text of one line.
fn line(text: &str, _: &()) -> garde::Result {
    match text.chars().any(|c| c.is_ascii_control()) {
        true => Err(garde::Error::new("must not contain control characters")),
        false => Ok(()),
    }
}

/// Refuses U+0000, which PostgreSQL's text cannot hold.
fn text(text: &str, _: &()) -> garde::Result {
    match text.contains('\0') {
        true => Err(garde::Error::new("must not contain the character U+0000")),
        false => Ok(()),
    }
}

fn word(text: &str, _: &()) -> garde::Result {
    match text.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_')) {
        true => Ok(()),
        false => Err(garde::Error::new("must consist of lower-case letters, digits, - and _")),
    }
}

/// One `@`, before it letters, digits and `._%+-`, behind it a domain of two labels or more.
fn email(text: &str, _: &()) -> garde::Result {
    let local = |part: &str| {
        (1..=64).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"._%+-".contains(&b))
    };
    let label =
        |part: &str| (1..=63).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    let fits = text
        .split_once('@')
        .is_some_and(|(name, domain)| local(name) && domain.contains('.') && domain.split('.').all(label));
    if fits { Ok(()) } else { Err(garde::Error::new("must be an e-mail address")) }
}

/// An e-mail address. Upper and lower case are the same to this service.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Validate, ToSchema)]
#[garde(transparent)]
#[serde(transparent)]
#[schema(
    value_type = String, max_length = 254, example = "ada@example.com",
    pattern = r"^[A-Za-z0-9._%+-]{1,64}@[A-Za-z0-9-]{1,63}(\.[A-Za-z0-9-]{1,63})+$"
)]
pub struct Email(#[garde(length(max = 254), custom(email))] String);

impl Email {
    /// The address, if it is one that somebody can sign in with.
    pub fn parse(text: &str) -> Option<Self> {
        let email = Self(text.to_owned());
        email.validate().is_ok().then_some(email)
    }

    /// The address in lower case, as accounts have it.
    pub fn folded(&self) -> String {
        self.0.to_ascii_lowercase()
    }
}

/// A password that is to be kept: 8 to 128 characters, of any kind but U+0000.
#[derive(Clone, PartialEq, Eq, Deserialize, Validate, ToSchema)]
#[garde(transparent)]
#[serde(transparent)]
#[schema(value_type = String, format = Password, min_length = 8, max_length = 128, pattern = r"^[^\u0000]*$", example = "correct horse")]
pub struct NewPassword(#[garde(length(chars, min = 8, max = 128), custom(text))] String);

/// A password to be checked.
#[derive(Clone, PartialEq, Eq, Deserialize, Validate, ToSchema)]
#[garde(transparent)]
#[serde(transparent)]
#[schema(value_type = String, format = Password, min_length = 1, max_length = 128, pattern = r"^[^\u0000]*$", example = "correct horse")]
pub struct Password(#[garde(length(chars, min = 1, max = 128), custom(text))] String);

impl NewPassword {
    /// Whether somebody can sign in with this.
    pub fn fits(text: &str) -> bool {
        Self(text.to_owned()).validate().is_ok()
    }

    /// The password itself. (There is no `Debug`, so that no log gets it.)
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl Password {
    /// The password itself.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

/// A name: 1 to 100 characters on one line.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Validate, ToSchema)]
#[garde(transparent)]
#[serde(transparent)]
#[schema(value_type = String, min_length = 1, max_length = 100, pattern = r"^[^\x00-\x1f\x7f]+$", example = "Margherita")]
pub struct Name(#[garde(length(chars, min = 1, max = 100), custom(line))] pub String);

/// Text of at most 1000 characters.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Validate, ToSchema)]
#[garde(transparent)]
#[serde(transparent)]
#[schema(value_type = String, max_length = 1000, pattern = r"^[^\u0000]*$", example = "Tomato, mozzarella, basil")]
pub struct Text(#[garde(length(chars, max = 1000), custom(text))] pub String);

/// A word to find an item by: 1 to 30 lower-case letters, digits, `-` and `_`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Validate, ToSchema)]
#[garde(transparent)]
#[serde(transparent)]
#[schema(value_type = String, min_length = 1, max_length = 30, pattern = r"^[a-z0-9_-]+$", example = "vegetarian")]
pub struct Word(#[garde(length(min = 1, max = 30), custom(word))] pub String);

/// What to search for: 1 to 100 characters.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Validate, ToSchema)]
#[garde(transparent)]
#[serde(transparent)]
#[schema(value_type = String, min_length = 1, max_length = 100, pattern = r"^[^\u0000]+$", example = "pizza")]
pub struct Search(#[garde(length(chars, min = 1, max = 100), custom(text))] pub String);

/// How many of a list to give: 1 to 100.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Validate, ToSchema)]
#[garde(transparent)]
#[serde(transparent)]
#[schema(value_type = i64, minimum = 1, maximum = 100, default = 50)]
pub struct Limit(#[garde(range(min = 1, max = 100))] pub i64);

impl Default for Limit {
    fn default() -> Self {
        Self(50)
    }
}

/// How many there are: 0 to 1 000 000.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Validate, ToSchema)]
#[garde(transparent)]
#[serde(transparent)]
#[schema(value_type = i64, minimum = 0, maximum = 1_000_000, example = 12)]
pub struct Count(
    #[garde(range(min = 0, max = 1_000_000))]
    #[serde(deserialize_with = "service::number::signed")]
    pub i64,
);

/// How many are wanted: 1 to 1000.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Validate, ToSchema)]
#[garde(transparent)]
#[serde(transparent)]
#[schema(value_type = i64, minimum = 1, maximum = 1000, example = 2)]
pub struct Quantity(
    #[garde(range(min = 1, max = 1000))]
    #[serde(deserialize_with = "service::number::signed")]
    pub i64,
);

/// Where something stands among others: 0 to 10 000.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Validate, ToSchema)]
#[garde(transparent)]
#[serde(transparent)]
#[schema(value_type = i64, minimum = 0, maximum = 10_000, example = 1)]
pub struct Position(
    #[garde(range(min = 0, max = 10_000))]
    #[serde(deserialize_with = "service::number::signed")]
    pub i64,
);

/// An amount of money in cents: 0 to 100 000 000.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Validate, ToSchema)]
#[garde(transparent)]
#[serde(transparent)]
#[schema(value_type = i64, minimum = 0, maximum = 100_000_000, example = 950)]
pub struct Cents(
    #[garde(range(min = 0, max = 100_000_000))]
    #[serde(deserialize_with = "service::number::signed")]
    pub i64,
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_told_from_what_is_none() {
        for good in ["a@b.c", "Ada.L+x@mail.example.com"] {
            assert!(Email(good.to_owned()).validate().is_ok(), "{good}");
        }
        for bad in ["", "a", "a@b", "@b.c", "a@.c", "a b@c.d", "a@b.c\n", "a@b@c.d", "a\0@b.c", "é@b.c"] {
            assert!(Email(bad.to_owned()).validate().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn names_are_of_one_line_and_passwords_of_any_length_in_bytes() {
        assert!(Name("Crème brûlée".to_owned()).validate().is_ok());
        assert!(Name("a\nb".to_owned()).validate().is_err());
        assert!(NewPassword("🦀".repeat(128)).validate().is_ok());
        assert!(NewPassword("short".to_owned()).validate().is_err());
    }
}
