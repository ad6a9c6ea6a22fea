//! The rules of a definition's schemas: that they compile, and that they cannot cost too much.

use std::cell::OnceCell;

use ::objects::custom::{
    Structural, field_path,
    rules::{Known, REASONS, Verdict},
};
use serde_json::Value;

use super::{
    Options,
    open_api::{Found, Place},
};
use crate::{status::Cause, validation::At};

/// What one rule may be estimated to cost on one object.
const RULE: u64 = 10_000_000;
/// What all rules of a version may be estimated to cost on one object.
const VERSION: u64 = 100_000_000;
/// Of the rules that make a version too dear, so many are named.
const NAMED: usize = 4;

/// A schema as rules see it, and how often a value of it can be in one object.
pub(super) struct Scope {
    /// What rules know of it, once one has asked.
    known: OnceCell<Known>,
    whole: bool,
    /// How often, if every list and map around it is limited.
    times: Option<u64>,
}

impl Scope {
    /// A whole object.
    pub(super) fn root() -> Self {
        Self { known: OnceCell::new(), whole: true, times: Some(1) }
    }

    fn known(&self, at: &At<'_>) -> &Known {
        self.known.get_or_init(|| {
            let whole = self.whole || at.field("x-kubernetes-embedded-resource").is_true();
            Known::new(&Structural::shape(at.value), whole)
        })
    }

    fn below(&self, at: &At<'_>, known: Option<Known>) -> Self {
        let below = OnceCell::new();
        if let Some(known) = known.filter(Known::is_known) {
            let _ = below.set(known);
        }
        let limit = |field: &str| at.field(field).value.as_i64().map(|most| u64::try_from(most).unwrap_or(0));
        let most = match at.field("type").text() {
            "object" if at.field("additionalProperties").is_set() => limit("maxProperties"),
            "array" => limit("maxItems"),
            _ => Some(1),
        };
        let times = self.times.zip(most).map(|(times, most)| times.saturating_mul(most));
        Self { known: below, whole: false, times }
    }

    /// A field of the object that this is the schema of.
    pub(super) fn field(&self, at: &At<'_>, name: &str) -> Self {
        self.below(at, self.known.get().map(|known| known.field(name)))
    }

    /// The elements of the list, or the values of the map, that this is the schema of.
    pub(super) fn elements(&self, at: &At<'_>) -> Self {
        self.below(at, self.known.get().map(Known::elements))
    }
}

/// What the rules of a version are estimated to cost together, and which cost the most.
#[derive(Default)]
pub(super) struct Total {
    cost: u64,
    dearest: Vec<(u64, String)>,
}

impl Total {
    pub(super) fn add(&mut self, path: String, cost: u64) {
        self.cost = self.cost.saturating_add(cost);
        if cost < VERSION / 100 {
            return;
        }
        self.dearest.push((cost, path));
        self.dearest.sort_by_key(|(cost, _)| std::cmp::Reverse(*cost));
        self.dearest.truncate(NAMED);
    }

    /// What all cost together, and those of which the most is made.
    #[cfg(test)]
    pub(super) fn named(&self) -> (u64, Vec<u64>) {
        (self.cost, self.dearest.iter().map(|(cost, _)| *cost).collect())
    }

    /// What is wrong with the version's schema, if its rules cost too much together.
    pub(super) fn exceeded(&self, schema: &At<'_>) -> Vec<Cause> {
        if self.cost <= VERSION {
            return Vec::new();
        }
        let why = "contributed to estimated rule cost total exceeding cost limit for entire OpenAPIv3 schema";
        let mut causes: Vec<Cause> = self.dearest.iter().map(|(_, path)| Cause::forbidden(path, why)).collect();
        let name = "x-kubernetes-validations estimated rule cost total for entire OpenAPIv3 schema";
        causes.push(schema.forbidden(&too_dear(name, self.cost, VERSION)));
        causes
    }
}

/// How much too dear something is, and what to do about it.
fn too_dear(name: &str, cost: u64, limit: u64) -> String {
    #[allow(clippy::cast_precision_loss, reason = "a factor to be read by people")]
    let factor = cost as f64 / limit as f64;
    let factor = match factor {
        // Far too much is too much by an order of growth: the number would say nothing.
        factor if factor > 100.0 => "more than 100x".to_owned(),
        factor if factor < 1.5 => format!("{factor:.6}x"),
        factor => format!("{factor:.1}x"),
    };
    format!(
        "{name} exceeds budget by factor of {factor} (try simplifying the rule, or adding maxItems, maxProperties, and maxLength where arrays, maps, and strings are declared)"
    )
}

fn has_lines(text: &str) -> bool {
    text.contains(['\n', '\r'])
}

/// What a schema's rules say beside their expressions.
pub(super) fn texts(at: &At<'_>, causes: &mut Vec<Cause>) {
    for rule in at.each("x-kubernetes-validations") {
        let [text, message, expression, path] =
            ["rule", "message", "messageExpression", "fieldPath"].map(|field| rule.field(field));
        let blank = |at: &At<'_>| !at.text().is_empty() && at.text().trim().is_empty();
        let said = message.text().trim();
        if text.text().trim().is_empty() {
            causes.push(text.required("rule is not specified"));
        } else if blank(&message) {
            causes.push(message.invalid("must be non-empty if specified"));
        } else if has_lines(said) {
            causes.push(message.invalid("must not contain line breaks"));
        } else if has_lines(text.text().trim()) && said.is_empty() {
            causes.push(message.required("message must be specified if rule contains line breaks"));
        }
        if blank(&expression) {
            causes.push(expression.required("messageExpression must be non-empty if specified"));
        }
        causes.extend(rule.field("reason").one_of(REASONS));
        if blank(&path) {
            causes.push(path.invalid("must be non-empty if specified"));
        }
        if has_lines(path.text()) {
            causes.push(path.invalid("must not contain line breaks"));
        }
        if !path.text().is_empty() && field_path::find(path.text(), at.value, true).is_err() {
            causes.push(path.invalid("must be a valid path"));
        }
    }
}

/// Compiles a schema's rules, and adds up what they cost.
pub(super) fn check(at: &At<'_>, place: &Place, scope: &Scope, options: &Options, found: &mut Found) {
    let rules = at.field("x-kubernetes-validations");
    if rules.len() == 0 {
        return;
    }
    let known = scope.known(at);
    if !known.is_known() {
        let why = "Internal error: internal error: failed to construct type information for x-kubernetes-validations rules: unable to convert structural schema to CEL declarations";
        found.rules.push(Cause { reason: "InternalError", message: why.to_owned(), field: rules.path });
        return;
    }
    let times = scope.times.unwrap_or_else(|| known.cardinality());
    for rule in rules.elements() {
        if options.kept.is_exceeded() {
            return;
        }
        let verdict = known.compile(rule.value);
        if !options.unlimited {
            options.kept.add(verdict.patterns);
        }
        one(&rule, &verdict, times, place, options, found);
    }
}

fn one(rule: &At<'_>, verdict: &Verdict, times: u64, place: &Place, options: &Options, found: &mut Found) {
    let (text, expression) = (rule.field("rule"), rule.field("messageExpression"));
    let cost = verdict.cost.saturating_mul(times);
    if cost > RULE && !options.unlimited {
        found.rules.push(text.forbidden(&too_dear("estimated rule cost", cost, RULE)));
    }
    found.total.add(text.path.clone(), cost);
    let wrong = |at: &At<'_>, why: &str| Cause::invalid_shown(&at.path, &shown(rule), why);
    found.rules.extend(verdict.wrong.as_ref().map(|why| wrong(&text, why)));
    found.rules.extend(verdict.wrong_message.as_ref().map(|why| wrong(&expression, why)));
    if let Some(cost) = verdict.message_cost {
        if cost > RULE && !options.unlimited {
            found.rules.push(expression.forbidden(&too_dear("estimated messageExpression cost", cost, RULE)));
        }
        found.total.add(expression.path, cost);
    }
    let optional = rule.field("optionalOldSelf");
    if verdict.transition {
        if let Some(path) = &place.uncorrelatable {
            let why = format!("oldSelf cannot be used on the uncorrelatable portion of the schema within {path}");
            found.rules.push(text.invalid(&why));
        }
    } else if optional.is_set() {
        found.rules.push(optional.invalid("may not be set if oldSelf is not used in rule"));
    }
}

/// A rule as Go's internal type prints it.
fn shown(rule: &At<'_>) -> String {
    let text = |field: &str| Value::from(rule.field(field).text());
    let set = |field: &str| rule.field(field).value.clone();
    format!(
        "{{\"Rule\":{},\"Message\":{},\"MessageExpression\":{},\"Reason\":{},\"FieldPath\":{},\"OptionalOldSelf\":{}}}",
        text("rule"),
        text("message"),
        text("messageExpression"),
        set("reason"),
        text("fieldPath"),
        set("optionalOldSelf")
    )
}
