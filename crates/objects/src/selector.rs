//! Label and field selectors, from their text form and from `LabelSelector` objects.

use std::{collections::BTreeMap, fmt};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

/// The text or object is not a selector.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unable to parse requirement: {0}")]
pub struct NotASelector(pub String);

/// One requirement on one key.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Requirement {
    Exists(String),
    Absent(String),
    In(String, Vec<String>),
    /// A missing key satisfies it.
    NotIn(String, Vec<String>),
}

/// A label selector: the conjunction of its requirements; an empty one selects everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Labels {
    requirements: Vec<Requirement>,
}

impl Labels {
    /// Parses the text form: `a=b,c!=d,e in (f,g),h notin (i),j,!k`.
    ///
    /// # Errors
    /// Says which requirement is wrong.
    pub fn parse(text: &str) -> Result<Self, NotASelector> {
        let parts = split_requirements(text).into_iter().filter(|part| !part.trim().is_empty());
        Ok(Self { requirements: parts.map(|part| requirement(part.trim())).collect::<Result<_, _>>()? })
    }

    /// The selector of an object such as a Deployment; an empty one selects everything, as upstream has it.
    ///
    /// # Errors
    /// Names the operator that does not exist.
    pub fn from_selector(selector: &LabelSelector) -> Result<Self, NotASelector> {
        let exact = selector.match_labels.iter().flatten();
        let mut requirements: Vec<_> = exact.map(|(k, v)| Requirement::In(k.clone(), vec![v.clone()])).collect();
        for expression in selector.match_expressions.iter().flatten() {
            let (key, values) = (expression.key.clone(), expression.values.clone().unwrap_or_default());
            requirements.push(match expression.operator.as_str() {
                "In" => Requirement::In(key, values),
                "NotIn" => Requirement::NotIn(key, values),
                "Exists" => Requirement::Exists(key),
                "DoesNotExist" => Requirement::Absent(key),
                other => return Err(NotASelector(format!("{other:?} is not a valid label selector operator"))),
            });
        }
        Ok(Self { requirements })
    }

    /// The selector that a map of exact labels stands for, such as a Service's.
    pub fn from_map(labels: &BTreeMap<String, String>) -> Self {
        let exact = labels.iter().map(|(k, v)| Requirement::In(k.clone(), vec![v.clone()]));
        Self { requirements: exact.collect() }
    }

    /// Whether there is no requirement.
    pub fn is_empty(&self) -> bool {
        self.requirements.is_empty()
    }

    /// Whether the labels satisfy every requirement.
    pub fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        self.requirements.iter().all(|requirement| match requirement {
            Requirement::Exists(key) => labels.contains_key(key),
            Requirement::Absent(key) => !labels.contains_key(key),
            Requirement::In(key, values) => labels.get(key).is_some_and(|v| values.contains(v)),
            Requirement::NotIn(key, values) => labels.get(key).is_none_or(|v| !values.contains(v)),
        })
    }
}

impl fmt::Display for Labels {
    /// The text form, which `parse` reads back.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, requirement) in self.requirements.iter().enumerate() {
            f.write_str(if index == 0 { "" } else { "," })?;
            match requirement {
                Requirement::Exists(key) => f.write_str(key)?,
                Requirement::Absent(key) => write!(f, "!{key}")?,
                Requirement::In(key, values) | Requirement::NotIn(key, values) => {
                    let without = matches!(requirement, Requirement::NotIn(..));
                    match values.as_slice() {
                        [one] => write!(f, "{key}{}{one}", if without { "!=" } else { "=" })?,
                        all => write!(f, "{key} {} ({})", if without { "notin" } else { "in" }, all.join(","))?,
                    }
                }
            }
        }
        Ok(())
    }
}

/// Splits at commas that are not inside parentheses.
fn split_requirements(text: &str) -> Vec<&str> {
    let (mut parts, mut start, mut inside) = (Vec::new(), 0, false);
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'(' => inside = true,
            b')' => inside = false,
            b',' if !inside => {
                parts.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    parts
}

fn requirement(text: &str) -> Result<Requirement, NotASelector> {
    let wrong = || NotASelector(format!("{text:?} is not a label selector requirement"));
    let key = |key: &str| -> Result<String, NotASelector> {
        let key = key.trim();
        match crate::names::qualified_name(key).as_slice() {
            [] => Ok(key.to_owned()),
            [first, ..] => Err(NotASelector(format!("invalid label key {key:?}: {first}"))),
        }
    };
    let value = |value: &str| -> Result<String, NotASelector> {
        let value = value.trim();
        match crate::names::label_value(value).as_slice() {
            [] => Ok(value.to_owned()),
            [first, ..] => Err(NotASelector(format!("invalid label value {value:?}: {first}"))),
        }
    };
    if let Some(absent) = text.strip_prefix('!') {
        return Ok(Requirement::Absent(key(absent)?));
    }
    if let Some((left, list)) = text.split_once('(') {
        let list = list.strip_suffix(')').ok_or_else(wrong)?;
        let values = list.split(',').map(value).collect::<Result<Vec<_>, _>>()?;
        let mut words = left.split_whitespace();
        return match (words.next(), words.next(), words.next()) {
            (Some(name), Some("in"), None) => Ok(Requirement::In(key(name)?, values)),
            (Some(name), Some("notin"), None) => Ok(Requirement::NotIn(key(name)?, values)),
            _ => Err(wrong()),
        };
    }
    // `!=` and `==` before `=`, which they contain.
    if let Some((name, other)) = text.split_once("!=") {
        return Ok(Requirement::NotIn(key(name)?, vec![value(other)?]));
    }
    if let Some((name, equal)) = text.split_once("==").or_else(|| text.split_once('=')) {
        return Ok(Requirement::In(key(name)?, vec![value(equal)?]));
    }
    Ok(Requirement::Exists(key(text)?))
}

/// A field selector: `spec.nodeName=a,status.phase!=Failed`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fields {
    terms: Vec<(String, bool, String)>,
}

impl Fields {
    /// Parses the text form. A backslash keeps the next character from having a meaning.
    ///
    /// # Errors
    /// Says which term is wrong.
    pub fn parse(text: &str) -> Result<Self, NotASelector> {
        let parts = split_unescaped(text).into_iter().filter(|part| !part.is_empty());
        let term = |part: String| {
            let wrong = || NotASelector(format!("invalid selector: '{text}'; can't understand '{part}'"));
            let at = part.find('=').ok_or_else(wrong)?;
            let (left, right) = (&part[..at], &part[at + 1..]);
            let (path, equal) = left.strip_suffix('!').map_or((left, true), |path| (path, false));
            let value = if equal { right.strip_prefix('=').unwrap_or(right) } else { right };
            if path.is_empty() {
                return Err(wrong());
            }
            Ok((path.to_owned(), equal, unescape(value)))
        };
        Ok(Self { terms: parts.map(term).collect::<Result<_, _>>()? })
    }

    /// The paths that the selector asks about.
    pub fn paths(&self) -> impl Iterator<Item = &str> {
        self.terms.iter().map(|(path, _, _)| path.as_str())
    }

    /// The same selector with other names for its paths.
    #[must_use]
    pub fn rename(self, name: impl Fn(&str) -> String) -> Self {
        Self { terms: self.terms.into_iter().map(|(path, equal, value)| (name(&path), equal, value)).collect() }
    }

    /// The value that a path must equal, if the selector says so.
    pub fn exact(&self, path: &str) -> Option<&str> {
        self.terms.iter().find(|(p, equal, _)| *equal && p == path).map(|(_, _, value)| value.as_str())
    }

    /// Whether there is no term.
    pub fn is_empty(&self) -> bool {
        self.terms.is_empty()
    }

    /// Whether the object satisfies every term; `field` gives the value at a path, `None` counting as empty.
    pub fn matches(&self, field: impl Fn(&str) -> Option<String>) -> bool {
        self.terms.iter().all(|(path, equal, value)| (field(path).unwrap_or_default() == *value) == *equal)
    }
}

fn split_unescaped(text: &str) -> Vec<String> {
    let (mut parts, mut escaped) = (vec![String::new()], false);
    for c in text.chars() {
        if c == ',' && !escaped {
            parts.push(String::new());
            continue;
        }
        escaped = c == '\\' && !escaped;
        if let Some(last) = parts.last_mut() {
            last.push(c);
        }
    }
    parts
}

fn unescape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        out.extend(if c == '\\' { chars.next() } else { Some(c) });
    }
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
    }

    #[test]
    fn a_selector_is_written_as_it_is_read() {
        for text in ["", "a=b", "a!=b,c", "!c,a in (b,d),e notin (f,g)"] {
            assert_eq!(Labels::parse(text).unwrap().to_string(), text);
        }
    }

    #[test]
    fn every_form_of_requirement_selects_what_it_says() {
        let object = labels(&[("app", "web"), ("tier", "front")]);
        for (text, expected) in [
            ("", true),
            ("app=web", true),
            ("app==web", true),
            ("app = web , tier=front", true),
            ("app!=web", false),
            ("missing!=x", true),
            ("app in (web, api)", true),
            ("app notin (web)", false),
            ("missing notin (x)", true),
            ("app", true),
            ("!app", false),
            ("!missing", true),
            ("app=api", false),
            ("app in (api),tier", false),
        ] {
            assert_eq!(Labels::parse(text).unwrap().matches(&object), expected, "{text}");
        }
    }

    #[test]
    fn what_is_not_a_selector_is_refused() {
        for text in ["app in web", "app in (web", "a b", "=x", "app within (x)", "a=b=c", "-a=b"] {
            assert!(Labels::parse(text).is_err(), "{text}");
        }
        assert!(Fields::parse("metadata.name").is_err());
    }

    #[test]
    fn field_selectors_compare_and_unescape() {
        let selector = Fields::parse(r"metadata.name=a\,b,status.phase!=Failed,spec.x==").unwrap();
        let field = |path: &str| (path == "metadata.name").then(|| "a,b".to_owned());
        assert!(selector.matches(field));
        assert_eq!(selector.exact("metadata.name"), Some("a,b"));
        assert!(!Fields::parse("metadata.name!=a").unwrap().matches(|_| Some("a".to_owned())));
    }

    proptest! {
        #[test]
        fn no_text_makes_them_panic(text in "\\PC{0,60}") {
            let _ = (Labels::parse(&text), Fields::parse(&text));
        }
    }
}
