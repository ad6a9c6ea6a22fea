//! A value and where it stands, with the checks that every kind needs.

use objects::names;
use serde_json::{Value, json};

use crate::status::Cause;

const NOT_NEGATIVE: &str = "must be greater than or equal to 0";
const PORT: &str = "must be between 1 and 65535, inclusive";

/// A value of an object (null where there is none), and its path.
#[derive(Clone, Debug)]
pub(crate) struct At<'a> {
    pub(crate) value: &'a Value,
    pub(crate) path: String,
}

impl<'a> At<'a> {
    pub(crate) fn root(value: &'a Value) -> Self {
        Self { value, path: String::new() }
    }

    pub(crate) fn field(&self, name: &str) -> Self {
        let path = if self.path.is_empty() { name.to_owned() } else { [&self.path, ".", name].concat() };
        Self { value: self.value.get(name).unwrap_or(&Value::Null), path }
    }

    /// The elements of a list field.
    pub(crate) fn each(&self, name: &str) -> impl Iterator<Item = Self> + use<'a> {
        self.field(name).elements()
    }

    /// The elements of this list.
    pub(crate) fn elements(self) -> impl Iterator<Item = Self> + use<'a> {
        let list = self.value.as_array().map(Vec::as_slice).unwrap_or_default();
        list.iter().enumerate().map(move |(index, value)| Self { value, path: format!("{}[{index}]", self.path) })
    }

    /// The entries of this map: each key, and its value at `path[key]`.
    pub(crate) fn entries(self) -> impl Iterator<Item = (&'a str, Self)> {
        let map = self.value.as_object().into_iter().flatten();
        map.map(move |(key, value)| (key.as_str(), Self { value, path: format!("{}[{key}]", self.path) }))
    }

    pub(crate) fn text(&self) -> &'a str {
        self.value.as_str().unwrap_or_default()
    }

    pub(crate) fn number(&self) -> Option<i64> {
        self.value.as_i64()
    }

    pub(crate) fn is_set(&self) -> bool {
        !self.value.is_null()
    }

    pub(crate) fn is_true(&self) -> bool {
        self.value == &Value::Bool(true)
    }

    pub(crate) fn len(&self) -> usize {
        match self.value {
            Value::Array(list) => list.len(),
            Value::Object(map) => map.len(),
            Value::String(text) => text.len(),
            _ => 0,
        }
    }

    pub(crate) fn invalid(&self, why: &str) -> Cause {
        Cause::invalid(&self.path, self.value, why)
    }

    /// A value that is too large to be shown.
    pub(crate) fn invalid_shown(&self, why: &str) -> Cause {
        Cause::invalid_shown(&self.path, "\"\"", why)
    }

    pub(crate) fn required(&self, why: &str) -> Cause {
        Cause::required(&self.path, why)
    }

    pub(crate) fn forbidden(&self, why: &str) -> Cause {
        Cause::forbidden(&self.path, why)
    }

    pub(crate) fn duplicate(&self) -> Cause {
        Cause::duplicate(&self.path, self.value)
    }

    /// It must be there and not empty.
    pub(crate) fn must_be_set(&self) -> Option<Cause> {
        let empty = !self.is_set() || self.value == &json!("");
        empty.then(|| self.required(""))
    }

    /// It must be one of these, if it is set at all.
    pub(crate) fn one_of(&self, supported: &[&str]) -> Option<Cause> {
        let wrong = self.is_set() && !supported.contains(&self.text());
        wrong.then(|| Cause::not_supported(&self.path, self.value, supported))
    }

    /// It must be there, and be one of these.
    pub(crate) fn must_be_one_of(&self, supported: &[&str]) -> Option<Cause> {
        self.must_be_set().or_else(|| self.one_of(supported))
    }

    pub(crate) fn not_negative(&self) -> Option<Cause> {
        self.at_least(0, NOT_NEGATIVE)
    }

    /// A number, if it is set, is at least this.
    pub(crate) fn at_least(&self, least: i64, why: &str) -> Option<Cause> {
        self.number().is_some_and(|number| number < least).then(|| self.invalid(why))
    }

    /// What one of the checks of `names` finds wrong with a text.
    pub(crate) fn named(&self, check: fn(&str) -> Vec<String>) -> Vec<Cause> {
        check(self.text()).iter().map(|wrong| self.invalid(wrong)).collect()
    }

    /// As [`At::named`], with an own word for a name that is not there.
    pub(crate) fn must_be_named(&self, check: fn(&str) -> Vec<String>) -> Vec<Cause> {
        self.must_be_set().map_or_else(|| self.named(check), |missing| vec![missing])
    }

    /// The number of a port that must be there.
    pub(crate) fn port_number(&self) -> Option<Cause> {
        match self.number().unwrap_or(0) {
            0 if !self.is_set() => Some(self.required("")),
            1..=65535 => None,
            _ => Some(self.invalid(PORT)),
        }
    }

    /// A port by number or by name.
    pub(crate) fn port(&self) -> Vec<Cause> {
        match self.value {
            Value::String(name) => names::port_name(name).iter().map(|wrong| self.invalid(wrong)).collect(),
            _ => self.port_number().into_iter().collect(),
        }
    }

    /// A path that stays below where it starts.
    pub(crate) fn local_path(&self) -> Option<Cause> {
        let path = self.text();
        if path.starts_with('/') {
            return Some(self.invalid("must be a relative path"));
        }
        self.no_steps_up()
    }

    pub(crate) fn no_steps_up(&self) -> Option<Cause> {
        self.text().split('/').any(|step| step == "..").then(|| self.invalid("must not contain '..'"))
    }
}

/// The duplicates among values.
pub(crate) fn duplicates<'a>(all: impl Iterator<Item = At<'a>>) -> Vec<Cause> {
    let mut seen = std::collections::HashSet::new();
    all.filter(|at| at.is_set()).filter_map(|at| (!seen.insert(at.value.to_string())).then(|| at.duplicate())).collect()
}
