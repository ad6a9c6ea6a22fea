//! A set of rules: what it takes, what it puts out, and the rules between, by priority.
//!
//! Rules are tried once each, the highest priority first, equal ones in the order in which they are written. A rule that matches
//! changes outputs, which later rules can ask about; a `final` one ends the round. So every decision ends, after as much work as there
//! are tests.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::{
    condition::{Condition, Tested, World, Written},
    values::{Budget, Exhausted},
};

const RULES: usize = 1_000;
const TESTS: usize = 5_000;
/// Values that one decision may look at.
const WORK: u64 = 1_000_000;
/// Items of a list that rules append to.
const LIST: usize = 1_000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenSet {
    name: String,
    version: String,
    #[serde(default)]
    description: String,
    input: Value,
    #[serde(default)]
    outputs: Map<String, Value>,
    #[serde(default)]
    sources: Vec<Source>,
    rules: Vec<WrittenRule>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenRule {
    id: String,
    #[serde(default)]
    description: String,
    #[serde(default)]
    priority: i64,
    when: Written,
    then: Vec<Action>,
    #[serde(default, rename = "final")]
    ends: bool,
}

/// What a matching rule does to an output.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum Action {
    /// Gives it a value.
    Set { output: String, value: Value },
    /// Adds a number to it.
    Add { output: String, value: i64 },
    /// Appends a value to the list that it is.
    Append { output: String, value: Value },
}

/// Where more facts come from: asked by POST with the facts; the JSON that it answers with becomes the fact `/sources/<name>`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Source {
    /// The fact's name below `/sources`.
    pub name: String,
    /// An http or https address.
    pub url: String,
    /// How long it may take, in milliseconds.
    #[serde(default = "second")]
    pub timeout_ms: u64,
    /// Whether there is no decision without it; else the fact is missing then.
    #[serde(default)]
    pub required: bool,
}

fn second() -> u64 {
    1_000
}

struct Rule {
    summary: RuleSummary,
    when: Condition,
    then: Vec<Action>,
}

/// A rule, as far as its asker has to know it.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct RuleSummary {
    /// Its name.
    pub id: String,
    /// What it is for.
    pub description: String,
    /// Higher ones are tried first.
    pub priority: i64,
    /// Whether no rule is tried after it has matched.
    #[serde(rename = "final")]
    pub ends: bool,
}

/// Rules that can be asked.
pub struct Ruleset {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// What it decides.
    pub description: String,
    /// The JSON Schema of facts.
    pub input: Value,
    /// Where more facts come from.
    pub sources: Vec<Source>,
    outputs: Map<String, Value>,
    rules: Vec<Rule>,
    validator: jsonschema::Validator,
}

/// Everything that is wrong with a set of rules.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.join("; "))]
pub struct Invalid(pub Vec<String>);

/// What the rules made of facts.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Decision {
    /// The set's name and version, as `name@version`.
    pub ruleset: String,
    /// What the rules put out, by name.
    #[schema(value_type = Object)]
    pub outputs: Map<String, Value>,
    /// The rules that matched, in the order in which they were tried, and what they changed.
    pub matched: Vec<Matched>,
    /// How many rules were tried.
    pub tried: usize,
    /// Every rule that was tried and why it matched or did not, if that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub explanation: Option<Vec<Explained>>,
}

/// A rule that matched.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Matched {
    /// The rule's name.
    pub id: String,
    /// What it is for.
    pub description: String,
    /// What it changed.
    pub changes: Vec<Change>,
}

/// An output that a rule changed.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Change {
    /// The output's name.
    pub output: String,
    /// Its value before; null if it had none.
    pub from: Value,
    /// Its value after.
    pub to: Value,
}

/// A rule that was tried.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Explained {
    /// The rule's name.
    pub id: String,
    /// Whether it matched.
    pub matched: bool,
    /// The tests that were made, up to the one that decided.
    pub tests: Vec<Tested>,
}

impl Ruleset {
    /// The set that is in the binary: the risk of a payment.
    ///
    /// # Errors
    /// It is invalid; a test says that it is not.
    pub fn built_in() -> Result<Self, Invalid> {
        Self::read(include_str!("payment-risk.json"))
    }

    /// Reads a set of rules and checks it whole.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn read(json: &str) -> Result<Self, Invalid> {
        let written: WrittenSet = serde_json::from_str(json).map_err(|e| Invalid(vec![e.to_string()]))?;
        let mut wrong = Vec::new();
        if has_reference(&written.input) {
            wrong.push("input: $ref is not taken: the schema is published inside another document".to_owned());
        }
        let validator = jsonschema::options()
            .with_pattern_options(jsonschema::PatternOptions::regex())
            .should_validate_formats(true)
            .build(&written.input)
            .map_err(|e| wrong.push(format!("input: {e}")))
            .ok();
        let rules = rules(written.rules, &written.outputs, &mut wrong);
        for (n, source) in written.sources.iter().enumerate() {
            if !source.url.starts_with("http://") && !source.url.starts_with("https://") {
                wrong.push(format!("sources[{n}].url: is not an http or https address"));
            }
            if source.timeout_ms == 0 || source.timeout_ms > 60_000 {
                wrong.push(format!("sources[{n}].timeout_ms: is not from 1 to 60000"));
            }
        }
        match validator {
            Some(validator) if wrong.is_empty() => Ok(Self {
                name: written.name,
                version: written.version,
                description: written.description,
                input: written.input,
                sources: written.sources,
                outputs: written.outputs,
                rules,
                validator,
            }),
            _ => Err(Invalid(wrong)),
        }
    }

    /// The rules, in the order in which they are tried.
    pub fn rules(&self) -> impl Iterator<Item = &RuleSummary> {
        self.rules.iter().map(|rule| &rule.summary)
    }

    /// What outputs are before any rule.
    pub fn outputs(&self) -> &Map<String, Value> {
        &self.outputs
    }

    /// Everything, up to `most`, that facts break of the schema: a JSON pointer and what is wrong there.
    pub fn check(&self, facts: &Value, most: usize) -> Vec<(String, String)> {
        let errors = self.validator.iter_errors(facts).take(most);
        errors.map(|error| (error.instance_path().to_string(), error.to_string().chars().take(200).collect())).collect()
    }

    /// Decides. The facts must have passed [`Ruleset::check`]; facts from sources lie below `/sources`.
    ///
    /// # Errors
    /// The rules would take too much work on these facts.
    pub fn decide(&self, facts: &Value, explain: bool) -> Result<Decision, Exhausted> {
        let mut budget = Budget::new(WORK);
        let mut decision = Decision {
            ruleset: format!("{}@{}", self.name, self.version),
            outputs: self.outputs.clone(),
            matched: Vec::new(),
            tried: 0,
            explanation: explain.then(Vec::new),
        };
        for rule in &self.rules {
            decision.tried += 1;
            let mut tests = Vec::new();
            let world = World { facts, outputs: &decision.outputs };
            let matched = rule.when.holds(world, &mut budget, &mut tests)?;
            if let Some(explanation) = &mut decision.explanation {
                explanation.push(Explained { id: rule.summary.id.clone(), matched, tests });
            }
            if !matched {
                continue;
            }
            let changes = rule.then.iter().map(|action| action.apply(&mut decision.outputs)).collect();
            let (id, description) = (rule.summary.id.clone(), rule.summary.description.clone());
            decision.matched.push(Matched { id, description, changes });
            if rule.summary.ends {
                break;
            }
        }
        Ok(decision)
    }
}

impl Action {
    fn output(&self) -> &str {
        match self {
            Self::Set { output, .. } | Self::Add { output, .. } | Self::Append { output, .. } => output,
        }
    }

    fn apply(&self, outputs: &mut Map<String, Value>) -> Change {
        let from = outputs.get(self.output()).cloned().unwrap_or_default();
        let to = match self {
            Self::Set { value, .. } => value.clone(),
            // A sum stops at the ends of 64 bits.
            Self::Add { value, .. } => from.as_i64().unwrap_or_default().saturating_add(*value).into(),
            Self::Append { value, .. } => {
                let mut list = from.as_array().cloned().unwrap_or_default();
                if list.len() < LIST {
                    list.push(value.clone());
                }
                list.into()
            }
        };
        outputs.insert(self.output().to_owned(), to.clone());
        Change { output: self.output().to_owned(), from, to }
    }

    /// What is wrong with the action, given what outputs are before any rule.
    fn wrong(&self, outputs: &Map<String, Value>) -> Option<String> {
        let output = self.output();
        let fits = match (self, outputs.get(output)) {
            (_, None) => return Some(format!("{output:?} is not among the outputs")),
            (Self::Set { value, .. }, Some(was)) => {
                was.is_null() || std::mem::discriminant(was) == std::mem::discriminant(value)
            }
            (Self::Add { .. }, Some(was)) => was.is_i64() || was.is_u64(),
            (Self::Append { .. }, Some(was)) => was.is_array(),
        };
        (!fits).then(|| format!("{output:?} begins with a value of another type"))
    }
}

fn rules(written: Vec<WrittenRule>, outputs: &Map<String, Value>, wrong: &mut Vec<String>) -> Vec<Rule> {
    if written.len() > RULES {
        wrong.push(format!("rules: {} of them, at most {RULES} are taken", written.len()));
    }
    let mut ids = BTreeSet::new();
    let mut rules = Vec::new();
    for (n, rule) in written.into_iter().enumerate() {
        if rule.id.is_empty() || !ids.insert(rule.id.clone()) {
            wrong.push(format!("rules[{n}].id: {:?} is empty or another rule's", rule.id));
        }
        let when = rule.when.compile(&format!("rules[{n}].when"), 0, wrong);
        for (m, action) in rule.then.iter().enumerate() {
            wrong.extend(action.wrong(outputs).map(|why| format!("rules[{n}].then[{m}]: {why}")));
        }
        let summary =
            RuleSummary { id: rule.id, description: rule.description, priority: rule.priority, ends: rule.ends };
        rules.push(Rule { summary, when, then: rule.then });
    }
    let tests: usize = rules.iter().map(|rule| rule.when.tests()).sum();
    if tests > TESTS {
        wrong.push(format!("rules: {tests} tests in all, at most {TESTS} are taken"));
    }
    rules.sort_by_key(|rule| std::cmp::Reverse(rule.summary.priority));
    rules
}

fn has_reference(schema: &Value) -> bool {
    match schema {
        Value::Object(map) => {
            map.iter().any(|(key, value)| key == "$ref" || key == "$dynamicRef" || has_reference(value))
        }
        Value::Array(list) => list.iter().any(has_reference),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn facts() -> Value {
        json!({
            "amount_cents": 4_200, "currency": "EUR", "country": "DE", "card_country": "DE",
            "account_age_days": 400, "payments_last_hour": 1,
        })
    }

    fn with(name: &str, value: Value) -> Value {
        let mut facts = facts();
        facts[name] = value;
        facts
    }

    #[test]
    fn an_ordinary_payment_is_approved_and_a_strange_one_is_not() {
        let rules = Ruleset::built_in().unwrap();
        assert_eq!(rules.check(&facts(), 9), []);
        assert_eq!(rules.decide(&facts(), false).unwrap().outputs["decision"], "approve");
        let mut strange = with("amount_cents", json!(600_000));
        strange["card_country"] = json!("BR");
        let decision = rules.decide(&strange, true).unwrap();
        assert_eq!(decision.outputs["decision"], "review", "{decision:#?}");
        strange["account_age_days"] = json!(0);
        strange["payments_last_hour"] = json!(30);
        let decision = rules.decide(&strange, true).unwrap();
        assert_eq!(decision.outputs["decision"], "decline", "{decision:#?}");
        assert!(decision.matched.len() > 3 && decision.explanation.unwrap().iter().any(|rule| !rule.matched));
    }

    #[test]
    fn facts_that_break_the_schema_are_named_with_their_place() {
        let rules = Ruleset::built_in().unwrap();
        assert_eq!(rules.check(&with("currency", json!("euro")), 9)[0].0, "/currency");
        assert!(!rules.check(&with("sources", json!({})), 9).is_empty(), "only the service adds facts of sources");
    }

    #[test]
    fn the_highest_priority_is_tried_first_and_a_final_rule_last() {
        let rules = Ruleset::read(
            r#"{"name": "t", "version": "1", "input": {"type": "object"}, "outputs": {"n": 0, "l": []}, "rules": [
                {"id": "low", "priority": 1, "when": {"all": []}, "then": [{"append": {"output": "l", "value": "low"}}]},
                {"id": "end", "priority": 2, "when": {"output": "n", "op": "gte", "value": 5}, "then": [], "final": true},
                {"id": "high", "priority": 3, "when": {"all": []}, "then": [{"add": {"output": "n", "value": 5}}]}
            ]}"#,
        )
        .unwrap();
        let decision = rules.decide(&json!({}), false).unwrap();
        assert_eq!((decision.tried, &decision.outputs["n"], &decision.outputs["l"]), (2, &json!(5), &json!([])));
        assert_eq!(decision.matched[0].changes, [Change { output: "n".to_owned(), from: json!(0), to: json!(5) }]);
    }

    #[test]
    fn everything_wrong_with_rules_is_told_at_once() {
        let told = Ruleset::read(
            r##"{"name": "t", "version": "1", "input": {"type": "objekt", "x": {"$ref": "#"}}, "outputs": {"n": "text"}, "sources":
                [{"name": "s", "url": "ftp://x", "timeout_ms": 0}], "rules": [
                {"id": "a", "when": {"fact": "/x"}, "then": [{"add": {"output": "n", "value": 1}}]},
                {"id": "a", "when": {"all": []}, "then": [{"set": {"output": "m", "value": 1}}]}
            ]}"##,
        )
        .err()
        .unwrap();
        assert_eq!(told.0.len(), 8, "{told:#?}");
        assert!(Ruleset::read("{").is_err());
    }
}
