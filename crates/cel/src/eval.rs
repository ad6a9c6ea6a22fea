//! Evaluation, within a budget.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use regex::Regex;

use crate::{
    ast::{Expr, Fold, FoldKind, Literal, Node},
    functions,
    types::{NAMES, kept},
    value::{Key, Value},
};

/// Why an expression has no value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EvalError {
    /// It would have cost more than it may.
    #[error("operation cancelled: actual cost limit exceeded")]
    Budget,
    /// In CEL's words: `no such key: x`, `division by zero`, …
    #[error("{0}")]
    Failed(String),
}

/// An evaluation error.
pub(crate) fn failed<T>(why: impl Into<String>) -> Result<T, EvalError> {
    Err(EvalError::Failed(why.into()))
}

/// What evaluation may still cost, in the units of Kubernetes' cost model: one for each step, and one for ten bytes or one
/// element that is looked at.
#[derive(Clone, Debug)]
pub struct Budget {
    left: u64,
    /// What is compiled already of the program that is evaluated.
    patterns: Patterns,
}

/// Compiled patterns by their texts.
pub(crate) type Patterns = Arc<HashMap<Arc<str>, Regex>>;

impl Budget {
    /// So much.
    pub fn new(units: u64) -> Self {
        Self { left: units, patterns: Patterns::default() }
    }

    /// What is left of it.
    pub fn left(&self) -> u64 {
        self.left
    }

    /// Pays for something.
    ///
    /// # Errors
    /// When there is not enough left.
    pub fn spend(&mut self, units: u64) -> Result<(), EvalError> {
        match self.left.checked_sub(units) {
            Some(left) => {
                self.left = left;
                Ok(())
            }
            None => {
                self.left = 0;
                Err(EvalError::Budget)
            }
        }
    }

    /// Goes on with the patterns of another program; gives those of the last.
    pub(crate) fn exchange(&mut self, patterns: Patterns) -> Patterns {
        std::mem::replace(&mut self.patterns, patterns)
    }

    /// A pattern that the program has compiled.
    pub(crate) fn pattern(&self, text: &str) -> Option<Regex> {
        self.patterns.get(text).cloned()
    }

    /// Pays for going over so many bytes as a processor does, many at a time.
    pub(crate) fn scan(&mut self, count: usize) -> Result<(), EvalError> {
        self.spend(count as u64 / 512)
    }

    /// Pays for looking at so many bytes.
    pub(crate) fn bytes(&mut self, count: usize) -> Result<(), EvalError> {
        self.spend(count as u64 / 10)
    }

    /// Pays for looking at so many elements.
    pub(crate) fn elements(&mut self, count: usize) -> Result<(), EvalError> {
        self.spend(count as u64)
    }
}

/// A name and its value, and those around it.
pub(crate) struct Scope<'a> {
    around: Option<&'a Scope<'a>>,
    name: &'a str,
    value: Value,
}

impl<'a> Scope<'a> {
    pub(crate) fn new(around: Option<&'a Scope<'a>>, name: &'a str, value: Value) -> Self {
        Self { around, name, value }
    }

    fn find(&self, name: &str) -> Option<&Value> {
        if self.name == name {
            return Some(&self.value);
        }
        self.around.and_then(|around| around.find(name))
    }
}

/// The value of an expression.
pub(crate) fn eval(expr: &Expr, scope: Option<&Scope<'_>>, budget: &mut Budget) -> Result<Value, EvalError> {
    budget.spend(1)?;
    match &expr.of {
        Node::Literal(literal) => Ok(constant(literal)),
        Node::Name(name) => match scope.and_then(|scope| scope.find(name)) {
            Some(value) => Ok(value.clone()),
            None if NAMES.contains(&&**name) => Ok(Value::Type(name.clone())),
            None => failed(format!("no such attribute(s): {name}")),
        },
        Node::Select { operand, field, test, optional } => {
            let operand = eval(operand, scope, budget)?;
            if *test { has(&operand, field) } else { select(&operand, field, *optional) }
        }
        Node::Call { target, name, arguments } => call(target.as_deref(), name, arguments, scope, budget),
        Node::List(elements) => {
            budget.spend(10)?;
            let mut list = Vec::with_capacity(elements.len());
            for (element, optional) in elements {
                match (eval(element, scope, budget)?, optional) {
                    (Value::Optional(value), true) => list.extend(value.map(|value| value.as_ref().clone())),
                    (value, _) => list.push(value),
                }
            }
            Ok(list.into())
        }
        Node::Map(entries) => map(entries, scope, budget),
        Node::Fold(fold) => self::fold(fold, scope, budget),
        Node::Bind { name, value, body } => {
            let value = eval(value, scope, budget)?;
            eval(body, Some(&Scope::new(scope, name, value)), budget)
        }
        Node::OptMap { target, name, body, flat } => match eval(target, scope, budget)? {
            Value::Optional(None) => Ok(Value::Optional(None)),
            Value::Optional(Some(value)) => {
                let inner = Scope::new(scope, name, value.as_ref().clone());
                let result = eval(body, Some(&inner), budget)?;
                Ok(if *flat { result } else { Value::Optional(Some(Arc::new(result))) })
            }
            _ => failed("no such overload"),
        },
    }
}

fn constant(literal: &Literal) -> Value {
    match literal {
        Literal::Null => Value::Null,
        Literal::Bool(value) => Value::Bool(*value),
        Literal::Int(value) => Value::Int(*value),
        Literal::Uint(value) => Value::Uint(*value),
        Literal::Double(value) => Value::Double(*value),
        Literal::Text(text) => Value::Text(text.clone()),
        Literal::Bytes(bytes) => Value::Bytes(bytes.clone()),
    }
}

/// A field of an object, or an entry of a map.
fn field_of<'a>(map: &'a BTreeMap<Key, Value>, field: &Arc<str>) -> Option<&'a Value> {
    let named = map.get(&Key::Text(field.clone()));
    named.or_else(|| map.get(&Key::Text(kept(field)?.into())))
}

fn has(operand: &Value, field: &Arc<str>) -> Result<Value, EvalError> {
    match operand {
        Value::Map(map) => Ok(field_of(map, field).is_some().into()),
        Value::Optional(None) => Ok(false.into()),
        Value::Optional(Some(value)) => has(value, field),
        _ => failed("no such overload"),
    }
}

fn select(operand: &Value, field: &Arc<str>, optional: bool) -> Result<Value, EvalError> {
    match operand {
        Value::Map(map) => match (field_of(map, field), optional) {
            (Some(value), false) => Ok(value.clone()),
            (value, true) => Ok(Value::Optional(value.map(|value| Arc::new(value.clone())))),
            (None, false) => failed(format!("no such key: {field}")),
        },
        Value::Optional(None) => Ok(Value::Optional(None)),
        Value::Optional(Some(value)) => select(value, field, true),
        _ => failed("no such overload"),
    }
}

fn map(entries: &[(Expr, Expr, bool)], scope: Option<&Scope<'_>>, budget: &mut Budget) -> Result<Value, EvalError> {
    budget.spend(30)?;
    let mut map = BTreeMap::new();
    for (key, value, optional) in entries {
        let key = eval(key, scope, budget)?;
        let Some(key) = key.key().filter(|_| !matches!(key, Value::Double(_))) else {
            return failed(format!("unsupported key type: {}", key.type_name()));
        };
        let value = match (eval(value, scope, budget)?, optional) {
            (Value::Optional(None), true) => continue,
            (Value::Optional(Some(value)), true) => value.as_ref().clone(),
            (value, _) => value,
        };
        if map.insert(key, value).is_some() {
            return failed("repeated key in map literal");
        }
    }
    Ok(Value::Map(Arc::new(map)))
}

fn call(
    target: Option<&Expr>,
    name: &str,
    arguments: &[Expr],
    scope: Option<&Scope<'_>>,
    budget: &mut Budget,
) -> Result<Value, EvalError> {
    match (name, arguments) {
        ("&&" | "||", all) => return logic(name == "||", all, scope, budget),
        ("?:", [condition, then, otherwise]) => {
            return match eval(condition, scope, budget)? {
                Value::Bool(true) => eval(then, scope, budget),
                Value::Bool(false) => eval(otherwise, scope, budget),
                _ => failed("no such overload"),
            };
        }
        _ => {}
    }
    let mut given = Vec::with_capacity(arguments.len() + 1);
    for argument in target.into_iter().chain(arguments) {
        given.push(eval(argument, scope, budget)?);
    }
    functions::call(name, &given, budget)
}

/// `&&` and `||`: an operand that decides hides the errors of the others.
fn logic(deciding: bool, all: &[Expr], scope: Option<&Scope<'_>>, budget: &mut Budget) -> Result<Value, EvalError> {
    let mut error = None;
    for operand in all {
        match eval(operand, scope, budget) {
            Ok(Value::Bool(value)) if value == deciding => return Ok(value.into()),
            Ok(Value::Bool(_)) => {}
            Ok(_) => error = error.or_else(|| Some(EvalError::Failed("no such overload".to_owned()))),
            Err(EvalError::Budget) => return Err(EvalError::Budget),
            Err(other) => error = error.or(Some(other)),
        }
    }
    error.map_or(Ok((!deciding).into()), Err)
}

/// The names of a macro and what they stand for, one after the other.
fn range(value: &Value, both: bool) -> Result<Vec<(Value, Value)>, EvalError> {
    Ok(match value {
        Value::List(list) | Value::Set(list) | Value::Keyed(list, _) => {
            list.iter().enumerate().map(|(index, element)| (Value::count(index), element.clone())).collect()
        }
        Value::Map(map) if both => map.iter().map(|(key, value)| (key.value(), value.clone())).collect(),
        // With one name it is the key that it stands for.
        Value::Map(map) => map.keys().map(|key| (Value::Null, key.value())).collect(),
        _ => return failed("no such overload"),
    })
}

fn fold(fold: &Fold, scope: Option<&Scope<'_>>, budget: &mut Budget) -> Result<Value, EvalError> {
    let over = eval(&fold.range, scope, budget)?;
    let over = range(&over, fold.second.is_some())?;
    budget.elements(over.len())?;
    let (mut list, mut map, mut count, mut error) = (Vec::new(), BTreeMap::new(), 0_usize, None);
    for (key, element) in over {
        let result = match &fold.second {
            None => {
                let inner = Scope::new(scope, &fold.first, element.clone());
                one(fold, &inner, budget)
            }
            Some(second) => {
                let outer = Scope::new(scope, &fold.first, key.clone());
                let inner = Scope::new(Some(&outer), second, element.clone());
                one(fold, &inner, budget)
            }
        };
        match (fold.kind, result) {
            (_, Ok(None)) => {}
            (FoldKind::All, Ok(Some(Value::Bool(false)))) => return Ok(false.into()),
            (FoldKind::Exists, Ok(Some(Value::Bool(true)))) => return Ok(true.into()),
            (FoldKind::All | FoldKind::Exists, Ok(Some(Value::Bool(_)))) => {}
            (FoldKind::ExistsOne, Ok(Some(Value::Bool(found)))) => count += usize::from(found),
            (FoldKind::Filter, Ok(Some(Value::Bool(kept)))) => list.extend(kept.then_some(element)),
            (FoldKind::Map | FoldKind::TransformList, Ok(Some(value))) => list.push(value),
            (FoldKind::TransformMap, Ok(Some(value))) => {
                let Some(key) = key.key() else { return failed("unsupported key type") };
                map.insert(key, value);
            }
            (FoldKind::TransformMapEntry, Ok(Some(Value::Map(made)))) => {
                budget.elements(made.len())?;
                for (key, value) in made.iter() {
                    if map.insert(key.clone(), value.clone()).is_some() {
                        return failed(format!("insert failed: key {} already exists", key.shown()));
                    }
                }
            }
            (_, Ok(Some(_))) => return failed("no such overload"),
            // An element that decides hides the errors of others.
            (FoldKind::All | FoldKind::Exists, Err(EvalError::Failed(why))) => {
                error = error.or(Some(EvalError::Failed(why)));
            }
            (_, Err(error)) => return Err(error),
        }
    }
    match (fold.kind, error) {
        (_, Some(error)) => Err(error),
        (FoldKind::All, None) => Ok(true.into()),
        (FoldKind::Exists, None) => Ok(false.into()),
        (FoldKind::ExistsOne, None) => Ok((count == 1).into()),
        (FoldKind::Filter | FoldKind::Map | FoldKind::TransformList, None) => Ok(list.into()),
        (FoldKind::TransformMap | FoldKind::TransformMapEntry, None) => Ok(Value::Map(Arc::new(map))),
    }
}

/// The body for one element; `None` if the filter leaves it out.
fn one(fold: &Fold, scope: &Scope<'_>, budget: &mut Budget) -> Result<Option<Value>, EvalError> {
    budget.spend(1)?;
    if let Some(filter) = &fold.filter {
        match eval(filter, Some(scope), budget)? {
            Value::Bool(true) => {}
            Value::Bool(false) => return Ok(None),
            _ => return failed("no such overload"),
        }
    }
    eval(&fold.body, Some(scope), budget).map(Some)
}
