//! Signatures of functions, from a short text form such as `list<A>.indexOf(A) int`.

use std::{
    collections::HashMap,
    sync::{Arc, LazyLock},
};

use crate::{functions, types::Type};

/// One way to call a function.
#[derive(Debug)]
pub(crate) struct Signature {
    /// Whether the first parameter is what the method is called on.
    pub(crate) method: bool,
    pub(crate) parameters: Vec<Type>,
    pub(crate) result: Type,
}

/// Every function, by name.
pub(crate) static SIGNATURES: LazyLock<HashMap<&'static str, Vec<Signature>>> = LazyLock::new(|| {
    let mut all: HashMap<&'static str, Vec<Signature>> = HashMap::new();
    for line in
        functions::SIGNATURES.iter().flat_map(|text| text.lines()).map(str::trim).filter(|line| !line.is_empty())
    {
        // `name: signature; signature`
        let Some((name, signatures)) = line.split_once(": ") else { continue };
        let read = signatures.split(';').filter_map(|text| signature(text.trim()));
        all.entry(name).or_default().extend(read);
    }
    all
});

/// Reads `receiver.(parameter, parameter) result`.
fn signature(text: &str) -> Option<Signature> {
    let open = text.find('(')?;
    let close = text.rfind(')')?;
    let receiver = text.get(..open)?.trim_end_matches('.');
    let mut parameters = Vec::new();
    if !receiver.is_empty() {
        parameters.push(of(receiver)?);
    }
    for parameter in split(text.get(open + 1..close)?) {
        parameters.push(of(parameter)?);
    }
    Some(Signature { method: !receiver.is_empty(), parameters, result: of(text.get(close + 1..)?.trim())? })
}

/// Splits at commas outside angle brackets.
fn split(text: &str) -> Vec<&str> {
    let (mut parts, mut depth, mut start) = (Vec::new(), 0, 0);
    for (at, c) in text.char_indices() {
        match c {
            '<' => depth += 1,
            '>' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(text.get(start..at).unwrap_or_default().trim());
                start = at + 1;
            }
            _ => {}
        }
    }
    let last = text.get(start..).unwrap_or_default().trim();
    parts.extend(Some(last).filter(|last| !last.is_empty()));
    parts
}

fn of(text: &str) -> Option<Type> {
    let inner = |prefix: &str| text.strip_prefix(prefix)?.strip_suffix('>');
    if let Some(element) = inner("list<") {
        return Some(Type::List(Arc::new(of(element)?)));
    }
    if let Some(element) = inner("optional<") {
        return Some(Type::Optional(Arc::new(of(element)?)));
    }
    if let Some(both) = inner("map<") {
        let [key, value] = split(both).try_into().ok()?;
        return Some(Type::Map(Arc::new(of(key)?), Arc::new(of(value)?)));
    }
    Some(match text {
        "dyn" => Type::Dyn,
        "null" => Type::Null,
        "bool" => Type::Bool,
        "int" => Type::Int,
        "uint" => Type::Uint,
        "double" => Type::Double,
        "string" => Type::Text,
        "bytes" => Type::Bytes,
        "timestamp" => Type::Timestamp,
        "duration" => Type::Duration,
        "type" => Type::Type,
        "quantity" => Type::Opaque("kubernetes.Quantity"),
        "url" => Type::Opaque("kubernetes.URL"),
        "semver" => Type::Opaque("kubernetes.Semver"),
        "format" => Type::Opaque("kubernetes.NamedFormat"),
        "ip" => Type::Opaque("net.IP"),
        "cidr" => Type::Opaque("net.CIDR"),
        "A" => Type::Param('A'),
        "B" => Type::Param('B'),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_of_signatures_is_read() {
        for line in
            functions::SIGNATURES.iter().flat_map(|text| text.lines()).map(str::trim).filter(|line| !line.is_empty())
        {
            let (_, signatures) = line.split_once(": ").unwrap_or_else(|| panic!("{line}"));
            for text in signatures.split(';') {
                assert!(signature(text.trim()).is_some(), "{line}: {text}");
            }
        }
        assert!(SIGNATURES.len() > 100);
    }
}
