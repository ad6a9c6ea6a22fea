//! What expressions are: cel-spec's simple tests by section, cel-go's extensions, and Kubernetes' libraries.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed step of a test is its failure")]

use std::{collections::BTreeMap, sync::Arc};

use cel::{Budget, EvalError, ObjectType, Program, Type, Value};
use proptest::prelude::*;

const COST: u64 = 1_000_000;

fn of_self() -> Type {
    let list = |of: Type| Type::List(Arc::new(of));
    let object = |name: &str, fields: &[(&str, Type)]| {
        let fields = fields.iter().map(|(name, of)| ((*name).to_owned(), of.clone())).collect();
        Type::Object(Arc::new(ObjectType { name: name.to_owned(), fields }))
    };
    object(
        "object",
        &[
            ("i", Type::Int),
            ("u", Type::Uint),
            ("d", Type::Double),
            ("s", Type::Text),
            ("l", list(Type::Int)),
            ("m", Type::Map(Arc::new(Type::Text), Arc::new(Type::Int))),
            ("o", object("object.o", &[("x", Type::Text)])),
            ("set", list(Type::Text)),
            ("keyed", list(object("object.keyed", &[("k", Type::Text), ("v", Type::Int)]))),
        ],
    )
}

fn entry(key: &str, value: i64) -> Value {
    Value::object([("k".into(), key.into()), ("v".into(), Value::Int(value))])
}

fn own() -> Value {
    let fields: BTreeMap<&str, Value> = [
        ("i", Value::Int(3)),
        ("u", Value::Uint(4)),
        ("d", Value::Double(1.5)),
        ("s", "text".into()),
        ("l", vec![Value::Int(1), Value::Int(2), Value::Int(3)].into()),
        ("m", Value::object([("a".into(), Value::Int(1))])),
        ("o", Value::object([("x".into(), "y".into())])),
        ("set", Value::Set(Arc::new(vec!["a".into(), "b".into()]))),
        ("keyed", Value::Keyed(Arc::new(vec![entry("a", 1), entry("b", 2)]), [Arc::from("k")].into())),
    ]
    .into();
    Value::object(fields.into_iter().map(|(name, value)| (name.into(), value)))
}

/// What an expression does, in the words of the cases.
fn outcome(text: &str, budget: u64) -> (&'static str, String) {
    let program = match Program::compile(text, &[("self", of_self())]) {
        Ok(program) => program,
        Err(error) => return ("??", error.to_string()),
    };
    match program.evaluate(&[("self", own())], &mut Budget::new(budget)) {
        Ok(Value::Bool(true)) => ("->", String::new()),
        Ok(other) => ("=", format!("{other:?}")),
        Err(error) => ("!!", error.to_string()),
    }
}

#[test]
fn expressions_are_what_the_cases_say() {
    let mut wrong = Vec::new();
    for line in include_str!("cases.txt").lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let found = [" ->", " !! ", " ?? "]
            .into_iter()
            .find_map(|sign| line.rsplit_once(sign).map(|(text, says)| (text, sign.trim(), says)));
        let Some((text, sign, says)) = found else { panic!("{line}") };
        let (did, said) = outcome(text, COST);
        if did != sign || !said.contains(says) {
            wrong.push(format!("{text}\n    wanted {sign} {says}, was {did} {said}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn libraries_do_what_upstream_says_they_do() {
    let rows: Vec<(String, String, String)> = serde_json::from_str(include_str!("libraries.json")).unwrap();
    let mut wrong = Vec::new();
    for (text, sign, says) in &rows {
        let (did, said) = outcome(text, COST);
        if did != sign || !said.contains(says) {
            wrong.push(format!("{text}\n    wanted {sign} {says}, was {did} {said}"));
        }
    }
    assert!(wrong.is_empty(), "{} of {}\n{}", wrong.len(), rows.len(), wrong.join("\n"));
}

#[test]
fn an_issue_is_shown_where_it_is() {
    let error = Program::compile("1 == 1 &&\n  foo", &[]).unwrap_err();
    let wanted = "ERROR: <input>:2:3: undeclared reference to 'foo' (in container '')\n |   foo\n | ..^";
    assert_eq!(error.to_string(), wanted);
}

#[test]
fn what_costs_too_much_is_stopped() {
    let nested = "self.l.all(a, self.l.all(b, self.l.all(c, self.l.all(d, self.l.all(e, self.l.all(f, true))))))";
    assert_eq!(outcome(nested, 100), ("!!", EvalError::Budget.to_string()));
    // Doubling a text forty times would make a terabyte.
    let doubled = (0..40).fold("'0123456789'".to_owned(), |text, _| format!("cel.bind(x, {text}, x + x)"));
    assert_eq!(outcome(&format!("{doubled} != ''"), COST), ("!!", EvalError::Budget.to_string()));
    // So would looking at a list whose parts are shared.
    let shared = (0..40).fold("[1]".to_owned(), |list, _| format!("cel.bind(x, {list}, [x, x])"));
    assert_eq!(outcome(&format!("cel.bind(y, {shared}, y == y)"), COST), ("!!", EvalError::Budget.to_string()));
    assert_eq!(outcome(&format!("'%s'.format([{shared}]) == ''"), COST), ("!!", EvalError::Budget.to_string()));
    let replaced = "'aaaaaaaaaa'.replace('', 'bbbbbbbbbb')";
    let replaced = (0..12).fold(replaced.to_owned(), |text, _| format!("{text}.replace('', 'bbbbbbbbbbbbbbbbbbbb')"));
    assert_eq!(outcome(&format!("{replaced} == ''"), COST), ("!!", EvalError::Budget.to_string()));
}

#[test]
fn what_looks_at_much_pays_for_it() {
    let text = "x".repeat(1 << 20);
    let cost = |expression: &str| {
        let program = Program::compile(expression, &[("self", Type::Text), ("raw", Type::Bytes)]).unwrap();
        let mut budget = Budget::new(COST);
        let raw = Value::Bytes(text.as_bytes().into());
        program.evaluate(&[("self", text.as_str().into()), ("raw", raw)], &mut budget).unwrap();
        COST - budget.left()
    };
    assert!(cost("self.startsWith('x')") < 10);
    assert!(cost("size(self) > 0") > 1000);
    assert!(cost("raw == raw") > 100_000);
    assert!(cost("raw < raw") > 100_000);
    assert!(cost("self in {'a': 1}") > 1000);
    // A pattern that is written out is compiled once; another one each time.
    assert!(cost("'a'.matches('^a$')") < 10);
    assert!(cost("'a'.matches('^a' + '$')") > 500);
    assert_eq!(outcome(&format!("'{}'.split('') == []", "x".repeat(60_000)), 30_000).0, "!!");
    assert_eq!(outcome(&format!("'{}'.findAll('') == []", "x".repeat(60_000)), 30_000).0, "!!");
}

#[test]
fn types_and_messages_stay_small_whatever_an_expression_nests() {
    // Were keys of maps typed by what they are, this type would have 2^40 parts.
    let nested = (0..40).fold("1".to_owned(), |inner, _| format!("cel.bind(x, {inner}, {{x: x}})"));
    let (did, said) = outcome(&format!("{nested} + 1"), COST);
    assert_eq!(did, "??");
    assert!(said.len() < 100_000);
    // Nor is a value shown that is shared many times over.
    let shared = (0..40).fold("[1]".to_owned(), |list, _| format!("cel.bind(x, {list}, [x, x])"));
    let (did, said) = outcome(&format!("dyn({{'a': 1}})[dyn({shared})] == 1"), COST);
    assert_eq!((did, said.as_str()), ("!!", "no such key: list"));
}

#[test]
fn what_is_too_deep_or_too_long_is_refused() {
    for (open, middle, close) in
        [("(", "1", ")"), ("[", "1", "]"), ("!", "true", ""), ("-", "x", ""), ("{1: ", "1", "}")]
    {
        let text = format!("{}{middle}{}", open.repeat(5000), close.repeat(5000));
        assert_eq!(outcome(&text, COST).0, "??");
    }
    assert_eq!(outcome(&"1 + ".repeat(5000), COST).0, "??");
    assert_eq!(outcome(&format!("self{}", ".m".repeat(5000)), COST).0, "??");
    assert_eq!(outcome(&" ".repeat(1 << 20), COST).0, "??");
    // A long chain of conditions is none of that.
    assert_eq!(outcome(&format!("{} true", "true && ".repeat(2000)), COST).0, "->");
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(text in "\\PC{0,60}") {
        outcome(&text, 10_000);
    }

    #[test]
    fn no_expression_makes_it_panic(words in prop::collection::vec(prop::sample::select(vec![
        "self", ".i", ".l", ".m", ".s", ".o", "(", ")", "[", "]", "{", "}", "1", "2u", "1.5", "'a'", "b'a'", "+", "-", "*", "/", "%",
        "==", "!=", "<", "in", "&&", "||", "!", "?", ":", ".all(x, ", "x", ".map(x, ", ".exists(x, ", ",", ".size()", "has(",
        ".substring(", ".split(", ".format(", ".replace(", "timestamp('2009-02-13T23:31:30Z')", "duration('1h')", "quantity('1')",
        "cidr('1.2.3.4/8')", "url('/')", "optional.of(", ".orValue(", "null", "true", "cel.bind(x, ", ".lastIndexOf('a', ", "[?", ".?a",
    ]), 0..25)) {
        outcome(&words.join(" "), 10_000);
        outcome(&words.concat(), 10_000);
    }
}
