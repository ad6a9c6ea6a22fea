//! Field paths of replacements: names parted by dots, `[name=value]` and indices for elements of lists, `*` for all of them.

use regex::Regex;
use serde_json::{Map, Value};

use super::fieldspec;
use crate::yaml;

/// One step into a value.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Step {
    Field(String),
    Element(usize),
}

/// A place in a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) steps: Vec<Step>,
    /// Whether the search made it.
    pub(super) is_new: bool,
}

/// The parts of a path; dots within brackets do not part.
pub(super) fn parts(path: &str) -> Vec<String> {
    let mut parts = Vec::new();
    let mut pieces = fieldspec::split(path, '.').into_iter();
    while let Some(mut part) = pieces.next() {
        if part.starts_with('[') && !part.ends_with(']') {
            for piece in pieces.by_ref() {
                part = format!("{part}.{piece}");
                if piece.ends_with(']') {
                    break;
                }
            }
            // Brackets without `=` only keep a name together.
            if !part.contains('=') {
                part = part.trim_matches(['[', ']']).to_owned();
            }
        }
        parts.push(part);
    }
    parts
}

/// `[name=value]`, the name empty for lists of scalars.
fn element_match(part: &str) -> Result<Option<(&str, &str)>, String> {
    match part.strip_prefix('[').and_then(|part| part.strip_suffix(']')) {
        None => Ok(None),
        Some(inner) => {
            let pair = inner.split_once('=').ok_or_else(|| format!("{part} must be [name=value]"))?;
            Ok(Some(pair))
        }
    }
}

/// The value at a path, which may name elements by exact value or index (`-` is the last), or nothing.
///
/// # Errors
/// When a part is malformed, or leads into something of another shape.
pub(super) fn lookup<'v>(value: &'v Value, parts: &[String]) -> Result<Option<&'v Value>, String> {
    let mut value = value;
    for part in parts.iter().map(|part| part.trim()).filter(|part| !part.is_empty()) {
        let list = || value.as_array().ok_or_else(|| format!("{part} needs a list"));
        let next = if part == "*" {
            return Err("* is not possible in a source".to_owned());
        } else if let Some((name, wanted)) = element_match(part)? {
            list()?.iter().find(|item| text(item, name).as_deref() == Some(wanted))
        } else if part == "-" {
            list()?.last()
        } else if let Ok(at) = part.parse::<usize>() {
            list()?.get(at)
        } else {
            match value {
                Value::Object(fields) => fields.get(part),
                Value::Null => None,
                _ => return Err(format!("{part} is looked for in what is not a mapping")),
            }
        };
        match next {
            Some(next) => value = next,
            None => return Ok(None),
        }
    }
    Ok(Some(value))
}

/// The text of an element's field, or of the element.
fn text(item: &Value, name: &str) -> Option<String> {
    if name.is_empty() { yaml::text(item) } else { item.get(name).and_then(yaml::text) }
}

/// Every place that a path leads to. With `create` (the value that is to be put there), what is missing is made.
///
/// # Errors
/// As `lookup`; and when an index is beyond the list, or an expression malformed.
pub(super) fn find(value: &mut Value, parts: &[String], create: Option<&Value>) -> Result<Vec<Place>, String> {
    let mut search = Search { create, found: Vec::new() };
    search.go(value, parts, &mut Vec::new(), false)?;
    Ok(search.found)
}

/// The value at a place.
pub(super) fn at<'v>(value: &'v mut Value, steps: &[Step]) -> Option<&'v mut Value> {
    steps.iter().try_fold(value, |value, step| match step {
        Step::Field(name) => value.get_mut(name),
        Step::Element(index) => value.get_mut(index),
    })
}

struct Search<'v> {
    create: Option<&'v Value>,
    found: Vec<Place>,
}

impl Search<'_> {
    fn go(&mut self, value: &mut Value, parts: &[String], steps: &mut Vec<Step>, is_new: bool) -> Result<(), String> {
        let Some((part, rest)) = parts.split_first() else {
            self.found.push(Place { steps: steps.clone(), is_new });
            return Ok(());
        };
        if let Ok(index) = part.parse::<usize>() {
            return self.index(value, index, rest, steps);
        }
        if let Some((name, wanted)) = element_match(part)? {
            return self.matching(value, (name, wanted), rest, steps);
        }
        if part == "*" {
            let items = value.as_array_mut().ok_or("* needs a list")?;
            return self.elements(items, |_| true, rest, steps);
        }
        self.field(value, part, rest, steps)
    }

    /// What a missing value is made as, given what is looked for in it.
    fn blank(&self, rest: &[String]) -> Value {
        match (rest.first(), self.create) {
            (Some(next), _) if next.parse::<usize>().is_ok() || next.starts_with('[') => Value::Array(Vec::new()),
            (Some(_), _) | (None, Some(Value::Object(_))) => Value::Object(Map::new()),
            (None, Some(Value::Array(_))) => Value::Array(Vec::new()),
            (None, _) => Value::Null,
        }
    }

    fn field(&mut self, value: &mut Value, name: &str, rest: &[String], steps: &mut Vec<Step>) -> Result<(), String> {
        if value.is_null() && self.create.is_some() {
            *value = Value::Object(Map::new());
        }
        let fields = match value {
            Value::Object(fields) => fields,
            Value::Null => return Ok(()),
            _ => return Err(format!("{name} is looked for in what is not a mapping")),
        };
        let is_new = !fields.contains_key(name);
        if is_new && self.create.is_none() {
            return Ok(());
        }
        let blank = self.blank(rest);
        let field = fields.entry(name).or_insert(blank);
        steps.push(Step::Field(name.to_owned()));
        self.go(field, rest, steps, is_new)?;
        steps.pop();
        Ok(())
    }

    fn index(&mut self, value: &mut Value, index: usize, rest: &[String], steps: &mut Vec<Step>) -> Result<(), String> {
        let blank = self.blank(rest);
        let items = value.as_array_mut().ok_or_else(|| format!("the index {index} needs a list"))?;
        let is_new = items.len() == index && self.create.is_some();
        if is_new {
            items.push(blank);
        }
        let count = items.len();
        let item = items.get_mut(index).ok_or_else(|| format!("the index {index} is beyond the {count} elements"))?;
        steps.push(Step::Element(index));
        self.go(item, rest, steps, is_new)?;
        steps.pop();
        Ok(())
    }

    /// Elements whose field holds what the expression matches, not necessarily as a whole.
    fn matching(
        &mut self,
        value: &mut Value,
        (name, wanted): (&str, &str),
        rest: &[String],
        steps: &mut Vec<Step>,
    ) -> Result<(), String> {
        let pattern = Regex::new(wanted).map_err(|error| format!("{wanted:?}: {error}"))?;
        let items = value.as_array_mut().ok_or_else(|| format!("[{name}={wanted}] needs a list"))?;
        let before = self.found.len();
        let matches = |item: &Value| text(item, name).is_some_and(|text| pattern.is_match(text.trim()));
        // An element of a list of scalars is the end of the path.
        let rest = if name.is_empty() { &[] } else { rest };
        self.elements(items, matches, rest, steps)?;
        if self.found.len() > before || self.create.is_none() {
            return Ok(());
        }
        let scalar = yaml::plain(wanted, yaml::Dialect::Kustomize)?;
        items.push(if name.is_empty() { scalar } else { [(name.to_owned(), scalar)].into_iter().collect() });
        self.elements(items, matches, rest, steps)
    }

    fn elements(
        &mut self,
        items: &mut [Value],
        wanted: impl Fn(&Value) -> bool,
        rest: &[String],
        steps: &mut Vec<Step>,
    ) -> Result<(), String> {
        for (index, item) in items.iter_mut().enumerate().filter(|(_, item)| wanted(item)) {
            steps.push(Step::Element(index));
            self.go(item, rest, steps, false)?;
            steps.pop();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn dots_in_brackets_and_after_backslashes_belong_to_the_name() {
        assert_eq!(parts("a.[b=c.d].e"), ["a", "[b=c.d]", "e"]);
        assert_eq!(parts("a.[b.c/d].e"), ["a", "b.c/d", "e"]);
        assert_eq!(parts("a.b\\.c"), ["a", "b.c"]);
    }

    #[test]
    fn paths_name_elements_by_index_value_or_all() {
        let mut value = json!({"c": [{"name": "a", "e": [1, 2]}, {"name": "ab"}]});
        let mut found = |path: &str| find(&mut value, &parts(path), None).map(|places| places.len());
        assert_eq!(found("c.[name=a]"), Ok(2));
        assert_eq!(found("c.[name=^a$].e.1"), Ok(1));
        assert_eq!(found("c.*.e"), Ok(1));
        assert_eq!(found("c.0.missing"), Ok(0));
        assert!(found("c.5").is_err() && found("c.name").is_err());
        assert_eq!(lookup(&value, &parts("c.[name=a].e.-")), Ok(Some(&json!(2))));
    }

    #[test]
    fn missing_fields_and_elements_are_made_on_demand() {
        let mut value = json!({});
        let made = find(&mut value, &parts("a.[name=b].c"), Some(&json!("x"))).unwrap();
        assert_eq!((made.len(), value), (1, json!({"a": [{"name": "b", "c": null}]})));
    }
}
