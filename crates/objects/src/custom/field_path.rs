//! Paths of fields that a schema has, such as `.spec.a['b.c']`: where a rule's cause is, and what objects are selected by
//! (apiextensions' `ValidFieldPath`).

use serde_json::Value;

/// A field that a path leads to.
#[derive(Clone, Debug, PartialEq)]
pub struct Found<'a> {
    /// The path as causes have it: `spec.a.b.c`, and `labels[x]` for the entry of a map.
    pub path: String,
    /// What the schema says of the field.
    pub schema: &'a Value,
}

/// Finds a field of a schema by its path. `brackets`: whether names may stand in brackets.
///
/// # Errors
/// Why it is no path, or none of this schema.
pub fn find<'a>(text: &str, schema: &'a Value, brackets: bool) -> Result<Found<'a>, String> {
    let mut found = Found { path: String::new(), schema };
    let mut rest = text;
    while let Some(token) = next(&mut rest) {
        match token {
            "." => {
                let name = next(&mut rest).ok_or("unexpected end of JSON path")?;
                step(&mut found, name)?;
            }
            "[" if !brackets => return Err("array notation is not allowed".to_owned()),
            "[" => {
                let quoted = next(&mut rest).ok_or("unexpected end of JSON path")?;
                let name = quoted.strip_prefix('\'').and_then(|name| name.strip_suffix('\''));
                let name = name.ok_or_else(|| format!("expected single quoted string but got {quoted}"))?;
                step(&mut found, &unescape(name)?)?;
                match next(&mut rest) {
                    Some("]") => {}
                    Some(other) => return Err(format!("expected ] but got {other}")),
                    None => return Err("unexpected end of JSON path".to_owned()),
                }
            }
            other => return Err(format!("expected [ or . but got: {other}")),
        }
    }
    Ok(found)
}

/// Takes the next token: a delimiter, a text in quotes, or what is up to the next delimiter.
fn next<'t>(rest: &mut &'t str) -> Option<&'t str> {
    let text = *rest;
    let length = match text.chars().next()? {
        '.' | '[' | ']' => 1,
        '\'' => {
            let ends =
                |at: &usize| text.as_bytes().get(*at) == Some(&b'\'') && text.as_bytes().get(at - 1) != Some(&b'\\');
            (1..text.len()).find(ends).map_or(text.len(), |at| at + 1)
        }
        _ => text.find(['.', '[', ']']).unwrap_or(text.len()),
    };
    let (token, after) = text.split_at_checked(length)?;
    *rest = after;
    Some(token)
}

fn step(found: &mut Found<'_>, name: &str) -> Result<(), String> {
    const NONE: &str = "does not refer to a valid field";
    let properties = found.schema.get("properties").and_then(Value::as_object).filter(|all| !all.is_empty());
    if let Some(properties) = properties {
        found.schema = properties.get(name).ok_or(NONE)?;
        if !found.path.is_empty() {
            found.path.push('.');
        }
        found.path.push_str(name);
        return Ok(());
    }
    let additional = found.schema.get("additionalProperties").filter(|schema| schema.is_object());
    found.schema = additional.ok_or(NONE)?;
    found.path.push_str(&format!("[{name}]"));
    Ok(())
}

fn unescape(text: &str) -> Result<String, String> {
    let mut plain = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            plain.push(c);
            continue;
        }
        plain.push(match chars.next() {
            Some('a') => '\u{7}',
            Some('b') => '\u{8}',
            Some('f') => '\u{c}',
            Some('n') => '\n',
            Some('r') => '\r',
            Some('t') => '\t',
            Some('v') => '\u{b}',
            Some(same @ ('\'' | '\\')) => same,
            other => {
                let other = other.map(String::from).unwrap_or_default();
                return Err(format!("invalid string literal: invalid escape char \\{other}"));
            }
        });
    }
    Ok(plain)
}
