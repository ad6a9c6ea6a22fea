//! When a Job has failed and when it has succeeded (upstream's `validatePodFailurePolicy` and `validateSuccessPolicy`).

use objects::names;

use super::at::At;
use crate::status::Cause;

/// The most rules of a policy, and the most patterns about conditions in one.
const RULES: usize = 20;
/// The most exit codes of a rule.
const CODES: usize = 255;
/// The most bytes of a list of indexes.
const INDEXES: usize = 64 * 1024;

/// What is wrong with a Job's `podFailurePolicy`, where there is one.
pub(super) fn failure(spec: &At<'_>, causes: &mut Vec<Cause>) {
    let rules = spec.field("podFailurePolicy").field("rules");
    if rules.len() > RULES {
        causes.push(Cause::too_many(&rules.path, rules.len(), RULES));
    }
    for rule in rules.elements() {
        failure_rule(&rule, spec, causes);
    }
}

fn failure_rule(rule: &At<'_>, spec: &At<'_>, causes: &mut Vec<Cause>) {
    let (action, codes, conditions) = (rule.field("action"), rule.field("onExitCodes"), rule.field("onPodConditions"));
    causes.extend(required_one_of(&action, &["Count", "FailIndex", "FailJob", "Ignore"]));
    if action.text() == "FailIndex" && !spec.field("backoffLimitPerIndex").is_set() {
        causes.push(action.invalid("requires the backoffLimitPerIndex to be set"));
    }
    if codes.is_set() {
        exit_codes(&codes, &spec.field("template").field("spec"), causes);
    }
    if conditions.len() > RULES {
        causes.push(Cause::too_many(&conditions.path, conditions.len(), RULES));
    }
    for condition in conditions.clone().elements() {
        causes.extend(condition.field("type").named(names::qualified_name));
        causes.extend(required_one_of(&condition.field("status"), &["False", "True", "Unknown"]));
    }
    match (codes.is_set(), conditions.len() > 0) {
        (true, true) => causes.push(rule.invalid("specifying both OnExitCodes and OnPodConditions is not supported")),
        (false, false) => causes.push(rule.invalid("specifying one of OnExitCodes and OnPodConditions is required")),
        _ => {}
    }
}

/// As [`At::must_be_one_of`]; what is missing is told what there is.
fn required_one_of(field: &At<'_>, supported: &[&str]) -> Option<Cause> {
    if !field.text().is_empty() {
        return field.one_of(supported);
    }
    let listed: Vec<String> = supported.iter().map(|one| format!("{one:?}")).collect();
    Some(field.required(&format!("valid values: [{}]", listed.join(" "))))
}

fn exit_codes(codes: &At<'_>, pod: &At<'_>, causes: &mut Vec<Cause>) {
    let (operator, container, values) = (codes.field("operator"), codes.field("containerName"), codes.field("values"));
    causes.extend(required_one_of(&operator, &["In", "NotIn"]));
    let mut all = pod.each("containers").chain(pod.each("initContainers"));
    if container.is_set() && !all.any(|one| one.field("name").text() == container.text()) {
        causes.push(container.invalid("must be one of the container or initContainer names in the pod template"));
    }
    match values.len() {
        0 => causes.push(values.invalid("at least one value is required")),
        many if many > CODES => causes.push(Cause::too_many(&values.path, many, CODES)),
        _ => {}
    }
    let mut seen = Vec::new();
    let mut is_ordered = true;
    for value in values.clone().elements() {
        let number = value.number().unwrap_or(0);
        if number == 0 && operator.text() == "In" {
            causes.push(value.invalid("must not be 0 for the In operator"));
        }
        if seen.contains(&number) {
            causes.push(value.duplicate());
        }
        is_ordered &= seen.last().is_none_or(|last| *last <= number);
        seen.push(number);
    }
    if !is_ordered {
        causes.push(values.invalid("must be ordered"));
    }
}

/// What is wrong with a Job's `successPolicy`, where there is one.
pub(super) fn success(spec: &At<'_>, causes: &mut Vec<Cause>) {
    let policy = spec.field("successPolicy");
    if !policy.is_set() {
        return;
    }
    if spec.field("completionMode").text() != "Indexed" {
        causes.push(policy.invalid("requires indexed completion mode"));
        return;
    }
    let rules = policy.field("rules");
    match rules.len() {
        0 => causes.push(rules.required("at least one rules must be specified when the successPolicy is specified")),
        many if many > RULES => causes.push(Cause::too_many(&rules.path, many, RULES)),
        _ => {}
    }
    let completions = spec.field("completions").number().unwrap_or(0);
    rules.elements().for_each(|rule| success_rule(&rule, completions, causes));
}

fn success_rule(rule: &At<'_>, completions: i64, causes: &mut Vec<Cause>) {
    let (count, indexes) = (rule.field("succeededCount"), rule.field("succeededIndexes"));
    if !count.is_set() && !indexes.is_set() {
        causes.push(rule.required("at least one of succeededCount or succeededIndexes must be specified"));
    }
    if indexes.len() > INDEXES {
        causes.push(Cause::too_long(&indexes.path, INDEXES));
    }
    let listed = match counted(indexes.text(), completions) {
        Ok(listed) => listed,
        Err(why) => {
            causes.push(indexes.invalid(&format!("error parsing succeededIndexes: {why}")));
            0
        }
    };
    causes.extend(count.not_negative());
    let Some(wanted) = count.number() else { return };
    if wanted > completions {
        let why = format!("must be less than or equal to {completions} (the number of specified completions)");
        causes.push(count.invalid(&why));
    }
    if indexes.is_set() && wanted > listed {
        let why = format!(
            "must be less than or equal to {listed} (the number of indexes in the specified succeededIndexes field)"
        );
        causes.push(count.invalid(&why));
    }
}

/// How many indexes a list such as `0,2-4` names, each less than `completions`.
fn counted(list: &str, completions: i64) -> Result<i64, String> {
    let index = |text: &str| match text.parse::<i64>() {
        Err(_) => Err(format!("cannot convert string to integer for index: {text:?}")),
        Ok(index) if index >= completions => Err(format!("too large index: {text:?}")),
        Ok(index) => Ok(index),
    };
    let falls = |last: i64, next: i64| format!("non-increasing order, previous: {last}, current: {next}");
    let (mut total, mut last) = (0, None);
    for part in list.split(',').filter(|_| !list.is_empty()) {
        let (first, end) = match part.split('-').collect::<Vec<_>>().as_slice() {
            [one] => (index(one)?, index(one)?),
            [first, end] => {
                let (first, end) = (index(first)?, index(end)?);
                if first >= end {
                    return Err(falls(first, end));
                }
                (first, end)
            }
            _ => {
                return Err(format!(
                    "the fragment {part:?} violates the requirement that an index interval can have at most two parts \
                     separated by '-'"
                ));
            }
        };
        if let Some(last) = last.filter(|last| *last >= first) {
            return Err(falls(last, first));
        }
        total += end - first + 1;
        last = Some(end);
    }
    Ok(total)
}
