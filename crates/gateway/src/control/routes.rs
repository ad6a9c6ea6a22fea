//! One HTTPRoute: its rules as table entries, and what is wrong with them.

use std::{borrow::Cow, sync::Arc};

use http::{HeaderName, Method, StatusCode};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use objects::gateway::{
    HTTPBackendRef, HTTPPathMatch, HTTPRequestMirrorFilter, HTTPRoute, HTTPRouteMatch, HTTPRouteRule, HTTPValueMatch,
};
use regex::Regex;

use super::{
    backends::resolve,
    compile::Context,
    filters::{Filters, Invalid, filters, unsupported},
    policies,
    status::StatusKind,
};
use crate::table::{Action, Backend, Entry, Match, Mirror, PathMatch, Rule, ValueMatch};

/// A route's entries in the order of its rules, and its faults.
#[derive(Default)]
pub(super) struct Built {
    pub entries: Vec<Entry>,
    /// Rules that are dropped, or that answer 500.
    pub invalid: Vec<Invalid>,
    /// How many rules are as asked for.
    pub valid: usize,
    /// The first unresolved reference: reason and message.
    pub unresolved: Option<(&'static str, String)>,
}

/// Who a rule belongs to: the kind of route and its namespace.
pub(super) type Owner<'a> = (StatusKind, &'a str);

/// Compiles every rule of an HTTPRoute; a rule that is invalid leaves the others working.
pub(super) fn http(route: &HTTPRoute, context: &mut Context<'_>) -> Built {
    let default = [HTTPRouteRule::default()];
    let rules = route.spec.rules.as_deref().unwrap_or(&default);
    let rules = rules.iter().map(|rule| (matches(rule), Cow::Borrowed(rule)));
    build(StatusKind::HTTPRoute, &route.metadata, rules, context)
}

/// Compiles rules that are like HTTPRoute's but for their matches.
pub(super) fn build<'a>(
    kind: StatusKind,
    meta: &ObjectMeta,
    rules: impl Iterator<Item = (Result<Vec<Match>, Invalid>, Cow<'a, HTTPRouteRule>)>,
    context: &mut Context<'_>,
) -> Built {
    let mut built = Built::default();
    let namespace = meta.namespace.clone().unwrap_or_default();
    let route_name = meta.name.clone().unwrap_or_default();
    let owner = (kind, namespace.as_str());
    let secret = meta.uid.as_deref().unwrap_or_default();
    for (index, (matches, rule)) in rules.enumerate() {
        let label = rule.name.clone().unwrap_or_else(|| index.to_string());
        let matches = match matches {
            Ok(matches) => matches,
            Err(fault) => {
                let message = format!("Dropped Rule {label}: {}", fault.message);
                built.invalid.push(Invalid { message, ..fault });
                look_up(&rule, owner, context, &mut built);
                continue;
            }
        };
        let name: Arc<str> = format!("{namespace}/{route_name}/{label}").into();
        let prefix = common_prefix(&matches);
        let rule = match compile_rule(&rule, (name.clone(), secret), prefix.as_deref(), owner, context, &mut built) {
            Ok(rule) => {
                built.valid += 1;
                rule
            }
            Err(fault) => {
                let message = format!("rule {label} answers 500: {}", fault.message);
                built.invalid.push(Invalid { message, ..fault });
                look_up(&rule, owner, context, &mut built);
                Rule::new(name, Action::Respond(StatusCode::INTERNAL_SERVER_ERROR))
            }
        };
        let rule = Arc::new(rule);
        built.entries.extend(matches.into_iter().map(|matches| Entry { matches, rule: rule.clone() }));
    }
    built
}

/// Resolves the references of a rule that is not served, for what the status says of them.
fn look_up(rule: &HTTPRouteRule, owner: Owner<'_>, context: &mut Context<'_>, built: &mut Built) {
    let backends = rule.backend_refs.iter().flatten();
    let filters = backends.clone().flat_map(|backend| backend.filters.iter().flatten());
    let mirrors = rule.filters.iter().flatten().chain(filters).filter_map(|filter| filter.request_mirror.as_ref());
    for object in backends.map(|backend| &backend.object).chain(mirrors.map(|mirror| &mirror.backend_ref)) {
        if let Err(problem) = resolve(object, owner, context) {
            built.unresolved.get_or_insert(problem);
        }
    }
}

fn compile_rule(
    rule: &HTTPRouteRule,
    (name, secret): (Arc<str>, &str),
    prefix: Option<&str>,
    owner: Owner<'_>,
    context: &mut Context<'_>,
    built: &mut Built,
) -> Result<Rule, Invalid> {
    let Filters { request, response, rewrite, redirect, cors, mirrors: copied } =
        filters(rule.filters.as_deref().unwrap_or_default(), prefix)?;
    let timeouts = rule.timeouts.clone().unwrap_or_default();
    let limit = |text| Ok(policies::duration(text)?.filter(|limit| !limit.is_zero()));
    let limits = (limit(timeouts.request.as_ref())?, limit(timeouts.backend_request.as_ref())?);
    let persistence = rule.session_persistence.as_ref();
    let persistence = persistence.map(|wanted| policies::persistence(wanted, &name, secret)).transpose()?;
    let refs = rule.backend_refs.as_deref().unwrap_or_default();
    let backends = refs.iter().map(|r| backend(r, prefix, owner, context, built)).collect::<Result<Vec<_>, _>>()?;
    let action = match redirect {
        Some(redirect) => Action::Redirect(redirect),
        None if backends.iter().all(|b| b.weight == 0) && owner.0 == StatusKind::GRPCRoute => {
            Action::Respond(StatusCode::SERVICE_UNAVAILABLE)
        }
        None if backends.iter().all(|b| b.weight == 0) => Action::Respond(StatusCode::INTERNAL_SERVER_ERROR),
        None => Action::Forward(backends),
    };
    let mut compiled = Rule::new(name, action);
    (compiled.request_headers, compiled.response_headers, compiled.rewrite) = (request, response, rewrite);
    (compiled.request_timeout, compiled.backend_timeout) = limits;
    compiled.retry = rule.retry.as_ref().map(policies::retry).transpose()?;
    (compiled.persistence, compiled.cors) = (persistence, cors);
    compiled.mirrors = mirrors(&copied, owner, context, built)?;
    // A backend's rewrite says what it says of host and path; the rest is the rule's.
    if let (Action::Forward(backends), Some(rewrite)) = (&mut compiled.action, &compiled.rewrite) {
        for own in backends.iter_mut().filter_map(|backend| backend.rewrite.as_mut()) {
            own.hostname = own.hostname.take().or_else(|| rewrite.hostname.clone());
            own.path = own.path.take().or_else(|| rewrite.path.clone());
        }
    }
    Ok(compiled)
}

fn backend(
    wanted: &HTTPBackendRef,
    prefix: Option<&str>,
    owner: Owner<'_>,
    context: &mut Context<'_>,
    built: &mut Built,
) -> Result<Backend, Invalid> {
    let changes = filters(wanted.filters.as_deref().unwrap_or_default(), prefix)?;
    if changes.cors.is_some() {
        return Err(unsupported("filter CORS of a backendRef is not supported: put it on the rule"));
    }
    let target = resolve(&wanted.object, owner, context).map_err(|problem| {
        built.unresolved.get_or_insert(problem);
        // To a gRPC client, 503 is UNAVAILABLE.
        if owner.0 == StatusKind::GRPCRoute {
            StatusCode::SERVICE_UNAVAILABLE
        } else {
            StatusCode::INTERNAL_SERVER_ERROR
        }
    });
    let weight = u32::try_from(wanted.weight.unwrap_or(1)).unwrap_or(0);
    let mut backend = Backend::new(weight, target);
    (backend.request_headers, backend.response_headers) = (changes.request, changes.response);
    (backend.rewrite, backend.redirect) = (changes.rewrite, changes.redirect);
    backend.mirrors = mirrors(&changes.mirrors, owner, context, built)?;
    Ok(backend)
}

/// Who gets copies; a reference that leads nowhere is left out.
fn mirrors(
    wanted: &[HTTPRequestMirrorFilter],
    owner: Owner<'_>,
    context: &mut Context<'_>,
    built: &mut Built,
) -> Result<Vec<Mirror>, Invalid> {
    let mut found = Vec::new();
    for mirror in wanted {
        let (part, whole) = policies::share(mirror)?;
        match resolve(&mirror.backend_ref, owner, context) {
            Ok(cluster) => found.push(Mirror { cluster, part, whole }),
            Err(problem) => _ = built.unresolved.get_or_insert(problem),
        }
    }
    Ok(found)
}

fn matches(rule: &HTTPRouteRule) -> Result<Vec<Match>, Invalid> {
    let default = [HTTPRouteMatch::default()];
    let wanted = rule.matches.as_deref().filter(|m| !m.is_empty()).unwrap_or(&default);
    wanted.iter().map(one_match).collect()
}

fn one_match(wanted: &HTTPRouteMatch) -> Result<Match, Invalid> {
    let method = wanted.method.as_deref().map(|m| Method::from_bytes(m.as_bytes())).transpose();
    let headers = headers(wanted.headers.as_deref().unwrap_or_default())?;
    let mut queries: Vec<(String, ValueMatch)> = Vec::new();
    for query in wanted.query_params.iter().flatten() {
        if queries.iter().all(|(known, _)| *known != query.name) {
            queries.push((query.name.clone(), value(query)?));
        }
    }
    let method = method.map_err(|_| unsupported("the method is not a token"))?;
    Ok(Match { path: path(&wanted.path.clone().unwrap_or_default())?, method, headers, queries })
}

pub(super) fn headers(wanted: &[HTTPValueMatch]) -> Result<Vec<(HeaderName, ValueMatch)>, Invalid> {
    let mut headers: Vec<(HeaderName, ValueMatch)> = Vec::new();
    for header in wanted {
        let name = HeaderName::from_bytes(header.name.as_bytes());
        let name = name.map_err(|_| unsupported(format!("{:?} is not a header name", header.name)))?;
        // Of entries with equal names only the first counts.
        if headers.iter().all(|(known, _)| *known != name) {
            headers.push((name, value(header)?));
        }
    }
    Ok(headers)
}

fn path(wanted: &HTTPPathMatch) -> Result<PathMatch, Invalid> {
    let value = wanted.value.as_deref().unwrap_or("/");
    match wanted.r#type.as_deref().unwrap_or("PathPrefix") {
        "Exact" => Ok(PathMatch::Exact(value.to_owned())),
        "PathPrefix" => Ok(PathMatch::Prefix(value.trim_end_matches('/').to_owned())),
        "RegularExpression" => Ok(PathMatch::Regex(whole(value)?)),
        other => Err(unsupported(format!("path match type {other} is not supported"))),
    }
}

fn value(wanted: &HTTPValueMatch) -> Result<ValueMatch, Invalid> {
    match wanted.type_.as_deref().unwrap_or("Exact") {
        "Exact" => Ok(ValueMatch::Exact(wanted.value.clone())),
        "RegularExpression" => Ok(ValueMatch::Regex(whole(&wanted.value)?)),
        other => Err(unsupported(format!("match type {other} of {} is not supported", wanted.name))),
    }
}

/// An expression that must match the whole text. The expression alone is checked first, lest `a)(b` pass by accident.
pub(super) fn whole(expression: &str) -> Result<Regex, Invalid> {
    let bad = |error: regex::Error| unsupported(format!("{expression:?} is not a regular expression: {error}"));
    Regex::new(expression).map_err(bad)?;
    Regex::new(&format!("^(?:{expression})$")).map_err(bad)
}

/// The prefix that `ReplacePrefixMatch` replaces, if every match has the same one.
fn common_prefix(matches: &[Match]) -> Option<String> {
    let mut prefixes = matches.iter().map(|m| match &m.path {
        PathMatch::Prefix(prefix) => Some(prefix),
        _ => None,
    });
    let first = prefixes.next()??;
    prefixes.all(|other| other == Some(first)).then(|| first.clone())
}
