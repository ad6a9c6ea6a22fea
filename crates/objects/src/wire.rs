//! What every server of Kubernetes' API reads and says the same way: a query's parameters, the form that `Accept` asks for, and
//! the `Status` of a failure.

use std::collections::HashMap;

use serde_json::{Value, json};

/// Percent-decodes one path segment or query value; `None` for what is not encoded UTF-8.
pub fn decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => {
                let digits = [rest.next()?, rest.next()?];
                // The library takes a sign for part of a number.
                let digits = std::str::from_utf8(&digits).ok().filter(|_| digits.iter().all(u8::is_ascii_hexdigit))?;
                u8::from_str_radix(digits, 16).ok()?
            }
            other => other,
        });
    }
    String::from_utf8(bytes).ok()
}

/// The parameters of a query such as `a=b&c=d`, in order; those that cannot be decoded are left out.
pub fn pairs(query: Option<&str>) -> impl Iterator<Item = (String, String)> {
    let plain = |text: &str| decode(&text.replace('+', " "));
    let pairs = query.unwrap_or_default().split('&').filter(|pair| !pair.is_empty());
    let pairs = pairs.map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    pairs.filter_map(move |(name, value)| Some((plain(name)?, plain(value)?)))
}

/// A parameter is to be a number, and is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{name}: {value:?} is not a number")]
pub struct NotANumber {
    name: String,
    value: String,
}

/// The query's parameters; the first of a repeated one counts.
#[derive(Clone, Debug, Default)]
pub struct Query(HashMap<String, String>);

impl Query {
    /// Reads `a=b&c=d`.
    pub fn parse(query: Option<&str>) -> Self {
        let mut all = HashMap::new();
        for (name, value) in pairs(query) {
            all.entry(name).or_insert(value);
        }
        Self(all)
    }

    /// A parameter's value; empty ones count as absent.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// Whether a boolean parameter is on, in any of Go's spellings: the Python client writes `True`.
    pub fn is_on(&self, name: &str) -> bool {
        self.0.get(name).is_some_and(|value| matches!(value.as_str(), "1" | "t" | "T" | "true" | "True" | "TRUE"))
    }

    /// A number.
    ///
    /// # Errors
    /// Names the parameter.
    pub fn number<T: std::str::FromStr>(&self, name: &str) -> Result<Option<T>, NotANumber> {
        let wrong = |value: &str| NotANumber { name: name.to_owned(), value: value.to_owned() };
        self.get(name).map(|value| value.parse().map_err(|_| wrong(value))).transpose()
    }
}

/// The form in which objects are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// As they are.
    Whole,
    /// `PartialObjectMetadata`.
    Metadata,
    /// `Table`.
    Table,
}

impl Form {
    /// What an `Accept` header prefers among the forms that are JSON; `None` when it asks for none of them.
    pub fn accepted(accept: &str) -> Option<Self> {
        for media in accept.split(',') {
            let mut parameters = media.split(';').map(str::trim);
            if !matches!(parameters.next(), Some("application/json" | "*/*" | "application/*" | "")) {
                continue;
            }
            return Some(match parameters.find_map(|p| p.strip_prefix("as=")) {
                Some("Table") => Self::Table,
                Some("PartialObjectMetadata" | "PartialObjectMetadataList") => Self::Metadata,
                _ => Self::Whole,
            });
        }
        None
    }
}

/// The `Status` that says a failure: its HTTP status, a reason for machines such as `NotFound` (none if empty), and what people read.
pub fn failure(code: u16, reason: &str, message: &str) -> Value {
    let mut status = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": message, "reason": reason, "code": code,
    });
    if let (true, Some(object)) = (reason.is_empty(), status.as_object_mut()) {
        object.remove("reason");
    }
    status
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_are_decoded_and_their_mistakes_named() {
        let query = Query::parse(Some("labelSelector=a%3Db%2Cc&watch=1&limit=x&empty="));
        assert_eq!(query.get("labelSelector"), Some("a=b,c"));
        assert!(query.is_on("watch") && query.get("empty").is_none());
        assert!(query.number::<u64>("limit").unwrap_err().to_string().contains("limit"));
    }

    #[test]
    fn what_is_no_escape_is_no_parameter() {
        let found: Vec<_> = pairs(Some("a=%2B%+f&b=%2&c=%zz&d&d=+e")).collect();
        assert_eq!(found, [("d", ""), ("d", " e")].map(|(name, value)| (name.to_owned(), value.to_owned())));
        assert_eq!((decode("%+f"), decode("%2f+")), (None, Some("/+".to_owned())));
    }

    #[test]
    fn the_first_acceptable_form_wins() {
        let table = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json";
        assert_eq!(Form::accepted(table), Some(Form::Table));
        assert_eq!(Form::accepted("application/vnd.kubernetes.protobuf,application/json"), Some(Form::Whole));
        let metadata = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1";
        assert_eq!(Form::accepted(metadata), Some(Form::Metadata));
        assert_eq!(Form::accepted(""), Some(Form::Whole));
        assert_eq!(Form::accepted("application/vnd.kubernetes.protobuf"), None);
    }
}
