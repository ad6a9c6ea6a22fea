//! Field selectors.

use super::NotASelector;

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
            Ok((path.to_owned(), equal, unescape(value)?))
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

/// A value as it is meant: commas, equals signs and backslashes stand behind a backslash.
fn unescape(text: &str) -> Result<String, NotASelector> {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some(escaped @ ('\\' | ',' | '=')) => out.push(escaped),
                other => {
                    let sequence: String = Some(c).into_iter().chain(other).collect();
                    return Err(NotASelector(format!("invalid field selector: invalid escape sequence: {sequence}")));
                }
            },
            '=' | ',' => {
                return Err(NotASelector(format!("invalid field selector: unescaped character in value: {c}")));
            }
            other => out.push(other),
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_compared_by_what_they_are_meant_to_be() {
        let selector = Fields::parse(r"metadata.name=a\,b,status.phase!=Failed,spec.x==").unwrap();
        let field = |path: &str| (path == "metadata.name").then(|| "a,b".to_owned());
        assert!(selector.matches(field));
        assert_eq!(selector.exact("metadata.name"), Some("a,b"));
        assert!(!Fields::parse("metadata.name!=a").unwrap().matches(|_| Some("a".to_owned())));
    }

    #[test]
    fn texts_are_read_as_upstream_reads_them() {
        for (text, terms) in [
            ("x=a,y=b,z=c", 3),
            ("", 0),
            ("x!=a,y=b", 2),
            (r"x=a||y\=b", 1),
            (r"x=a\=\=b", 1),
            ("a=a,", 1),
            (",a=a", 1),
            (r"k=\\,k2=v2", 2),
            ("함=수,목=록", 2),
        ] {
            assert_eq!(Fields::parse(text).unwrap().terms.len(), terms, "{text}");
        }
        for text in ["x=a||y=b", "x==a==b", "x=a,b", "x in (a)", "x in (a,b,c)", "x", r"k=\", r"k=\\\", r"k=\a"] {
            assert!(Fields::parse(text).is_err(), "{text}");
        }
    }
}
