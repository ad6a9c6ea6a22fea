//! One GRPCRoute: its rules are HTTPRoute's but for what they match, the called service and method: a request's path.

use std::borrow::Cow;

use objects::gateway::{GRPCMethodMatch, GRPCRoute, GRPCRouteMatch, GRPCRouteRule, HTTPRouteRule};

use super::{
    compile::Context,
    filters::{Invalid, unsupported},
    routes::{self, Built, headers, whole},
    status::StatusKind,
};
use crate::table::{Match, PathMatch};

/// Compiles every rule of a GRPCRoute. One without rules takes no call.
pub(super) fn grpc(route: &GRPCRoute, context: &mut Context<'_>) -> Built {
    let rules = route.spec.rules.iter().flatten();
    let rules = rules.map(|rule| (matches(rule), Cow::Owned(HTTPRouteRule::from(rule.clone()))));
    routes::build(StatusKind::GRPCRoute, &route.metadata, rules, context)
}

fn matches(rule: &GRPCRouteRule) -> Result<Vec<Match>, Invalid> {
    let default = [GRPCRouteMatch::default()];
    let wanted = rule.matches.as_deref().filter(|m| !m.is_empty()).unwrap_or(&default);
    wanted.iter().map(one_match).collect()
}

fn one_match(wanted: &GRPCRouteMatch) -> Result<Match, Invalid> {
    let headers = headers(wanted.headers.as_deref().unwrap_or_default())?;
    let path = wanted.method.as_ref().map_or_else(|| Ok(PathMatch::Prefix(String::new())), path)?;
    Ok(Match { path, method: None, headers, queries: Vec::new() })
}

/// The path of calls to a service and method: `/service/method`.
fn path(wanted: &GRPCMethodMatch) -> Result<PathMatch, Invalid> {
    let set = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    let (service, method) = (set(&wanted.service), set(&wanted.method));
    match (wanted.type_.as_deref().unwrap_or("Exact"), service, method) {
        (_, None, None) => Ok(PathMatch::Prefix(String::new())),
        ("Exact", Some(service), Some(method)) => Ok(PathMatch::Exact(format!("/{service}/{method}"))),
        ("Exact", Some(service), None) => Ok(PathMatch::Prefix(format!("/{service}"))),
        ("Exact", None, Some(method)) => Ok(PathMatch::Method(method)),
        ("RegularExpression", service, method) => {
            // Each is checked alone first, lest the two make sense only together.
            let part = |text: Option<String>| match text {
                Some(text) => whole(&text).map(|_| text),
                None => Ok("[^/]+".to_owned()),
            };
            Ok(PathMatch::Regex(whole(&format!("/(?:{})/(?:{})", part(service)?, part(method)?))?))
        }
        (other, ..) => Err(unsupported(format!("method match type {other} is not supported"))),
    }
}
