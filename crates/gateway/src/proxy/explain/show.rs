//! Conditions, reasons and whole explanations in words.

use std::fmt;

use super::{Explanation, Outcome, Share};
use crate::table::{Asked, Match, PathMatch, Unmet, ValueMatch, Verdict};

/// A match in words.
pub(super) fn condition(matches: &Match) -> String {
    let mut all = vec![match &matches.path {
        PathMatch::Exact(path) => format!("path is {path}"),
        PathMatch::Prefix(path) if path.is_empty() => "any path".to_owned(),
        PathMatch::Prefix(path) => format!("path is or is below {path}"),
        PathMatch::Regex(regex) => format!("path matches {regex}"),
        PathMatch::Method(method) => format!("gRPC method is {method}"),
    }];
    all.extend(matches.method.as_ref().map(|method| format!("method is {method}")));
    all.extend(matches.headers.iter().map(|(name, wanted)| format!("header {name} {}", value(wanted))));
    all.extend(matches.queries.iter().map(|(name, wanted)| format!("query parameter {name} {}", value(wanted))));
    all.join(", ")
}

fn value(wanted: &ValueMatch) -> String {
    match wanted {
        ValueMatch::Exact(value) => format!("is {value:?}"),
        ValueMatch::Regex(regex) => format!("matches {regex}"),
    }
}

/// Why a match is not the one; `None` if it is.
pub(super) fn reason(verdict: Verdict<'_>, head: &impl Asked) -> Option<String> {
    let found =
        |found: Option<String>| found.map_or_else(|| "it is not there".to_owned(), |found| format!("it is {found:?}"));
    Some(match verdict {
        Verdict::Taken => return None,
        Verdict::Later => "it matches as well, but comes later".to_owned(),
        Verdict::Path => format!("the path is {}", head.path()),
        Verdict::Unmet(Unmet::Method) => format!("the method is {}", head.method()),
        Verdict::Unmet(Unmet::Header(name)) => {
            let value = head.header(name).map(|value| String::from_utf8_lossy(&value).into_owned());
            format!("header {name}: {}", found(value))
        }
        Verdict::Unmet(Unmet::Query(name)) => {
            format!("query parameter {name}: {}", found(head.query(name).map(std::borrow::Cow::into_owned)))
        }
    })
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} {}", self.method, self.url)?;
        for listener in &self.listeners {
            let mark = if listener.taken { '>' } else { ' ' };
            write!(f, "{mark} listener {} at {}", listener.name, listener.address)?;
            because(f, listener.because.as_deref())?;
        }
        if let Some(host) = &self.host {
            match &host.matched {
                Some(matched) => writeln!(f, "> host {}, by the name {matched}", host.asked)?,
                None => writeln!(f, "  host {}: there are {}", host.asked, host.known.join(", "))?,
            }
        }
        for rule in &self.rules {
            let mark = if rule.taken { '>' } else { ' ' };
            write!(f, "{mark} rule {} ({})", rule.rule, rule.condition)?;
            because(f, rule.because.as_deref())?;
        }
        write!(f, "{}", self.outcome)
    }
}

fn because(f: &mut fmt::Formatter<'_>, reason: Option<&str>) -> fmt::Result {
    match reason {
        Some(reason) => writeln!(f, " - {reason}"),
        None => writeln!(f),
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Forward { rule, backends } => {
                writeln!(f, "= {rule} forwards to")?;
                backends.iter().try_for_each(|share| write!(f, "{share}"))
            }
            Self::Redirect { rule, status, location } => writeln!(f, "= {rule} redirects with {status} to {location}"),
            Self::Answer { rule: Some(rule), status, because } => writeln!(f, "= {rule} answers {status}: {because}"),
            Self::Answer { rule: None, status, because } => writeln!(f, "= answered with {status}: {because}"),
            Self::Bytes { backends } => {
                writeln!(f, "= the connection's bytes go to")?;
                backends.iter().try_for_each(|share| write!(f, "{share}"))
            }
            Self::Refused { because } => writeln!(f, "= no connection: {because}"),
        }
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let percent = self.percent;
        match (&self.service, self.status, self.endpoints.as_slice()) {
            (Some(service), _, []) => writeln!(f, "    {service} ({percent} %), which has no ready endpoint"),
            (Some(service), _, endpoints) => {
                let endpoints: Vec<_> = endpoints.iter().map(ToString::to_string).collect();
                writeln!(f, "    {service} ({percent} %) at {}", endpoints.join(", "))
            }
            (None, Some(status), _) => writeln!(f, "    a backend that is not valid ({percent} %): {status}"),
            (None, None, _) => writeln!(f, "    a backend that is not valid ({percent} %): refused"),
        }
    }
}
