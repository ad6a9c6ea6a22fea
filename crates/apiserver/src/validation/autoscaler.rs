//! HorizontalPodAutoscalers (kubernetes/pkg/apis/autoscaling/validation).

use objects::quantity::Quantity;

use super::at::At;
use crate::status::Cause;

pub(super) fn spec(spec: &At<'_>, causes: &mut Vec<Cause>) {
    let (least, most) = (spec.field("minReplicas"), spec.field("maxReplicas"));
    // Upstream wants an Object or External metric for 0 (and a feature gate). Here any autoscaler may have it: a target sleeps
    // when its Services are idle, and the gateway wakes it for the first request.
    causes.extend(least.at_least(0, "must be greater than or equal to 0"));
    match most.number().unwrap_or(0) {
        ..1 => causes.push(Cause::invalid(&most.path, &most.number().unwrap_or(0).into(), "must be greater than 0")),
        number if least.number().is_some_and(|least| number < least) => {
            causes.push(most.invalid("must be greater than or equal to `minReplicas`"));
        }
        _ => {}
    }
    target_reference(&spec.field("scaleTargetRef"), causes);
    for metric in spec.each("metrics") {
        self::metric(&metric, causes);
    }
    let behavior = spec.field("behavior");
    for direction in ["scaleUp", "scaleDown"] {
        rules(&behavior.field(direction), causes);
    }
}

fn target_reference(reference: &At<'_>, causes: &mut Vec<Cause>) {
    for field in ["kind", "name"] {
        let field = reference.field(field);
        causes.extend(field.must_be_set());
        if field.text().contains('/') || matches!(field.text(), "." | "..") {
            causes.push(field.invalid("may not contain '/'"));
        }
    }
}

/// A type of metric: its field, and the amounts that its target may be.
type Source = (&'static str, &'static str, &'static [&'static str]);

const SOURCES: &[Source] = &[
    ("ContainerResource", "containerResource", &["averageUtilization", "averageValue"]),
    ("External", "external", &["value", "averageValue"]),
    ("Object", "object", &["value", "averageValue"]),
    ("Pods", "pods", &["averageValue"]),
    ("Resource", "resource", &["averageUtilization", "averageValue"]),
];

fn metric(metric: &At<'_>, causes: &mut Vec<Cause>) {
    let of = metric.field("type");
    let Some((_, field, amounts)) = SOURCES.iter().find(|(name, _, _)| *name == of.text()) else {
        let names: Vec<&str> = SOURCES.iter().map(|(name, _, _)| *name).collect();
        causes.extend(of.must_be_one_of(&names));
        return;
    };
    let source = metric.field(field);
    if !source.is_set() {
        causes.push(source.required("must populate information for the given metric source"));
        return;
    }
    for (_, other, _) in SOURCES.iter().filter(|(_, other, _)| other != field) {
        if metric.field(other).is_set() {
            causes.push(metric.field(other).forbidden("must populate the given metric source only"));
        }
    }
    match *field {
        "resource" => causes.extend(source.field("name").must_be_set()),
        "containerResource" => {
            causes.extend(source.field("name").must_be_set());
            causes.extend(source.field("container").must_be_set());
        }
        _ => causes.extend(source.field("metric").field("name").must_be_set()),
    }
    if *field == "object" {
        target_reference(&source.field("describedObject"), causes);
    }
    target(&source.field("target"), amounts, causes);
}

fn target(target: &At<'_>, amounts: &[&str], causes: &mut Vec<Cause>) {
    causes.extend(target.field("type").must_be_one_of(&["AverageValue", "Utilization", "Value"]));
    let set: Vec<At<'_>> = amounts.iter().map(|amount| target.field(amount)).filter(At::is_set).collect();
    match set.as_slice() {
        [] => {
            let first = amounts.first().copied().unwrap_or_default();
            causes.push(target.field(first).required("must set either a target raw value or a target utilization"));
        }
        [one] => {
            let positive = match one.number() {
                Some(number) => number > 0,
                None => one.text().parse::<Quantity>().is_ok_and(|amount| !amount.is_negative() && amount.millis() > 0),
            };
            causes.extend((!positive).then(|| one.invalid("must be positive")));
        }
        [first, ..] => causes.push(first.forbidden("may not set both a target raw value and a target utilization")),
    }
}

fn rules(rules: &At<'_>, causes: &mut Vec<Cause>) {
    if !rules.is_set() {
        return;
    }
    let window = rules.field("stabilizationWindowSeconds");
    causes.extend(window.not_negative());
    if window.number().is_some_and(|seconds| seconds > 3600) {
        causes.push(window.invalid("must be less than or equal to 3600"));
    }
    causes.extend(rules.field("selectPolicy").one_of(&["Disabled", "Max", "Min"]));
    let policies = rules.field("policies");
    if policies.len() == 0 {
        causes.push(policies.required("must specify at least one Policy"));
    }
    for policy in policies.elements() {
        causes.extend(policy.field("type").must_be_one_of(&["Percent", "Pods"]));
        let (value, period) = (policy.field("value"), policy.field("periodSeconds"));
        for field in [&value, &period] {
            causes.extend((field.number().unwrap_or(0) < 1).then(|| field.invalid("must be greater than zero")));
        }
        if period.number().is_some_and(|seconds| seconds > 1800) {
            causes.push(period.invalid("must be less than or equal to 1800"));
        }
    }
}
