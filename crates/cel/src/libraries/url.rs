//! `kubernetes.URL`: what is between the signs of a URL (Go's `url.ParseRequestURI`).

use std::fmt;

/// A URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Url {
    pub(crate) scheme: String,
    /// With the port.
    pub(crate) host: String,
    pub(crate) path: String,
    /// Names and values, decoded, in order.
    pub(crate) query: Vec<(String, String)>,
    text: String,
}

impl Url {
    /// Reads an absolute URL, or a path from the root.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        if text.is_empty() || text.chars().any(|c| c.is_control() || c == ' ') {
            return None;
        }
        let (scheme, rest) = match text.split_once(':') {
            _ if text.starts_with('/') => ("", text),
            Some((scheme, rest)) => (scheme, rest),
            None => return None,
        };
        let letters = |c: char| c.is_ascii_alphanumeric() || "+-.".contains(c);
        let named = scheme.starts_with(|c: char| c.is_ascii_alphabetic()) && scheme.chars().all(letters);
        if !(named || text.starts_with('/')) {
            return None;
        }
        let (rest, query) = rest.split_once('?').map_or((rest, ""), |(rest, query)| (rest, query));
        let (host, path) = match rest.strip_prefix("//") {
            Some(rest) => rest.find('/').map_or((rest, ""), |at| rest.split_at(at)),
            None if rest.starts_with('/') => ("", rest),
            // `mailto:a@b` has neither host nor path.
            None => ("", ""),
        };
        let host = host.rsplit_once('@').map_or(host, |(_, host)| host);
        port(host)?;
        let pairs = query.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            Some((decode(&name.replace('+', " "))?, decode(&value.replace('+', " "))?))
        });
        let query = pairs.collect::<Option<Vec<_>>>().unwrap_or_default();
        decode(path)?;
        Some(Self {
            scheme: scheme.to_lowercase(),
            host: host.to_owned(),
            path: path.to_owned(),
            query,
            text: text.to_owned(),
        })
    }

    /// The host without its port and brackets.
    pub(crate) fn hostname(&self) -> &str {
        let end = port(&self.host).flatten().map_or(self.host.len(), |port| self.host.len() - port.len() - 1);
        self.host.get(..end).unwrap_or_default().trim_start_matches('[').trim_end_matches(']')
    }

    /// The port, or nothing.
    pub(crate) fn port(&self) -> &str {
        port(&self.host).flatten().unwrap_or_default()
    }
}

/// The port of a host; `None` if what follows the colon is none.
fn port(host: &str) -> Option<Option<&str>> {
    let after = if host.starts_with('[') { host.split_once(']')?.1 } else { host };
    match after.rsplit_once(':') {
        None => Some(None),
        Some((before, port)) => {
            let plain =
                port.bytes().all(|byte| byte.is_ascii_digit()) && (host.starts_with('[') || !before.contains(':'));
            plain.then_some(Some(port))
        }
    }
}

fn decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => {
                let digits = [rest.next()?, rest.next()?];
                u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?
            }
            other => other,
        });
    }
    String::from_utf8(bytes).ok()
}

/// As Go writes it: path and query escaped as they came.
impl Url {
    /// The path with its escapes.
    pub(crate) fn escaped_path(&self) -> &str {
        &self.path
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}
