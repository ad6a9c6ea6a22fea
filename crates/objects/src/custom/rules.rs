//! `x-kubernetes-validations`: what a rule of a schema is, compiled.

use std::sync::Arc;

use cel::{Program, Sizes, Type as CelType};
use serde_json::Value;

use super::{
    declared::Declared,
    field_path,
    structural::{Additional, Structural},
};

/// Reasons that a rule can give for a refusal.
pub const REASONS: &[&str] = &["FieldValueDuplicate", "FieldValueForbidden", "FieldValueInvalid", "FieldValueRequired"];

/// A rule of a schema.
#[derive(Debug)]
pub struct Rule {
    pub(super) text: String,
    pub(super) message: Option<String>,
    pub(super) message_expression: Option<Program>,
    pub(super) reason: String,
    /// Where in the value the cause is, such as `spec.a`.
    pub(super) field_path: String,
    /// It is checked for new objects too, where `oldSelf` is nothing.
    pub(super) optional_old: bool,
    /// Whether it is about a change.
    pub(super) transition: bool,
    /// What is evaluated; or why nothing can be. No accepted definition has such a rule, but one that was stored by another version
    /// can have it: then nothing that the rule is about is accepted, as upstream has it.
    pub(super) program: Result<Program, String>,
}

/// What compiling a rule of a definition tells.
#[derive(Debug, Default)]
pub struct Verdict {
    /// What is wrong with `rule`.
    pub wrong: Option<String>,
    /// What is wrong with `messageExpression`.
    pub wrong_message: Option<String>,
    /// What the rule costs at most, once.
    pub cost: u64,
    /// What making its message costs at most; nothing if it makes none.
    pub message_cost: Option<u64>,
    /// Whether it is about a change.
    pub transition: bool,
    /// About how many bytes the patterns take that it keeps compiled.
    pub patterns: usize,
}

/// A part of a definition's schema, with what rules know of it.
#[derive(Clone, Debug)]
pub struct Known(Option<Arc<Declared>>);

impl Known {
    /// What rules know of a schema; nothing of one that has no type. A `whole` object has a name and a kind.
    pub fn new(schema: &Structural, whole: bool) -> Self {
        Self(Declared::new(schema, whole).map(Arc::new))
    }

    /// Whether rules can be about it at all.
    pub fn is_known(&self) -> bool {
        self.0.is_some()
    }

    /// What is known of a field.
    pub fn field(&self, name: &str) -> Self {
        Self(self.0.as_ref().and_then(|declared| declared.field(name)).cloned())
    }

    /// What is known of the elements of a list, or the values of a map.
    pub fn elements(&self) -> Self {
        Self(self.0.as_ref().and_then(|declared| declared.elements()).cloned())
    }

    /// How often a value can be in one request at most, where nothing else limits it.
    pub fn cardinality(&self) -> u64 {
        self.0.as_ref().map_or(1, |declared| declared.cardinality())
    }

    /// What compiling a rule of this schema tells.
    pub fn compile(&self, rule: &Value) -> Verdict {
        let Some(declared) = &self.0 else {
            return Verdict::default();
        };
        let names = names(rule, &declared.of);
        // What comes from neither name counts as what the rule is about, as upstream has it.
        let known = [("self", declared.bounds.as_ref()), ("oldSelf", declared.bounds.as_ref())];
        let sizes = Sizes { variables: &known, elsewhere: Some(&declared.bounds) };
        let cost = |program: &Program| program.cost(&names, sizes);
        match compile(rule, &names) {
            Err(why) => Verdict { wrong: Some(why), ..Verdict::default() },
            Ok((program, message)) => Verdict {
                wrong: None,
                cost: cost(&program),
                message_cost: message.as_ref().and_then(|message| message.as_ref().ok()).map(cost),
                patterns: program.patterns()
                    + message.as_ref().and_then(|made| made.as_ref().ok()).map_or(0, Program::patterns),
                wrong_message: message.and_then(Result::err),
                transition: program.mentions("oldSelf"),
            },
        }
    }
}

/// The names of a rule about values of a type.
fn names(rule: &Value, of: &CelType) -> [(&'static str, CelType); 2] {
    let optional = rule.get("optionalOldSelf").and_then(Value::as_bool).unwrap_or(false);
    let old = if optional { CelType::Optional(Arc::new(of.clone())) } else { of.clone() };
    [("self", of.clone()), ("oldSelf", old)]
}

fn text<'a>(rule: &'a Value, field: &str) -> Option<&'a str> {
    rule.get(field).and_then(Value::as_str).filter(|text| !text.trim().is_empty())
}

/// A rule's program, and that of its message, if it has one.
type Programs = (Program, Option<Result<Program, String>>);

fn compile(rule: &Value, names: &[(&str, CelType)]) -> Result<Programs, String> {
    let source = text(rule, "rule").ok_or_else(|| "rule is not specified".to_owned())?;
    let program = Program::compile(source, names).map_err(|error| match &error.unready {
        Some(why) => format!("program instantiation failed: {why}"),
        None => format!("compilation failed: {error}"),
    })?;
    if *program.result() != CelType::Bool {
        return Err("cel expression must evaluate to a bool".to_owned());
    }
    let message = text(rule, "messageExpression").map(|source| {
        let made = Program::compile(source, names);
        let made = made.map_err(|error| format!("messageExpression compilation failed: {error}"))?;
        if *made.result() == CelType::Text {
            Ok(made)
        } else {
            Err("messageExpression must evaluate to a string".to_owned())
        }
    });
    Ok((program, message))
}

/// Compiles the rules of a schema and of those below it. One that does not compile refuses what it is about.
pub(super) fn read(into: &mut Structural, schema: &Value, whole: bool) {
    if into.has_rules() {
        let declared = Declared::new(into, whole);
        read_below(into, schema, declared.as_ref(), whole);
    }
}

fn read_below(into: &mut Structural, schema: &Value, declared: Option<&Declared>, whole: bool) {
    if !into.has_rules() {
        return;
    }
    if let Some(rules) = listed(schema) {
        // What is below a list of unknown things can be known all the same.
        let own = if declared.is_none() { Declared::new(into, whole) } else { None };
        let of = declared.or(own.as_ref()).map(|declared| &declared.of);
        into.rules = rules.iter().filter_map(|rule| Rule::new(rule, of, schema)).collect();
    }
    let elements = declared.and_then(|declared| declared.elements()).map(AsRef::as_ref);
    for (name, below) in &mut into.properties {
        if let Some(schema) = schema.get("properties").and_then(|all| all.get(name)) {
            read_below(below, schema, declared.and_then(|declared| declared.field(name)).map(AsRef::as_ref), false);
        }
    }
    if let (Additional::Of(below), Some(schema)) = (&mut into.additional, schema.get("additionalProperties")) {
        read_below(below, schema, elements, false);
    }
    if let (Some(below), Some(schema)) = (&mut into.items, schema.get("items")) {
        read_below(below, schema, elements, false);
    }
}

/// The rules of a schema, if it has any.
pub(super) fn listed(schema: &Value) -> Option<&Vec<Value>> {
    schema.get("x-kubernetes-validations").and_then(Value::as_array).filter(|rules| !rules.is_empty())
}

impl Rule {
    /// A rule about values of a type; `None` for one that says nothing.
    fn new(rule: &Value, of: Option<&CelType>, schema: &Value) -> Option<Self> {
        text(rule, "rule")?;
        let (program, message_expression) = match of.map(|of| compile(rule, &names(rule, of))) {
            Some(Ok((program, message))) => (Ok(program), message),
            Some(Err(why)) => (Err(format!("rule compile error: {why}")), None),
            None => (Err("rule compiler initialization error: the schema has no type".to_owned()), None),
        };
        let found = text(rule, "fieldPath").and_then(|path| field_path::find(path, schema, true).ok());
        Some(Self {
            text: text(rule, "rule").unwrap_or_default().trim().to_owned(),
            message: text(rule, "message").map(|message| message.trim().to_owned()),
            message_expression: message_expression.and_then(Result::ok),
            reason: text(rule, "reason").unwrap_or("FieldValueInvalid").to_owned(),
            field_path: found.map(|found| found.path).unwrap_or_default(),
            optional_old: rule.get("optionalOldSelf").and_then(Value::as_bool).unwrap_or(false),
            transition: program.as_ref().is_ok_and(|program| program.mentions("oldSelf")),
            program,
        })
    }

    /// Whether it can be evaluated; else it refuses whatever it is about.
    pub fn is_compiled(&self) -> bool {
        self.program.is_ok()
    }

    /// About how many bytes the patterns take that it keeps compiled.
    pub(super) fn patterns(&self) -> usize {
        self.program.as_ref().map_or(0, Program::patterns)
            + self.message_expression.as_ref().map_or(0, Program::patterns)
    }

    /// The rule as messages about it name it.
    pub(super) fn named(&self) -> &str {
        self.message.as_deref().unwrap_or(&self.text)
    }
}
