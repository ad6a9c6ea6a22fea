//! What a rule asks for besides a place to send requests to, as the table has it.

use std::time::Duration;

use http::HeaderName;
use objects::gateway::{HTTPCORSFilter, HTTPRequestMirrorFilter, HTTPRouteRetry, SessionPersistence, parse_duration};

use super::filters::{Invalid, unsupported};
use crate::{
    balance::hash,
    policy::{ATTEMPTS, BACKOFF, Carrier, Cors, Origins, Persistence, Retry},
};

/// For how many seconds a preflight answer holds, if the route does not say.
const MAX_AGE: u32 = 5;

/// A duration of the Gateway API (GEP-2257).
pub(super) fn duration(text: Option<&String>) -> Result<Option<Duration>, Invalid> {
    text.map(|text| parse_duration(text).map_err(|error| unsupported(error.to_string()))).transpose()
}

/// `retry` of a rule.
pub(super) fn retry(wanted: &HTTPRouteRetry) -> Result<Retry, Invalid> {
    let code = |code: &i32| u16::try_from(*code).ok().filter(|code| (400..=599).contains(code));
    let codes = wanted.codes.iter().flatten();
    let codes = codes.map(|wanted| code(wanted).ok_or_else(|| unsupported(format!("{wanted} cannot be retried on"))));
    let attempts = wanted.attempts.map(|attempts| u32::try_from(attempts).unwrap_or(0)).unwrap_or(ATTEMPTS);
    let backoff = duration(wanted.backoff.as_ref())?.unwrap_or(BACKOFF);
    Ok(Retry { codes: codes.collect::<Result<_, _>>()?, attempts, backoff })
}

/// `sessionPersistence` of a rule called `name`; `secret` is what only those know who may read the route.
pub(super) fn persistence(wanted: &SessionPersistence, name: &str, secret: &str) -> Result<Persistence, Invalid> {
    let unique = || format!("coracle-{:016x}", hash(name.as_bytes()));
    let session = wanted.session_name.clone().unwrap_or_else(unique);
    let lifetime = wanted.cookie_config.as_ref().and_then(|config| config.lifetime_type.as_deref());
    let carrier = match (wanted.r#type.as_deref().unwrap_or("Cookie"), lifetime) {
        ("Cookie", None | Some("Session" | "Permanent")) => {
            let permanent = lifetime == Some("Permanent");
            if permanent && wanted.absolute_timeout.is_none() {
                return Err(unsupported("a permanent cookie needs an absoluteTimeout"));
            }
            // The grammar of a cookie's name is that of a header's (RFC 6265, 4.1.1).
            HeaderName::from_bytes(session.as_bytes())
                .map_err(|_| unsupported(format!("{session:?} cannot be a cookie's name")))?;
            Carrier::Cookie { name: session.into(), permanent }
        }
        ("Header", _) => {
            let name = HeaderName::from_bytes(session.as_bytes());
            Carrier::Header(name.map_err(|_| unsupported(format!("{session:?} is not a header name")))?)
        }
        (kind, _) => {
            let lifetime = lifetime.unwrap_or_default();
            return Err(unsupported(format!("session persistence by {kind} {lifetime} is not supported")));
        }
    };
    let mut persistence = Persistence::new(carrier, secret).map_err(|_| unsupported("there is no cipher to be had"))?;
    persistence.absolute = duration(wanted.absolute_timeout.as_ref())?.filter(|limit| !limit.is_zero());
    persistence.idle = duration(wanted.idle_timeout.as_ref())?.filter(|limit| !limit.is_zero());
    Ok(persistence)
}

/// A `CORS` filter.
pub(super) fn cors(wanted: &HTTPCORSFilter) -> Result<Cors, Invalid> {
    let list = |list: &Option<Vec<String>>| list.clone().unwrap_or_default();
    let origins = list(&wanted.allow_origins);
    let origins = match origins.as_slice() {
        [only] if only == "*" => Origins::Any,
        listed => match listed.iter().find(|origin| !origin.contains("://")) {
            Some(odd) => return Err(unsupported(format!("{odd:?} is not an origin: scheme://host[:port]"))),
            None => Origins::Listed(origins),
        },
    };
    let (methods, headers, expose) =
        (list(&wanted.allow_methods), list(&wanted.allow_headers), list(&wanted.expose_headers));
    let is_token = |text: &&String| HeaderName::from_bytes(text.as_bytes()).is_err();
    if let Some(odd) = methods.iter().chain(&headers).chain(&expose).find(is_token) {
        return Err(unsupported(format!("{odd:?} is neither a method nor a header name")));
    }
    let max_age = wanted.max_age.and_then(|age| u32::try_from(age).ok()).unwrap_or(MAX_AGE);
    Ok(Cors { origins, credentials: wanted.allow_credentials.unwrap_or(false), methods, headers, expose, max_age })
}

/// Of how many requests how many a `RequestMirror` filter copies.
pub(super) fn share(wanted: &HTTPRequestMirrorFilter) -> Result<(u32, u32), Invalid> {
    let part = |number: i32| u32::try_from(number).map_err(|_| unsupported("a part of requests cannot be negative"));
    let (part, whole) = match (wanted.percent, &wanted.fraction) {
        (Some(_), Some(_)) => return Err(unsupported("a mirror has a percent or a fraction, not both")),
        (Some(percent), None) => (part(percent)?, 100),
        (None, Some(fraction)) => (part(fraction.numerator)?, part(fraction.denominator.unwrap_or(100))?),
        (None, None) => (1, 1),
    };
    if whole == 0 || part > whole {
        return Err(unsupported(format!("{part} of {whole} requests cannot be mirrored")));
    }
    Ok((part, whole))
}
