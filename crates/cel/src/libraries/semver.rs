//! `kubernetes.Semver`: versions and their order (Semantic Versioning 2.0.0).

use std::{cmp::Ordering, fmt};

/// A version.
#[derive(Clone, Debug)]
pub struct Semver {
    pub(crate) numbers: [u64; 3],
    before: Vec<String>,
    text: String,
}

impl Semver {
    /// Reads a version; with `lenient`, a leading `v`, missing parts and leading zeros are passed over.
    pub(crate) fn parse(text: &str, lenient: bool) -> Option<Self> {
        let body = if lenient { text.strip_prefix('v').unwrap_or(text) } else { text };
        let (rest, build) = body.split_once('+').map_or((body, None), |(rest, build)| (rest, Some(build)));
        let (core, before) = rest.split_once('-').map_or((rest, None), |(core, before)| (core, Some(before)));
        let mut parts: Vec<&str> = core.split('.').collect();
        // What is short says nothing else.
        if parts.len() < 3 && (before.is_some() || build.is_some()) {
            return None;
        }
        while lenient && parts.len() < 3 {
            parts.push("0");
        }
        let number = |part: &&str| {
            let plain = part.bytes().all(|byte| byte.is_ascii_digit()) && !part.is_empty();
            let zeros = part.len() > 1 && part.starts_with('0');
            if plain && (lenient || !zeros) { part.parse::<u64>().ok() } else { None }
        };
        let numbers: [u64; 3] = parts.iter().map(number).collect::<Option<Vec<_>>>()?.try_into().ok()?;
        let named = |list: Option<&str>| {
            let names: Vec<String> = list.map(|list| list.split('.').map(str::to_owned).collect()).unwrap_or_default();
            let good = |name: &String| {
                !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            };
            names.iter().all(good).then_some(names)
        };
        let before = named(before)?;
        if before.iter().any(|name| name.len() > 1 && name.starts_with('0') && name.bytes().all(|b| b.is_ascii_digit()))
        {
            return None;
        }
        let build = named(build)?;
        let mut text = format!("{}.{}.{}", numbers[0], numbers[1], numbers[2]);
        for (sign, names) in [('-', &before), ('+', &build)] {
            if !names.is_empty() {
                text.push(sign);
                text.push_str(&names.join("."));
            }
        }
        Some(Self { numbers, before, text })
    }
}

impl Ord for Semver {
    fn cmp(&self, other: &Self) -> Ordering {
        let names = |a: &[String], b: &[String]| match (a.is_empty(), b.is_empty()) {
            (true, true) => Ordering::Equal,
            // What comes before a version is less than it.
            (true, false) => Ordering::Greater,
            (false, true) => Ordering::Less,
            (false, false) => {
                let pairs = a.iter().zip(b).map(|(a, b)| match (a.parse::<u64>(), b.parse::<u64>()) {
                    (Ok(a), Ok(b)) => a.cmp(&b),
                    (Ok(_), Err(_)) => Ordering::Less,
                    (Err(_), Ok(_)) => Ordering::Greater,
                    (Err(_), Err(_)) => a.cmp(b),
                });
                pairs.into_iter().find(|order| order.is_ne()).unwrap_or_else(|| a.len().cmp(&b.len()))
            }
        };
        self.numbers.cmp(&other.numbers).then_with(|| names(&self.before, &other.before))
    }
}

impl PartialOrd for Semver {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Semver {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Semver {}

impl fmt::Display for Semver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}
