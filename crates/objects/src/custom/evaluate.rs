//! Rules on objects and on changes of objects (`apiextensions-apiserver/pkg/apiserver/schema/cel`, `Validator`).

use std::sync::Arc;

use cel::{Budget, EvalError, Program, Value as CelValue};
use serde_json::Value;

use super::{
    earlier::{Earlier, same},
    rules::Rule,
    structural::Structural,
    values::convert,
};
use crate::cause::Cause;

/// What one rule may cost on one value, as upstream limits it.
const RULE_COST: u64 = 1_000_000;
/// What all rules may cost on one object.
const OBJECT_COST: u64 = 10_000_000;
/// Bytes of a message that a rule makes.
const LONGEST_MESSAGE: usize = 5 * 1024;

/// What the rules say of an object, and of its change from `old`.
pub(super) fn check(schema: &Structural, object: &Value, old: Option<&Value>) -> Vec<Cause> {
    let mut check = Check { of_object: true, ..Check::new(true) };
    check.value(schema, object, Past { value: old, unchanged: false }, "", true);
    check.causes
}

/// The rules that do not hold for parts of an object that are what they were in `old`: they are not held against it.
pub(super) fn check_unchanged(schema: &Structural, object: &Value, old: &Value) -> Vec<Cause> {
    let mut check = Check { of_unchanged: true, ..Check::new(true) };
    check.value(schema, object, Past { value: Some(old), unchanged: false }, "", true);
    check.causes
}

/// What the rules say of a value that is made, such as a default.
pub(super) fn check_made(schema: &Structural, value: &Value, whole: bool) -> Vec<Cause> {
    let mut check = Check::new(true);
    check.value(schema, value, Past { value: None, unchanged: false }, "", whole);
    check.causes
}

/// What the rules say of a value that stays what it is, those that are not about changes too.
pub(super) fn check_kept(schema: &Structural, value: &Value, whole: bool) -> Vec<Cause> {
    let mut check = Check::new(false);
    check.value(schema, value, Past { value: Some(value), unchanged: false }, "", whole);
    check.causes
}

/// What a value was before.
#[derive(Clone, Copy)]
struct Past<'a> {
    /// The value that it was, where the two can be told to be the same one.
    value: Option<&'a Value>,
    /// It is a part of what did not change.
    unchanged: bool,
}

impl<'a> Past<'a> {
    fn step(self, value: Option<&'a Value>) -> Self {
        Self { value, ..self }
    }
}

struct Check {
    left: u64,
    causes: Vec<Cause>,
    /// The budget is used up.
    ended: bool,
    /// What did not change is not held against an update.
    ratchets: bool,
    /// It is about an object: rules that do not compile refuse it. Where a definition is checked they are told of by themselves.
    of_object: bool,
    /// It is about what did not change, and about nothing else.
    of_unchanged: bool,
}

impl Check {
    fn new(ratchets: bool) -> Self {
        Self { left: OBJECT_COST, causes: Vec::new(), ended: false, ratchets, of_object: false, of_unchanged: false }
    }

    fn value(&mut self, schema: &Structural, value: &Value, past: Past<'_>, path: &str, whole: bool) {
        if !schema.has_rules() || self.ended {
            return;
        }
        let unchanged = self.ratchets && (past.unchanged || past.value.is_some_and(|old| same(schema, old, value)));
        let past = Past { unchanged, ..past };
        if !schema.rules.is_empty() && !value.is_null() {
            self.rules(schema, value, past, path, whole);
        }
        match value {
            Value::Object(map) => {
                for (name, value) in map {
                    let Some(below) = schema.field(name) else { continue };
                    let here = schema.step(path, name);
                    let old = past.value.and_then(|old| old.get(name));
                    self.value(below, value, past.step(old), &here, false);
                }
            }
            Value::Array(list) => {
                let Some(items) = &schema.items else { return };
                let earlier = Earlier::of(schema, past.value);
                for (index, value) in list.iter().enumerate() {
                    let old = earlier.element(schema, value);
                    self.value(items, value, past.step(old), &format!("{path}[{index}]"), false);
                }
            }
            _ => {}
        }
    }

    fn rules(&mut self, schema: &Structural, value: &Value, past: Past<'_>, path: &str, whole: bool) {
        // A rule about changes is asked of what did not change, too.
        let asked = |rule: &Rule| match rule.transition {
            true => !self.of_unchanged && (rule.optional_old || past.value.is_some()),
            false => past.unchanged == self.of_unchanged,
        };
        let mut programs = Vec::new();
        for rule in &schema.rules {
            match &rule.program {
                Ok(program) if asked(rule) => programs.push((rule, program)),
                Ok(_) => {}
                // Nobody can say whether it holds, not even of what did not change.
                Err(why) if self.of_object => {
                    let field = if path.is_empty() { "<nil>" } else { path };
                    self.causes.push(Cause::invalid_shown(field, &format!("{:?}", schema.of.name()), why));
                }
                Err(_) => {}
            }
        }
        if programs.is_empty() {
            return;
        }
        let own = convert(schema, value, whole);
        let before = past.value.filter(|old| !old.is_null()).map(|old| convert(schema, old, whole));
        for (rule, program) in programs {
            let before = match (rule.optional_old, &before) {
                (true, before) => CelValue::Optional(before.clone().map(Arc::new)),
                (false, Some(before)) => before.clone(),
                (false, None) => CelValue::Null,
            };
            let names = [("self", own.clone()), ("oldSelf", before)];
            self.rule(schema, (rule, program), &names, path);
            if self.ended {
                return;
            }
        }
    }

    /// Evaluates within what is left for the object, and within what one evaluation may cost.
    fn evaluate(&mut self, program: &Program, names: &[(&str, CelValue)]) -> Result<CelValue, Ended> {
        let most = RULE_COST.min(self.left);
        let mut budget = Budget::new(most);
        let outcome = program.evaluate(names, &mut budget);
        self.left = self.left.saturating_sub(most.saturating_sub(budget.left()));
        outcome.map_err(|error| match error {
            EvalError::Budget if most < RULE_COST => Ended::Object,
            EvalError::Budget => Ended::Call,
            EvalError::Failed(why) => Ended::Failed(why),
        })
    }

    fn rule(
        &mut self,
        schema: &Structural,
        (rule, program): (&Rule, &Program),
        names: &[(&str, CelValue)],
        path: &str,
    ) {
        let shown = format!("{:?}", schema.of.name());
        let named = rule.named();
        let why = match self.evaluate(program, names) {
            Ok(CelValue::Bool(true)) => return,
            Ok(CelValue::Bool(false)) => {
                self.refuse(rule, names, path, &shown);
                return;
            }
            Ok(_) => format!(
                "'no such overload': call arguments did not match a supported operator, function or macro signature for rule: {named}"
            ),
            Err(Ended::Object) => {
                self.ended = true;
                "validation failed due to running out of cost budget, no further validation rules will be run"
                    .to_owned()
            }
            Err(Ended::Call) => {
                self.ended = true;
                format!(
                    "'{}': no further validation rules will be run due to call cost exceeds limit for rule: {named}",
                    EvalError::Budget
                )
            }
            Err(Ended::Failed(why)) if why.starts_with("no such overload") => {
                format!(
                    "'{why}': call arguments did not match a supported operator, function or macro signature for rule: {named}"
                )
            }
            Err(Ended::Failed(why)) => format!("{why} evaluating rule: {named}"),
        };
        if self.of_unchanged {
            // Whether it holds is not known.
            return;
        }
        let field = if path.is_empty() { "<nil>" } else { path };
        self.causes.push(Cause::invalid_shown(field, &shown, &why));
    }

    /// A rule does not hold: its cause has the message that it makes, its fixed one, or its text.
    fn refuse(&mut self, rule: &Rule, names: &[(&str, CelValue)], path: &str, shown: &str) {
        let at = match (path, rule.field_path.as_str()) {
            ("", "") => "<nil>".to_owned(),
            ("", below) => below.to_owned(),
            (path, "") => path.to_owned(),
            (path, below) => format!("{path}.{below}"),
        };
        let at = at.as_str();
        let mut made = None;
        if let Some(program) = &rule.message_expression {
            match self.evaluate(program, names) {
                Ok(CelValue::Text(text)) => made = Some(text.trim().to_owned()).filter(|text| is_message(text)),
                Ok(_) | Err(Ended::Failed(_)) => {}
                Err(Ended::Object) => {
                    self.ended = true;
                    let why = "messageExpression evaluation failed due to running out of cost budget, no further validation rules will be run";
                    self.causes.push(Cause::invalid_shown(at, shown, why));
                    return;
                }
                Err(Ended::Call) => {
                    self.ended = true;
                    let why =
                        "no further validation rules will be run due to call cost exceeds limit for messageExpression";
                    self.causes.push(Cause::invalid_shown(at, shown, why));
                    return;
                }
            }
        }
        let message = made.or_else(|| rule.message.clone()).unwrap_or_else(|| format!("failed rule: {}", rule.text));
        self.causes.push(match rule.reason.as_str() {
            "FieldValueRequired" => Cause::required(at, &message),
            "FieldValueForbidden" => Cause::forbidden(at, &message),
            "FieldValueDuplicate" => Cause::duplicate(at, &shown.trim_matches('"').into()),
            _ => Cause::invalid_shown(at, shown, &message),
        });
    }
}

/// Why an evaluation has no value.
enum Ended {
    /// What all rules may cost on the object is used up.
    Object,
    /// It cost more than one evaluation may.
    Call,
    Failed(String),
}

/// Whether what an expression made can be shown as a message.
fn is_message(text: &str) -> bool {
    !text.is_empty() && !text.contains('\n') && text.len() <= LONGEST_MESSAGE
}
