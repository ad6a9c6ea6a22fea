//! Conditions of rules: read from data, checked as a whole, evaluated with an account of why.

use regex::Regex;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::values::{Budget, Exhausted, compare};

/// How deep conditions may lie in one another.
const DEPTH: usize = 16;
/// Bytes that a compiled pattern may take.
const PATTERN_BYTES: usize = 1 << 20;
/// Characters of a text in an explanation.
const SHOWN: usize = 120;

/// What to ask of a value. Numbers are compared as numbers whatever they are written like, texts by code point; values of different
/// types are never equal, less or more. A fact that is not there fails every test but `missing`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Op {
    /// Is the same.
    Eq,
    /// Is there, and is not the same.
    Ne,
    /// Is less.
    Lt,
    /// Is less or the same.
    Lte,
    /// Is more.
    Gt,
    /// Is more or the same.
    Gte,
    /// Is one of a list.
    In,
    /// Is there, and is none of a list.
    NotIn,
    /// A list or text has this in it.
    Contains,
    /// A text begins with this.
    StartsWith,
    /// A text ends with this.
    EndsWith,
    /// A text matches this regular expression somewhere.
    Matches,
    /// Is there.
    Exists,
    /// Is not there.
    Missing,
}

/// A condition as it is written: exactly one of `all`, `any`, `not`, `fact` and `output`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Written {
    all: Option<Vec<Written>>,
    any: Option<Vec<Written>>,
    not: Option<Box<Written>>,
    fact: Option<String>,
    output: Option<String>,
    op: Option<Op>,
    #[serde(default, deserialize_with = "there")]
    value: Option<Value>,
    other: Option<String>,
}

/// Tells `null` from nothing.
fn there<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(deserializer).map(Some)
}

/// A condition that can be evaluated.
#[derive(Debug)]
pub enum Condition {
    /// All hold; true without any.
    All(Vec<Condition>),
    /// At least one holds; false without any.
    Any(Vec<Condition>),
    /// It does not hold.
    Not(Box<Condition>),
    /// A value is asked.
    Test(Box<Test>),
}

/// Asks one value.
#[derive(Debug)]
pub struct Test {
    subject: Subject,
    op: Op,
    operand: Operand,
}

#[derive(Debug)]
enum Subject {
    /// A JSON pointer (RFC 6901) into the facts.
    Fact(String),
    /// What rules before this one have put out.
    Output(String),
}

#[derive(Debug)]
enum Operand {
    None,
    Value(Value),
    Fact(String),
    Pattern(Box<Regex>),
}

/// What a test found.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Tested {
    /// The fact's JSON pointer, or `output:` and a name.
    pub subject: String,
    /// What was asked.
    pub op: Op,
    /// What it was compared with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expected: Option<Value>,
    /// What was there; long texts are shortened, lists and objects only named.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub actual: Option<Value>,
    /// Whether it holds.
    pub holds: bool,
}

/// What conditions are asked about.
#[derive(Clone, Copy, Debug)]
pub struct World<'a> {
    /// The facts of the request.
    pub facts: &'a Value,
    /// What the rules have put out so far.
    pub outputs: &'a Map<String, Value>,
}

impl Written {
    /// Checks the condition that stands at `at`; everything wrong with it is added to `wrong`, and what remains is returned.
    pub fn compile(self, at: &str, depth: usize, wrong: &mut Vec<String>) -> Condition {
        let never = Condition::Any(Vec::new());
        let kinds =
            [self.all.is_some(), self.any.is_some(), self.not.is_some(), self.fact.is_some(), self.output.is_some()];
        if kinds.iter().filter(|kind| **kind).count() != 1 {
            wrong.push(format!("{at}: must have exactly one of all, any, not, fact and output"));
            return never;
        }
        if depth >= DEPTH {
            wrong.push(format!("{at}: conditions lie more than {DEPTH} deep"));
            return never;
        }
        let tests = self.op.is_some() || self.value.is_some() || self.other.is_some();
        if tests && self.fact.is_none() && self.output.is_none() {
            wrong.push(format!("{at}: op, value and other belong to fact or output"));
        }
        let mut list = |name: &str, list: Vec<Self>| {
            let inner = list.into_iter().enumerate();
            inner.map(|(n, c)| c.compile(&format!("{at}.{name}[{n}]"), depth + 1, wrong)).collect()
        };
        match self {
            Self { all: Some(all), .. } => Condition::All(list("all", all)),
            Self { any: Some(any), .. } => Condition::Any(list("any", any)),
            Self { not: Some(not), .. } => {
                Condition::Not(Box::new(not.compile(&format!("{at}.not"), depth + 1, wrong)))
            }
            test => test.compile_test(at, wrong).map_or(never, |test| Condition::Test(Box::new(test))),
        }
    }

    fn compile_test(self, at: &str, wrong: &mut Vec<String>) -> Option<Test> {
        let mut pointer = |name: &str, text: &str| {
            if !text.is_empty() && !text.starts_with('/') {
                wrong.push(format!("{at}.{name}: {text:?} is not a JSON pointer, which begins with /"));
            }
        };
        let subject = match (self.fact, self.output) {
            (Some(fact), _) => {
                pointer("fact", &fact);
                Subject::Fact(fact)
            }
            (None, output) => Subject::Output(output?),
        };
        if let Some(other) = &self.other {
            pointer("other", other);
        }
        let Some(op) = self.op else {
            wrong.push(format!("{at}: has no op"));
            return None;
        };
        let operand = match (op, self.value, self.other) {
            (Op::Exists | Op::Missing, None, None) => Ok(Operand::None),
            (Op::Exists | Op::Missing, ..) => Err("takes neither value nor other".to_owned()),
            (_, Some(_), Some(_)) | (_, None, None) => Err("needs value or other, one of them".to_owned()),
            (Op::Matches, Some(Value::String(pattern)), None) => {
                let compiled = regex::RegexBuilder::new(&pattern).size_limit(PATTERN_BYTES).build();
                compiled
                    .map(|pattern| Operand::Pattern(Box::new(pattern)))
                    .map_err(|e| format!("cannot be compiled: {e}"))
            }
            (Op::Matches, ..) => Err("needs a regular expression as its value".to_owned()),
            (Op::In | Op::NotIn, Some(value), None) if !value.is_array() => Err("needs a list as its value".to_owned()),
            (_, Some(value), None) => Ok(Operand::Value(value)),
            (_, None, Some(other)) => Ok(Operand::Fact(other)),
        };
        match operand {
            Ok(operand) => Some(Test { subject, op, operand }),
            Err(why) => {
                wrong.push(format!("{at}: {why}"));
                None
            }
        }
    }
}

impl Condition {
    /// How many tests it has.
    pub fn tests(&self) -> usize {
        match self {
            Self::All(list) | Self::Any(list) => list.iter().map(Self::tests).sum(),
            Self::Not(inner) => inner.tests(),
            Self::Test(_) => 1,
        }
    }

    /// Whether it holds. Stops at the first test that decides; the tests that were made are added to `tested`.
    ///
    /// # Errors
    /// The budget is used up.
    pub fn holds(&self, world: World<'_>, budget: &mut Budget, tested: &mut Vec<Tested>) -> Result<bool, Exhausted> {
        match self {
            Self::All(list) => {
                for condition in list {
                    if !condition.holds(world, budget, tested)? {
                        return Ok(false);
                    }
                }
                Ok(true)
            }
            Self::Any(list) => {
                for condition in list {
                    if condition.holds(world, budget, tested)? {
                        return Ok(true);
                    }
                }
                Ok(false)
            }
            Self::Not(inner) => Ok(!inner.holds(world, budget, tested)?),
            Self::Test(test) => {
                let outcome = test.ask(world, budget)?;
                let holds = outcome.holds;
                tested.push(outcome);
                Ok(holds)
            }
        }
    }
}

impl Test {
    fn ask(&self, world: World<'_>, budget: &mut Budget) -> Result<Tested, Exhausted> {
        budget.take(1)?;
        let actual = match &self.subject {
            Subject::Fact(pointer) => world.facts.pointer(pointer),
            Subject::Output(name) => world.outputs.get(name),
        };
        let expected = match &self.operand {
            Operand::Value(value) => Some(value),
            Operand::Fact(pointer) => world.facts.pointer(pointer),
            Operand::None | Operand::Pattern(_) => None,
        };
        let holds = match (&self.operand, actual) {
            (_, None) => self.op == Op::Missing,
            (Operand::None, Some(_)) => self.op == Op::Exists,
            (Operand::Pattern(pattern), Some(actual)) => {
                let text = actual.as_str();
                budget.take(text.map_or(0, str::len) / 64)?;
                text.is_some_and(|text| pattern.is_match(text))
            }
            (_, Some(actual)) => match expected {
                Some(expected) => compare(self.op, actual, expected, budget)?,
                None => false,
            },
        };
        Ok(Tested {
            subject: match &self.subject {
                Subject::Fact(pointer) => pointer.clone(),
                Subject::Output(name) => format!("output:{name}"),
            },
            op: self.op,
            expected: match &self.operand {
                Operand::Pattern(pattern) => Some(shown(&Value::from(pattern.as_str()))),
                Operand::Value(list @ Value::Array(_)) if list.to_string().len() <= SHOWN => Some(list.clone()),
                _ => expected.map(shown),
            },
            actual: actual.map(shown),
            holds,
        })
    }
}

fn shown(value: &Value) -> Value {
    match value {
        Value::String(text) if text.chars().count() > SHOWN => {
            let mut text: String = text.chars().take(SHOWN).collect();
            text.push('…');
            text.into()
        }
        Value::Array(list) => format!("[a list of {}]", list.len()).into(),
        Value::Object(_) => "{an object}".into(),
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn ask(condition: Value, facts: Value) -> (bool, Vec<Tested>) {
        let mut wrong = Vec::new();
        let condition = serde_json::from_value::<Written>(condition).unwrap().compile("when", 0, &mut wrong);
        assert!(wrong.is_empty(), "{wrong:?}");
        let mut tested = Vec::new();
        let outputs = Map::from_iter([("score".to_owned(), json!(40))]);
        let world = World { facts: &facts, outputs: &outputs };
        (condition.holds(world, &mut Budget::new(1000), &mut tested).unwrap(), tested)
    }

    #[test]
    fn every_question_has_its_answer() {
        let facts =
            json!({"n": 10, "big": 9_007_199_254_740_993_i64, "s": "hello", "l": [1, "two", {"a": 1}], "nil": null});
        for (op, fact, value, holds) in [
            ("eq", "/n", json!(10.0), true),
            ("eq", "/nil", json!(null), true),
            ("ne", "/n", json!("10"), true),
            ("ne", "/none", json!(1), false),
            ("lt", "/n", json!(10.5), true),
            ("lte", "/n", json!(10), true),
            ("gt", "/big", json!(9_007_199_254_740_992_i64), true),
            ("gte", "/s", json!("hellp"), false),
            ("gt", "/s", json!(1), false),
            ("in", "/s", json!(["x", "hello"]), true),
            ("not_in", "/s", json!(["x"]), true),
            ("not_in", "/none", json!(["x"]), false),
            ("contains", "/l", json!({"a": 1.0}), true),
            ("contains", "/s", json!("ell"), true),
            ("starts_with", "/s", json!("he"), true),
            ("ends_with", "/s", json!("he"), false),
            ("matches", "/s", json!("^h.l+o$"), true),
            ("eq", "/l/1", json!("two"), true),
        ] {
            assert_eq!(
                ask(json!({"fact": fact, "op": op, "value": value}), facts.clone()).0,
                holds,
                "{fact} {op} {value}"
            );
        }
        assert!(ask(json!({"fact": "/nil", "op": "exists"}), facts.clone()).0);
        assert!(ask(json!({"fact": "/none", "op": "missing"}), facts.clone()).0);
        assert!(ask(json!({"output": "score", "op": "gt", "value": 30}), facts.clone()).0);
        assert!(ask(json!({"fact": "/n", "op": "lt", "other": "/big"}), facts.clone()).0);
        assert!(!ask(json!({"fact": "/n", "op": "lt", "other": "/none"}), facts).0);
    }

    #[test]
    fn only_what_decided_is_explained() {
        let condition = json!({"any": [
            {"all": [{"fact": "/a", "op": "eq", "value": 1}, {"fact": "/b", "op": "eq", "value": 2}]},
            {"not": {"fact": "/a", "op": "exists"}},
        ]});
        let (holds, tested) = ask(condition, json!({"a": 3}));
        assert!(!holds);
        let asked: Vec<_> = tested.iter().map(|t| (t.subject.as_str(), t.op, t.holds)).collect();
        assert_eq!(asked, [("/a", Op::Eq, false), ("/a", Op::Exists, true)]);
        assert_eq!((&tested[0].actual, &tested[0].expected), (&Some(json!(3)), &Some(json!(1))));
    }

    #[test]
    fn everything_wrong_is_told_with_its_place() {
        let condition = json!({"all": [
            {"fact": "a", "op": "eq", "value": 1},
            {"fact": "/a", "op": "in", "value": 1},
            {"fact": "/a", "op": "matches", "value": "("},
            {"fact": "/a"},
            {"fact": "/a", "output": "b", "op": "exists"},
            {"not": {"any": [], "op": "eq"}},
        ]});
        let mut wrong = Vec::new();
        serde_json::from_value::<Written>(condition).unwrap().compile("rules[0].when", 0, &mut wrong);
        assert_eq!(wrong.len(), 6, "{wrong:#?}");
        assert!(wrong[1].starts_with("rules[0].when.all[1]: "), "{wrong:#?}");
    }

    #[test]
    fn an_evaluation_stops_when_its_budget_is_used_up() {
        let written: Written = serde_json::from_value(json!({"fact": "/l", "op": "contains", "value": -1})).unwrap();
        let condition = written.compile("", 0, &mut Vec::new());
        let facts = json!({"l": (0..100).collect::<Vec<_>>()});
        let outputs = Map::new();
        let world = World { facts: &facts, outputs: &outputs };
        assert_eq!(condition.holds(world, &mut Budget::new(50), &mut Vec::new()), Err(Exhausted));
        assert_eq!(condition.holds(world, &mut Budget::new(200), &mut Vec::new()), Ok(false));
    }
}
