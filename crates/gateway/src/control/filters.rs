//! HTTPRoute filters, as the table has them.

use http::{HeaderName, HeaderValue, StatusCode};
use objects::gateway::{
    HTTPHeaderFilter, HTTPPathModifier, HTTPRequestMirrorFilter, HTTPRequestRedirectFilter, HTTPRouteFilter,
};

use super::policies;
use crate::{
    policy::Cors,
    table::{HeaderChange, PathChange, Redirect, Rewrite},
};

/// What a list of filters asks for.
#[derive(Debug, Default)]
pub(super) struct Filters {
    pub request: HeaderChange,
    pub response: HeaderChange,
    pub rewrite: Option<Rewrite>,
    pub redirect: Option<Redirect>,
    pub cors: Option<Cors>,
    pub mirrors: Vec<HTTPRequestMirrorFilter>,
}

/// A rule that cannot be honoured: the reason for `Accepted` and the message.
#[derive(Debug, Clone)]
pub(super) struct Invalid {
    pub reason: &'static str,
    pub message: String,
}

/// An unsupported value.
pub(super) fn unsupported(message: impl Into<String>) -> Invalid {
    Invalid { reason: "UnsupportedValue", message: message.into() }
}

/// Compiles filters; `prefix` is the rule's path prefix, which `ReplacePrefixMatch` needs.
pub(super) fn filters(filters: &[HTTPRouteFilter], prefix: Option<&str>) -> Result<Filters, Invalid> {
    let mut all = Filters::default();
    for filter in filters {
        let kind = filter.type_.as_str();
        match kind {
            "RequestHeaderModifier" => extend(&mut all.request, filter.request_header_modifier.as_ref())?,
            "ResponseHeaderModifier" => extend(&mut all.response, filter.response_header_modifier.as_ref())?,
            "RequestRedirect" => {
                let redirect = filter.request_redirect.clone().unwrap_or_default();
                all.redirect = Some(to_redirect(redirect, prefix)?);
            }
            "URLRewrite" => {
                let rewrite = filter.url_rewrite.clone().unwrap_or_default();
                let hostname = rewrite.hostname.as_deref().map(header_value).transpose()?;
                let path = rewrite.path.as_ref().map(|p| path_change(p, prefix)).transpose()?;
                all.rewrite = Some(Rewrite { hostname, path });
            }
            "RequestMirror" => all.mirrors.extend(filter.request_mirror.clone()),
            "CORS" => all.cors = Some(policies::cors(&filter.cors.clone().unwrap_or_default())?),
            _ => return Err(unsupported(format!("filter {kind} is not supported yet"))),
        }
    }
    if all.redirect.is_some() && all.rewrite.is_some() {
        let message = "RequestRedirect and URLRewrite cannot be used in the same rule".to_owned();
        return Err(Invalid { reason: "IncompatibleFilters", message });
    }
    Ok(all)
}

/// Fields that say where a message ends or are for one connection alone: the proxy writes them.
const FRAMING: &[&str] = &[
    "connection",
    "content-length",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

fn header_name(name: &str) -> Result<HeaderName, Invalid> {
    let parsed = HeaderName::from_bytes(name.as_bytes());
    let parsed = parsed.map_err(|_| unsupported(format!("{name:?} is not a header name")))?;
    match parsed.as_str() {
        "host" => Err(unsupported("header Host cannot be modified: use URLRewrite with a hostname")),
        framing if FRAMING.contains(&framing) => {
            Err(unsupported(format!("header {name} cannot be modified: it is part of how messages are sent")))
        }
        _ => Ok(parsed),
    }
}

fn header_value(value: &str) -> Result<HeaderValue, Invalid> {
    HeaderValue::from_str(value).map_err(|_| unsupported(format!("{value:?} is not a header value")))
}

fn extend(change: &mut HeaderChange, filter: Option<&HTTPHeaderFilter>) -> Result<(), Invalid> {
    let Some(filter) = filter else { return Ok(()) };
    for header in filter.set.iter().flatten() {
        change.set.push((header_name(&header.name)?, header_value(&header.value)?));
    }
    for header in filter.add.iter().flatten() {
        change.add.push((header_name(&header.name)?, header_value(&header.value)?));
    }
    for name in filter.remove.iter().flatten() {
        change.remove.push(header_name(name)?);
    }
    Ok(())
}

fn path_change(path: &HTTPPathModifier, prefix: Option<&str>) -> Result<PathChange, Invalid> {
    match (path.type_.as_str(), &path.replace_full_path, &path.replace_prefix_match, prefix) {
        ("ReplaceFullPath", Some(full), ..) => Ok(PathChange::Full(full.clone())),
        ("ReplacePrefixMatch", _, Some(replacement), Some(matched)) => {
            let (matched, replacement) = (matched.to_owned(), replacement.clone());
            Ok(PathChange::Prefix { matched, replacement })
        }
        ("ReplacePrefixMatch", _, Some(_), None) => {
            Err(unsupported("ReplacePrefixMatch needs every match of its rule to be a PathPrefix"))
        }
        (other, ..) => Err(unsupported(format!("path modifier {other:?} is unknown or lacks its value"))),
    }
}

fn to_redirect(filter: HTTPRequestRedirectFilter, prefix: Option<&str>) -> Result<Redirect, Invalid> {
    let code = filter.status_code.unwrap_or(302);
    let status = match code {
        301 | 302 | 303 | 307 | 308 => u16::try_from(code).ok().and_then(|c| StatusCode::from_u16(c).ok()),
        _ => None,
    };
    let port = filter.port.map(u16::try_from).transpose().map_err(|_| unsupported("redirect port is out of range"))?;
    Ok(Redirect {
        scheme: filter.scheme,
        hostname: filter.hostname,
        path: filter.path.as_ref().map(|p| path_change(p, prefix)).transpose()?,
        port,
        status: status.ok_or_else(|| unsupported(format!("redirect status {code} is not supported")))?,
    })
}

#[cfg(test)]
mod tests {
    use objects::gateway::HTTPHeader;

    use super::*;

    #[test]
    fn fields_that_frame_messages_cannot_be_modified() {
        for name in ["Host", "Content-Length", "transfer-encoding", "Connection", "not a name"] {
            let header = HTTPHeader { name: name.to_owned(), value: "1".to_owned() };
            let set = HTTPHeaderFilter { set: Some(vec![header.clone()]), ..HTTPHeaderFilter::default() };
            let add = HTTPHeaderFilter { add: Some(vec![header]), ..HTTPHeaderFilter::default() };
            let remove = HTTPHeaderFilter { remove: Some(vec![name.to_owned()]), ..HTTPHeaderFilter::default() };
            for filter in [set, add, remove] {
                let refused = extend(&mut HeaderChange::default(), Some(&filter)).unwrap_err();
                assert!(refused.reason == "UnsupportedValue" && refused.message.contains(name), "{}", refused.message);
            }
        }
    }
}
