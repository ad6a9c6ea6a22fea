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
        if text.is_empty() || text.bytes().any(|byte| byte.is_ascii_control()) {
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
        let rest = rest.split_once('#').map_or(rest, |(rest, _)| rest);
        let (rest, query) = rest.split_once('?').map_or((rest, ""), |(rest, query)| (rest, query));
        let (host, path) = match rest.strip_prefix("//") {
            Some(rest) => rest.find('/').map_or((rest, ""), |at| rest.split_at(at)),
            None if rest.starts_with('/') => ("", rest),
            // `mailto:a@b` has neither host nor path.
            None => ("", ""),
        };
        let host = host.rsplit_once('@').map_or(host, |(_, host)| host);
        port(host)?;
        if !host.chars().all(|c| !c.is_ascii() || c.is_ascii_alphanumeric() || HOST.contains(c)) {
            return None;
        }
        let pairs = query.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            Some((decode(&name.replace('+', " "))?, decode(&value.replace('+', " "))?))
        });
        let query = pairs.collect::<Option<Vec<_>>>().unwrap_or_default();
        let path = escaped(path, decode(path)?);
        Some(Self { scheme: scheme.to_lowercase(), host: host.to_owned(), path, query, text: text.to_owned() })
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

/// Signs that a host may have beside letters and digits.
const HOST: &str = "-_.~!$&'()*+,;=:[]<>\"%";

/// A path with its escapes: as it came, if it came with all that it needs.
fn escaped(came: &str, decoded: String) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~$&+,/:;=@".contains(&byte);
    if came.bytes().all(|byte| plain(byte) || b"!'()*[]%".contains(&byte)) {
        return came.to_owned();
    }
    let mut text = String::with_capacity(came.len() + 8);
    for byte in decoded.bytes() {
        if plain(byte) {
            text.push(char::from(byte));
        } else {
            text.push_str(&format!("%{byte:02X}"));
        }
    }
    text
}

fn decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => {
                let mut digit = || char::from(rest.next()?).to_digit(16);
                u8::try_from(digit()? * 16 + digit()?).ok()?
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
