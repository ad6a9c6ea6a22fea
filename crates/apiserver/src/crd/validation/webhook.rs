//! Conversion webhooks: what a definition may say of them (`apiserver/pkg/util/webhook`).

use std::collections::BTreeSet;

use ::objects::names;
use base64::Engine;
use serde_json::Value;

use super::Options;
use crate::{status::Cause, validation::At};

/// Versions of the requests to webhooks that servers send.
const REVIEWS: &[&str] = &["v1", "v1beta1"];

pub(super) fn conversion(conversion: &At<'_>, options: &Options, causes: &mut Vec<Cause>) {
    if !conversion.is_set() {
        return;
    }
    let strategy = conversion.field("strategy");
    causes.extend(strategy.must_be_one_of(&["None", "Webhook"]));
    let (config, reviews) = (conversion.field("webhookClientConfig"), conversion.field("conversionReviewVersions"));
    if strategy.text() != "Webhook" {
        let why = "should not be set when strategy is not set to Webhook";
        causes.extend(config.is_set().then(|| config.forbidden(why)));
        causes.extend((reviews.len() > 0).then(|| reviews.forbidden(why)));
        return;
    }
    client(&config, options, causes);
    review_versions(&reviews, options, causes);
}

fn client(config: &At<'_>, options: &Options, causes: &mut Vec<Cause>) {
    if !config.is_set() {
        causes.push(config.required("required when strategy is set to Webhook"));
        return;
    }
    let (url, service) = (config.field("url"), config.field("service"));
    match (url.is_set(), service.is_set()) {
        (true, false) => https(&url, causes),
        (false, true) => self::service(&service, causes),
        _ => causes.push(config.required("exactly one of url or service is required")),
    }
    let bundle = config.field("caBundle");
    if options.certificates && bundle.len() > 0 && !has_certificates(config) {
        causes.push(bundle.invalid("unable to load root certificates: unable to parse bytes as PEM block"));
    }
}

/// Whether there is a certificate in a webhook's bundle of them.
pub(super) fn has_certificates(config: &At<'_>) -> bool {
    let bundle = config.field("caBundle");
    let bytes = base64::engine::general_purpose::STANDARD.decode(bundle.text()).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    match text.split_once("-----BEGIN CERTIFICATE-----") {
        None => bundle.text().is_empty() && bundle.value == &Value::Null && config.is_set(),
        Some((_, rest)) => rest.split_once("-----END CERTIFICATE-----").is_some_and(|(inner, _)| {
            let plain: String = inner.chars().filter(|c| !c.is_whitespace()).collect();
            base64::engine::general_purpose::STANDARD.decode(plain).is_ok_and(|bytes| !bytes.is_empty())
        }),
    }
}

/// Where a webhook is, outside of the cluster.
fn https(url: &At<'_>, causes: &mut Vec<Cause>) {
    const FORM: &str = "; desired format: https://host[/path]";
    let text = url.text();
    if text.chars().any(|c| c.is_control() || c == ' ') {
        causes.push(url.required(&format!("url must be a valid URL: parse {text:?}: invalid URI{FORM}")));
        return;
    }
    let shown = |value: &str, why: &str| Cause::invalid(&url.path, &value.into(), why);
    let (rest, fragment) = text.split_once('#').unwrap_or((text, ""));
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (scheme, rest) = rest.split_once("://").map_or(("", ""), |(scheme, rest)| (scheme, rest));
    let authority = rest.split('/').next().unwrap_or_default();
    let (user, host) = authority.rsplit_once('@').map_or((None, authority), |(user, host)| (Some(user), host));
    if scheme != "https" {
        causes.push(shown(scheme, &format!("'https' is the only allowed URL scheme{FORM}")));
    }
    if host.is_empty() {
        causes.push(shown("", &format!("host must be specified{FORM}")));
    }
    causes.extend(user.map(|user| shown(user, "user information is not permitted in the URL")));
    if !fragment.is_empty() {
        causes.push(shown(fragment, "fragments are not permitted in the URL"));
    }
    if !query.is_empty() {
        causes.push(shown(query, "query parameters are not permitted in the URL"));
    }
}

fn service(service: &At<'_>, causes: &mut Vec<Cause>) {
    for field in ["name", "namespace"] {
        if service.field(field).text().is_empty() {
            causes.push(service.field(field).required(&format!("service {field} is required")));
        }
    }
    let port = service.field("port");
    if !matches!(port.number(), Some(1..=65535)) {
        causes.push(port.invalid("port is not valid: must be between 1 and 65535, inclusive"));
    }
    let path = service.field("path");
    match path.text() {
        "" | "/" => return,
        "//" => {
            causes.push(path.invalid("segment[0] may not be empty"));
            return;
        }
        _ => {}
    }
    if !path.text().starts_with('/') {
        causes.push(path.invalid("must start with a '/'"));
    }
    let inner = path.text().strip_prefix('/').unwrap_or(path.text());
    for (index, segment) in inner.strip_suffix('/').unwrap_or(inner).split('/').enumerate() {
        if segment.is_empty() {
            causes.push(path.invalid(&format!("segment[{index}] may not be empty")));
            continue;
        }
        for why in names::dns_subdomain(segment) {
            causes.push(path.invalid(&format!("segment[{index}]: {why}")));
        }
    }
}

/// Whether there is a version of requests that servers send; nobody is asked who said none.
pub(super) fn knows_reviews(versions: &At<'_>) -> bool {
    versions.len() == 0 || versions.clone().elements().any(|version| REVIEWS.contains(&version.text()))
}

fn review_versions(versions: &At<'_>, options: &Options, causes: &mut Vec<Cause>) {
    if versions.len() == 0 {
        causes.push(versions.required(""));
        return;
    }
    let mut seen = BTreeSet::new();
    for version in versions.clone().elements() {
        if seen.insert(version.text()) {
            causes.extend(version.named(names::dns_1035_label));
        } else {
            causes.push(version.invalid("duplicate version"));
        }
    }
    if options.known_reviews && !knows_reviews(versions) {
        causes.push(versions.invalid(&format!("must include at least one of {}", REVIEWS.join(", "))));
    }
}
