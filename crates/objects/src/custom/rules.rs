//! `x-kubernetes-validations`: rules in CEL on objects and on changes of objects.

use std::{collections::BTreeMap, sync::Arc};

use cel::{Budget, EvalError, ObjectType, Program, Type as CelType, Value as CelValue};
use serde_json::Value;

use super::structural::{Additional, ListType, Structural, Type};
use crate::cause::Cause;

/// What one rule may cost on one value, as upstream limits it.
const RULE_COST: u64 = 1_000_000;
/// What all rules may cost on one object.
const OBJECT_COST: u64 = 10_000_000;
/// Bytes of a message that a rule makes.
const LONGEST_MESSAGE: usize = 5 * 1024;

/// Reasons that a rule can give for a refusal.
pub const REASONS: &[&str] = &["FieldValueInvalid", "FieldValueForbidden", "FieldValueRequired", "FieldValueDuplicate"];

/// A rule of a schema.
#[derive(Debug)]
pub struct Rule {
    text: String,
    message: Option<String>,
    message_expression: Option<Program>,
    reason: String,
    /// Where in the value the cause is, such as `.spec.a`.
    field_path: String,
    /// It is checked for new objects too, where `oldSelf` is nothing.
    optional_old: bool,
    /// Whether it is about a change.
    transition: bool,
    program: Program,
}

/// The rules of a schema. One that does not compile, which no accepted definition has, is left out.
pub(super) fn read(schema: &Value, of: &Structural, whole: bool) -> Vec<Rule> {
    let list = schema.get("x-kubernetes-validations").and_then(Value::as_array);
    let of = declared(of, whole);
    list.into_iter().flatten().filter_map(|rule| Rule::compile(rule, &of).ok()).collect()
}

/// What is wrong with the rules of a schema: the position, the field, and why.
pub fn issues(schema: &Value, whole: bool, correlatable: bool) -> Vec<(usize, &'static str, String)> {
    let list = schema.get("x-kubernetes-validations").and_then(Value::as_array);
    if list.is_none_or(Vec::is_empty) {
        return Vec::new();
    }
    let of = declared(&Structural::read(schema), whole);
    let mut issues = Vec::new();
    for (index, rule) in list.into_iter().flatten().enumerate() {
        match Rule::compile(rule, &of) {
            Err((field, why)) => issues.push((index, field, why)),
            Ok(rule) if rule.transition && !correlatable => {
                issues.push((
                    index,
                    "rule",
                    "oldSelf cannot be used on the uncorrelatable portion of the schema".to_owned(),
                ));
            }
            Ok(_) => {}
        }
    }
    issues
}

impl Rule {
    fn compile(rule: &Value, of: &CelType) -> Result<Self, (&'static str, String)> {
        let text = |field: &str| rule.get(field).and_then(Value::as_str).filter(|text| !text.trim().is_empty());
        let source = text("rule").ok_or_else(|| ("rule", "rule is not specified".to_owned()))?.trim();
        let optional_old = rule.get("optionalOldSelf").and_then(Value::as_bool).unwrap_or(false);
        let old = if optional_old { CelType::Optional(Arc::new(of.clone())) } else { of.clone() };
        let names = [("self", of.clone()), ("oldSelf", old)];
        let program = Program::compile(source, &names).map_err(|e| ("rule", format!("compilation failed: {e}")))?;
        if !matches!(program.result(), CelType::Bool | CelType::Dyn) {
            return Err(("rule", "cel expression must evaluate to a bool".to_owned()));
        }
        let message_expression = match text("messageExpression") {
            None => None,
            Some(source) => {
                let made = Program::compile(source, &names);
                let made =
                    made.map_err(|e| ("messageExpression", format!("messageExpression compilation failed: {e}")))?;
                if !matches!(made.result(), CelType::Text | CelType::Dyn) {
                    return Err(("messageExpression", "messageExpression must evaluate to a string".to_owned()));
                }
                Some(made)
            }
        };
        let transition = program.mentions("oldSelf");
        if optional_old && !transition {
            return Err(("optionalOldSelf", "may not be set if oldSelf is not used in rule".to_owned()));
        }
        Ok(Self {
            text: source.to_owned(),
            message: text("message").map(|message| message.trim().to_owned()),
            message_expression,
            reason: text("reason").unwrap_or("FieldValueInvalid").to_owned(),
            field_path: text("fieldPath").unwrap_or_default().to_owned(),
            optional_old,
            transition,
            program,
        })
    }
}

/// The type of a schema's values in rules.
fn declared(schema: &Structural, whole: bool) -> CelType {
    if schema.int_or_string || schema.nullable {
        return CelType::Dyn;
    }
    let format = schema.checks.as_ref().and_then(|checks| checks.format.as_deref());
    match (schema.of, format) {
        (Type::Boolean, _) => CelType::Bool,
        (Type::Integer, _) => CelType::Int,
        (Type::Number, _) => CelType::Double,
        (Type::String, Some("byte")) => CelType::Bytes,
        (Type::String, Some("date" | "date-time")) => CelType::Timestamp,
        (Type::String, Some("duration")) => CelType::Duration,
        (Type::String, _) => CelType::Text,
        (Type::Array, _) => {
            let items = schema.items.as_ref().map_or(CelType::Dyn, |items| declared(items, false));
            CelType::List(Arc::new(items))
        }
        (Type::Object, _) => match &schema.additional {
            Additional::Of(of) => CelType::Map(Arc::new(CelType::Text), Arc::new(declared(of, false))),
            Additional::Any => CelType::Map(Arc::new(CelType::Text), Arc::new(CelType::Dyn)),
            Additional::None => object(schema, whole),
        },
        (Type::Any, _) => CelType::Dyn,
    }
}

fn object(schema: &Structural, whole: bool) -> CelType {
    let mut fields = BTreeMap::new();
    for (name, of) in &schema.properties {
        // What has no type has no fields that a rule could know.
        if let Some(escaped) = escape(name).filter(|_| of.of != Type::Any || of.int_or_string) {
            fields.insert(escaped, declared(of, false));
        }
    }
    if whole || schema.embedded {
        let text = |name: &str| (name.to_owned(), CelType::Text);
        let metadata =
            ObjectType { name: "object.metadata".to_owned(), fields: [text("name"), text("generateName")].into() };
        fields.extend([text("apiVersion"), text("kind")]);
        fields.insert("metadata".to_owned(), CelType::Object(Arc::new(metadata)));
    }
    CelType::Object(Arc::new(ObjectType { name: "object".to_owned(), fields }))
}

/// A field's name as expressions write it; `None` if they cannot.
fn escape(name: &str) -> Option<String> {
    if cel::is_reserved(name) {
        return Some(format!("__{name}__"));
    }
    let letter = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-' | '/');
    if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) || !name.chars().all(letter) {
        return None;
    }
    let escaped = name.replace("__", "__underscores__");
    Some(escaped.replace('.', "__dot__").replace('-', "__dash__").replace('/', "__slash__"))
}

/// A value as rules see it.
fn convert(schema: &Structural, value: &Value, whole: bool) -> CelValue {
    let format = schema.checks.as_ref().and_then(|checks| checks.format.as_deref());
    match (value, schema.of) {
        (Value::Number(number), Type::Number) => CelValue::Double(number.as_f64().unwrap_or(f64::NAN)),
        (Value::Number(number), Type::Integer) => {
            #[allow(clippy::cast_possible_truncation, reason = "validation has found it to be whole")]
            let whole = number.as_i64().or_else(|| number.as_f64().map(|float| float as i64));
            CelValue::Int(whole.unwrap_or(i64::MAX))
        }
        (Value::String(text), _) => match format {
            Some("date-time") => text.parse().map_or(CelValue::Null, CelValue::Timestamp),
            Some("date") => {
                let day = text.parse::<jiff::civil::Date>().and_then(|day| day.to_zoned(jiff::tz::TimeZone::UTC));
                day.map_or(CelValue::Null, |day| CelValue::Timestamp(day.timestamp()))
            }
            Some("duration") => text.parse().map_or(CelValue::Null, CelValue::Duration),
            Some("byte") => {
                use base64::Engine;
                let bytes = base64::engine::general_purpose::STANDARD.decode(text).unwrap_or_default();
                CelValue::Bytes(bytes.into())
            }
            _ => text.as_str().into(),
        },
        (Value::Array(list), _) => {
            let any = Structural::default();
            let items = schema.items.as_deref().unwrap_or(&any);
            let list: Vec<CelValue> = list.iter().map(|value| convert(items, value, false)).collect();
            if schema.list_type == ListType::Set { CelValue::Set(Arc::new(list)) } else { list.into() }
        }
        (Value::Object(map), Type::Object) => match &schema.additional {
            Additional::Of(of) => {
                CelValue::object(map.iter().map(|(name, value)| (name.as_str().into(), convert(of, value, false))))
            }
            Additional::Any => CelValue::from_json(value),
            Additional::None => fields(schema, map, whole),
        },
        _ => CelValue::from_json(value),
    }
}

fn fields(schema: &Structural, map: &serde_json::Map<String, Value>, whole: bool) -> CelValue {
    let own = whole || schema.embedded;
    let mut fields: Vec<(Arc<str>, CelValue)> = Vec::new();
    for (name, value) in map {
        if own && matches!(name.as_str(), "apiVersion" | "kind") {
            fields.push((name.as_str().into(), CelValue::from_json(value)));
        } else if own && name == "metadata" {
            let shown = ["name", "generateName"].into_iter();
            let shown = shown.filter_map(|field| Some((field.into(), CelValue::from_json(value.get(field)?))));
            fields.push(("metadata".into(), CelValue::object(shown)));
        } else if let (Some(of), Some(escaped)) = (schema.properties.get(name), escape(name))
            && (!value.is_null() || of.nullable)
        {
            fields.push((escaped.into(), convert(of, value, false)));
        }
    }
    CelValue::object(fields)
}

/// What the rules say of an object, and of its change from `old`.
pub(super) fn check(schema: &Structural, object: &Value, old: Option<&Value>) -> Vec<Cause> {
    let mut check = Check { left: OBJECT_COST, causes: Vec::new(), ended: false };
    check.value(schema, object, old, "", true);
    check.causes
}

struct Check {
    left: u64,
    causes: Vec<Cause>,
    /// The budget is used up.
    ended: bool,
}

impl Check {
    fn value(&mut self, schema: &Structural, value: &Value, old: Option<&Value>, path: &str, whole: bool) {
        if !schema.has_rules() || self.ended {
            return;
        }
        if !schema.rules.is_empty() && !value.is_null() {
            self.rules(schema, value, old, path, whole);
        }
        match value {
            Value::Object(map) => {
                for (name, value) in map {
                    let Some(below) = schema.field(name) else { continue };
                    let here = match (schema.properties.contains_key(name), path) {
                        (true, "") => name.clone(),
                        (true, path) => format!("{path}.{name}"),
                        (false, path) => format!("{path}[{name}]"),
                    };
                    self.value(below, value, old.and_then(|old| old.get(name)), &here, false);
                }
            }
            Value::Array(list) => {
                let Some(items) = &schema.items else { return };
                for (index, value) in list.iter().enumerate() {
                    let old = old.filter(|_| schema.list_type == ListType::Map).and_then(Value::as_array);
                    let same = |other: &&Value| schema.list_keys.iter().all(|key| other.get(key) == value.get(key));
                    let old = old.and_then(|old| old.iter().find(same));
                    self.value(items, value, old, &format!("{path}[{index}]"), false);
                }
            }
            _ => {}
        }
    }

    fn rules(&mut self, schema: &Structural, value: &Value, old: Option<&Value>, path: &str, whole: bool) {
        // What did not change is not held against an update; a rule about changes is asked all the same.
        let unchanged = old == Some(value);
        let wanted: Vec<&Rule> = schema
            .rules
            .iter()
            .filter(|rule| if rule.transition { rule.optional_old || old.is_some() } else { !unchanged })
            .collect();
        if wanted.is_empty() {
            return;
        }
        let own = convert(schema, value, whole);
        let before = old.map(|old| convert(schema, old, whole));
        for rule in wanted {
            let before = match (rule.optional_old, &before) {
                (true, before) => CelValue::Optional(before.clone().map(Arc::new)),
                (false, Some(before)) => before.clone(),
                (false, None) => CelValue::Null,
            };
            let names = [("self", own.clone()), ("oldSelf", before)];
            if self.rule(schema, rule, &names, path) {
                return;
            }
        }
    }

    /// Whether the budget is used up.
    fn rule(&mut self, schema: &Structural, rule: &Rule, names: &[(&str, CelValue)], path: &str) -> bool {
        let most = RULE_COST.min(self.left);
        let mut budget = Budget::new(most);
        let outcome = rule.program.evaluate(names, &mut budget);
        self.left -= most - budget.left();
        let shown = format!("{:?}", schema.of.name());
        let field = if path.is_empty() { "<nil>" } else { path };
        let text = &rule.text;
        match outcome {
            Ok(CelValue::Bool(true)) => {}
            Ok(CelValue::Bool(false)) => {
                let message = self.message(rule, names);
                self.causes.push(refusal(rule, path, &shown, &message));
            }
            Ok(_) => {
                let why = format!("rule did not evaluate to a bool: {text}");
                self.causes.push(Cause::invalid_shown(field, &shown, &why));
            }
            Err(EvalError::Budget) => {
                let why = format!(
                    "'{}': no further validation rules will be run due to call cost exceeds limit for rule: {text}",
                    EvalError::Budget
                );
                self.causes.push(Cause::invalid_shown(field, &shown, &why));
                self.ended = true;
                return true;
            }
            Err(EvalError::Failed(why)) if why.starts_with("no such overload") => {
                let why = format!(
                    "'{why}': call arguments did not match a supported operator, function or macro signature for rule: {text}"
                );
                self.causes.push(Cause::invalid_shown(field, &shown, &why));
            }
            Err(error) => {
                let why = format!("'{error}': evaluating rule: {text}");
                self.causes.push(Cause::invalid_shown(field, &shown, &why));
            }
        }
        false
    }

    /// What the rule says when it does not hold: the message that it makes, its fixed one, or its text.
    fn message(&mut self, rule: &Rule, names: &[(&str, CelValue)]) -> String {
        let mut budget = Budget::new(RULE_COST.min(self.left));
        let made = rule.message_expression.as_ref().and_then(|made| made.evaluate(names, &mut budget).ok());
        if let Some(CelValue::Text(text)) = made {
            let text = text.trim();
            if !text.is_empty() && !text.contains('\n') && text.len() <= LONGEST_MESSAGE {
                return text.to_owned();
            }
        }
        rule.message.clone().unwrap_or_else(|| format!("failed rule: {}", rule.text))
    }
}

fn refusal(rule: &Rule, path: &str, shown: &str, message: &str) -> Cause {
    let at = format!("{path}{}", rule.field_path);
    let at = at.trim_start_matches('.');
    let at = if at.is_empty() { "<nil>" } else { at };
    match rule.reason.as_str() {
        "FieldValueRequired" => Cause::required(at, message),
        "FieldValueForbidden" => Cause::forbidden(at, message),
        "FieldValueDuplicate" => Cause::duplicate(at, &shown.trim_matches('"').into()),
        _ => Cause::invalid_shown(at, shown, message),
    }
}
