//! ResourceQuotas and LimitRanges (kubernetes/pkg/apis/core/validation).

use objects::{names, quantity::Quantity};
use serde_json::{Value, json};

use super::{at::At, change::immutable};
use crate::status::Cause;

/// Resources that a quota may be about of which there are only whole ones.
const COUNTED: &[&str] = &[
    "pods",
    "resourcequotas",
    "services",
    "replicationcontrollers",
    "secrets",
    "persistentvolumeclaims",
    "configmaps",
    "services.nodeports",
    "services.loadbalancers",
];
/// Those that pods use up.
const COMPUTE: &[&str] = &[
    "cpu",
    "memory",
    "ephemeral-storage",
    "requests.cpu",
    "requests.memory",
    "requests.ephemeral-storage",
    "limits.cpu",
    "limits.memory",
    "limits.ephemeral-storage",
    "pods",
];
const SCOPES: &[&str] = &[
    "BestEffort",
    "CrossNamespacePodAffinity",
    "NotBestEffort",
    "NotTerminating",
    "PriorityClass",
    "Terminating",
    "VolumeAttributesClass",
];
const NOT_NEGATIVE: &str = "must be greater than or equal to 0";

fn quantity(at: &At<'_>) -> Option<Quantity> {
    at.value.as_str().map_or_else(|| at.value.to_string(), str::to_owned).parse().ok()
}

pub(super) fn resource_quota(object: &At<'_>, causes: &mut Vec<Cause>) {
    let spec = object.field("spec");
    for (name, amount) in spec.field("hard").entries() {
        let wrong = names::qualified_name(name);
        causes.extend(wrong.iter().map(|wrong| Cause::invalid(&amount.path, &json!(name), wrong)));
        if wrong.is_empty() && !name.contains('/') && !is_known(name) {
            causes.push(Cause::invalid(&amount.path, &json!(name), "must be a standard resource for quota"));
        }
        let Some(parsed) = quantity(&amount) else { continue };
        if parsed.is_negative() {
            causes.push(amount.invalid(NOT_NEGATIVE));
        }
        if (COUNTED.contains(&name) || name.starts_with("count/")) && parsed.millis() % 1000 != 0 {
            causes.push(amount.invalid("must be an integer"));
        }
    }
    let scopes: Vec<At<'_>> = spec.each("scopes").collect();
    for scope in &scopes {
        this_scope(scope, &spec, causes);
    }
    let says = |name: &str| scopes.iter().any(|scope| scope.text() == name);
    if says("BestEffort") && says("NotBestEffort") || says("Terminating") && says("NotTerminating") {
        causes.push(spec.field("scopes").invalid("conflicting scopes"));
    }
    let selector = spec.field("scopeSelector");
    for expression in selector.each("matchExpressions") {
        scope_expression(&expression, causes);
        let list = selector.field("matchExpressions").path;
        let misfits = misfits(expression.field("scopeName").text(), &spec);
        causes.extend(misfits.map(|_| Cause::invalid(&list, selector.value, MISFIT)));
    }
}

fn this_scope(scope: &At<'_>, spec: &At<'_>, causes: &mut Vec<Cause>) {
    let scopes = spec.field("scopes");
    if SCOPES.contains(&scope.text()) {
        causes.extend(misfits(scope.text(), spec).map(|_| scopes.invalid(MISFIT)));
    } else {
        causes.push(scopes.invalid("unsupported scope"));
    }
}

const MISFIT: &str = "unsupported scope applied to resource";

/// The resources of a quota that a scope says nothing about. Of those that are not Kubernetes' own nothing is known.
fn misfits<'a>(scope: &str, spec: &At<'a>) -> impl Iterator<Item = &'a str> + use<'a> {
    let fits: fn(&str) -> bool = match scope {
        "BestEffort" => |name| name == "pods",
        "VolumeAttributesClass" => |name| matches!(name, "persistentvolumeclaims" | "requests.storage"),
        _ => |name| COMPUTE.contains(&name),
    };
    spec.field("hard").entries().map(|(name, _)| name).filter(move |name| is_known(name) && !fits(name))
}

/// Whether a resource that a quota may be about is one of Kubernetes' own.
fn is_known(name: &str) -> bool {
    let is_huge = name.starts_with("hugepages-") || name.starts_with("requests.hugepages-");
    COMPUTE.contains(&name) || COUNTED.contains(&name) || name == "requests.storage" || is_huge
}

fn scope_expression(expression: &At<'_>, causes: &mut Vec<Cause>) {
    let (name, operator, values) =
        (expression.field("scopeName"), expression.field("operator"), expression.field("values"));
    if !SCOPES.contains(&name.text()) {
        causes.push(name.invalid("unsupported scope"));
    } else if !matches!(name.text(), "PriorityClass" | "VolumeAttributesClass") && operator.text() != "Exists" {
        let why = "must be 'Exist' when scope is any of ResourceQuotaScopeTerminating, ResourceQuotaScopeNotTerminating, \
                   ResourceQuotaScopeBestEffort, ResourceQuotaScopeNotBestEffort or \
                   ResourceQuotaScopeCrossNamespacePodAffinity";
        causes.push(operator.invalid(why));
    }
    match operator.text() {
        "In" | "NotIn" if values.len() == 0 => {
            causes.push(
                values.required("must be at least one value when `operator` is 'In' or 'NotIn' for scope selector"),
            );
        }
        "Exists" | "DoesNotExist" if values.len() > 0 => {
            let why = "must be no value when `operator` is 'Exist' or 'DoesNotExist' for scope selector";
            causes.push(values.invalid(why));
        }
        "In" | "NotIn" | "Exists" | "DoesNotExist" => {}
        _ => causes.push(operator.invalid("not a valid selector operator")),
    }
}

pub(super) fn resource_quota_change(new: &Value, old: &Value) -> Vec<Cause> {
    immutable(new, old, "spec.scopes").into_iter().collect()
}

const BOUNDS: [&str; 5] = ["max", "min", "default", "defaultRequest", "maxLimitRequestRatio"];

pub(super) fn limit_range(object: &At<'_>, causes: &mut Vec<Cause>) {
    let mut seen = Vec::new();
    for limit in object.field("spec").each("limits") {
        let of = limit.field("type");
        causes.extend(of.named(names::qualified_name));
        if seen.contains(&of.text()) {
            causes.push(of.duplicate());
        }
        seen.push(of.text());
        let in_pod = of.text() == "Pod";
        if in_pod {
            for field in ["default", "defaultRequest"] {
                if limit.field(field).len() > 0 {
                    causes.push(limit.field(field).forbidden("may not be specified when `type` is 'Pod'"));
                }
            }
        }
        let has_storage = ["min", "max"].iter().any(|bound| limit.field(bound).value.get("storage").is_some());
        if of.text() == "PersistentVolumeClaim" && !has_storage {
            let why = "either minimum or maximum storage value is required, but neither was provided";
            causes.push(limit.required(why));
        }
        let mut names: Vec<&str> =
            BOUNDS.iter().flat_map(|bound| limit.field(bound).entries()).map(|(k, _)| k).collect();
        names.sort_unstable();
        names.dedup();
        names.into_iter().for_each(|name| amounts(&limit, name, causes));
    }
}

/// The bounds of one resource must leave room for each other.
fn amounts(limit: &At<'_>, name: &str, causes: &mut Vec<Cause>) {
    let of = |bound: &str| {
        let found = limit.field(bound).entries().find(|(key, _)| *key == name).map(|(_, at)| at)?;
        Some((quantity(&found)?, found))
    };
    let [max, min, default, request, ratio] = BOUNDS.map(of);
    let mut above =
        |low: &Option<(Quantity, At<'_>)>, high: &Option<(Quantity, At<'_>)>, low_word: &str, high_word: &str| {
            if let (Some((low, at)), Some((high, _))) = (low, high)
                && low > high
            {
                causes.push(at.invalid(&format!("{low_word} value {low} is greater than {high_word} value {high}")));
            }
        };
    above(&min, &max, "min", "max");
    above(&min, &request, "min", "default request");
    above(&request, &max, "default request", "max");
    above(&request, &default, "default request", "default limit");
    above(&min, &default, "min", "default");
    above(&default, &max, "default", "max");
    if let Some((ratio, at)) = &ratio
        && ratio.millis() < 1000
    {
        causes.push(at.invalid(&format!("ratio {ratio} is less than 1")));
    }
    if let (Some((ratio, at)), Some((min, _)), Some((max, _))) = (&ratio, &min, &max)
        && min.millis() > 0
        && ratio.millis().saturating_mul(min.millis()) > max.millis().saturating_mul(1000)
    {
        // As Go writes the quotient: with six digits after the point.
        let millionths = max.millis().saturating_mul(1_000_000).saturating_add(min.millis() / 2) / min.millis();
        let (whole, rest) = (millionths / 1_000_000, millionths % 1_000_000);
        causes.push(at.invalid(&format!("ratio {ratio} is greater than max/min = {whole}.{rest:06}")));
    }
}
