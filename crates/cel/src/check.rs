//! The type check: every name is known, every call has a signature that fits.

use std::{collections::HashMap, sync::Arc};

use regex::Regex;

use crate::{
    Issue,
    ast::{Expr, Fold, FoldKind, Literal, Node},
    functions, pattern,
    signatures::SIGNATURES,
    types::{Bindings, NAMES, Type, join},
};

/// Issues of one expression, past which nobody reads on.
const MOST: usize = 20;
/// Patterns of one expression that are kept compiled; others are compiled when they are needed.
const PATTERNS: usize = 32;
/// Bytes of a compiled pattern.
pub(crate) const PATTERN: usize = 1 << 18;

/// Names and their types, the innermost last.
pub(crate) struct Checker {
    names: Vec<(Arc<str>, Type)>,
    pub(crate) issues: Vec<Issue>,
    /// The type of each part of the expression, by its number.
    pub(crate) types: Vec<Type>,
    /// The patterns that are written out in it.
    pub(crate) patterns: HashMap<Arc<str>, Regex>,
    /// Why it cannot be evaluated, though its types are right.
    pub(crate) unready: Option<String>,
    /// Within what is formatted, where elements may be of all types.
    mixed: bool,
}

impl Checker {
    pub(crate) fn new(variables: &[(&str, Type)]) -> Self {
        let names = variables.iter().map(|(name, of)| ((*name).into(), of.clone())).collect();
        Self { names, issues: Vec::new(), types: Vec::new(), patterns: HashMap::new(), unready: None, mixed: false }
    }

    fn issue(&mut self, at: usize, why: String) -> Type {
        if self.issues.len() < MOST {
            self.issues.push(Issue::new(at, why));
        }
        Type::Dyn
    }

    /// The type of an expression.
    pub(crate) fn expr(&mut self, expr: &Expr) -> Type {
        let of = self.type_of(expr);
        if self.types.len() <= expr.id {
            self.types.resize(expr.id + 1, Type::Dyn);
        }
        if let Some(place) = self.types.get_mut(expr.id) {
            *place = of.clone();
        }
        of
    }

    fn type_of(&mut self, expr: &Expr) -> Type {
        match &expr.of {
            Node::Literal(literal) => match literal {
                Literal::Null => Type::Null,
                Literal::Bool(_) => Type::Bool,
                Literal::Int(_) => Type::Int,
                Literal::Uint(_) => Type::Uint,
                Literal::Double(_) => Type::Double,
                Literal::Text(_) => Type::Text,
                Literal::Bytes(_) => Type::Bytes,
            },
            Node::Name(name) => self.name(expr.at, name),
            Node::Select { operand, field, test, optional } => {
                let of = self.expr(operand);
                let found = self.select(expr.at, &of, field);
                if *test {
                    Type::Bool
                } else if *optional && !matches!(found, Type::Optional(_)) {
                    Type::Optional(Arc::new(found))
                } else {
                    found
                }
            }
            Node::Call { target, name, arguments } => self.call(expr.at, target.as_deref(), name, arguments),
            Node::List(elements) => {
                let all: Vec<(usize, Type)> =
                    elements.iter().map(|(element, optional)| (element.at, self.element(element, *optional))).collect();
                Type::List(Arc::new(self.common(all)))
            }
            Node::Map(entries) => {
                let keys: Vec<_> = entries.iter().map(|(key, _, _)| (key.at, self.expr(key))).collect();
                let values: Vec<_> =
                    entries.iter().map(|(_, value, optional)| (value.at, self.element(value, *optional))).collect();
                // Nothing else can be a key; and types that grow on both sides would grow without bound.
                let key = match self.common(keys) {
                    key @ (Type::Bool | Type::Int | Type::Uint | Type::Text | Type::Double) => key,
                    _ => Type::Dyn,
                };
                Type::Map(Arc::new(key), Arc::new(self.common(values)))
            }
            Node::Fold(fold) => self.fold(expr.at, fold),
            Node::Bind { name, value, body } => {
                let of = self.expr(value);
                self.within(&[(name, of)], |checker| checker.expr(body))
            }
            Node::OptMap { target, name, body, flat } => {
                let inner = match self.expr(target) {
                    Type::Optional(inner) => inner.as_ref().clone(),
                    Type::Dyn => Type::Dyn,
                    other => {
                        self.issue(expr.at, format!("found no matching overload for 'optMap' applied to '{other}'"))
                    }
                };
                let result = self.within(&[(name, inner)], |checker| checker.expr(body));
                if *flat { result } else { Type::Optional(Arc::new(result)) }
            }
        }
    }

    fn element(&mut self, element: &Expr, optional: bool) -> Type {
        match (self.expr(element), optional) {
            (Type::Optional(of), true) => of.as_ref().clone(),
            (Type::Dyn, true) => Type::Dyn,
            (other, true) => {
                self.issue(element.at, format!("expected type 'optional_type' but found '{other}'"));
                other
            }
            (of, false) => of,
        }
    }

    /// The type of all elements of a literal: they are of one, as Kubernetes asks for it.
    fn common(&mut self, all: Vec<(usize, Type)>) -> Type {
        let mut all = all.into_iter();
        let Some((_, mut known)) = all.next() else { return Type::Dyn };
        for (at, next) in all {
            match join(&known, &next) {
                Some(joined) => known = joined,
                None if self.mixed => return Type::Dyn,
                None => {
                    self.issue(at, format!("expected type '{known}' but found '{next}'"));
                }
            }
        }
        known
    }

    /// What is written out is checked now: times, spans of time, patterns.
    fn written_out(&mut self, name: &str, arguments: &[Expr]) {
        let (at, text) = match arguments.first() {
            Some(Expr { at, of: Node::Literal(Literal::Text(text)), .. }) => (at, text),
            Some(Expr { at, of: Node::Literal(Literal::Int(seconds)), .. }) if name == "timestamp" => {
                if jiff::Timestamp::from_second(*seconds).is_err() || *seconds < functions::FIRST_SECOND {
                    self.issue(*at, "invalid timestamp argument".to_owned());
                }
                return;
            }
            _ => return,
        };
        match name {
            "duration" if crate::duration(text).is_none() => {
                self.issue(*at, "invalid duration argument".to_owned());
            }
            "timestamp" if functions::timestamp(text).is_none() => {
                self.issue(*at, "invalid timestamp argument".to_owned());
            }
            "matches" | "find" | "findAll" => match pattern::compile(text, PATTERN) {
                Ok(compiled) if self.patterns.len() < PATTERNS => drop(self.patterns.insert(text.clone(), compiled)),
                Ok(_) => {}
                Err(_) if name == "matches" => {
                    self.issue(*at, "invalid matches argument".to_owned());
                }
                // Found to be none not when it is checked, but when it is made ready to be evaluated.
                Err(why) => self.unready = self.unready.take().or(Some(format!("error parsing regexp: {why}"))),
            },
            _ => {}
        }
    }

    fn name(&mut self, at: usize, name: &str) -> Type {
        if let Some((_, of)) = self.names.iter().rev().find(|(known, _)| **known == *name) {
            return of.clone();
        }
        if NAMES.contains(&name) {
            return Type::Type;
        }
        self.issue(at, format!("undeclared reference to '{name}' (in container '')"))
    }

    fn within<T>(&mut self, names: &[(&Arc<str>, Type)], check: impl FnOnce(&mut Self) -> T) -> T {
        let before = self.names.len();
        self.names.extend(names.iter().map(|(name, of)| ((*name).clone(), of.clone())));
        let result = check(self);
        self.names.truncate(before);
        result
    }

    fn select(&mut self, at: usize, of: &Type, field: &str) -> Type {
        match of {
            Type::Dyn => Type::Dyn,
            Type::Map(_, value) => value.as_ref().clone(),
            Type::Optional(inner) => {
                let found = self.select(at, inner, field);
                if matches!(found, Type::Optional(_)) { found } else { Type::Optional(Arc::new(found)) }
            }
            Type::Object(object) => match object.field(field) {
                Some(of) => of.clone(),
                None => self.issue(at, format!("undefined field '{field}'")),
            },
            other => self.issue(at, format!("type '{other}' does not support field selection")),
        }
    }

    fn fold(&mut self, at: usize, fold: &Fold) -> Type {
        let (element, key) = match self.expr(&fold.range) {
            Type::List(of) => (of.as_ref().clone(), Type::Int),
            Type::Map(key, value) if fold.second.is_some() => (value.as_ref().clone(), key.as_ref().clone()),
            Type::Map(key, _) => (key.as_ref().clone(), Type::Dyn),
            // The values of an object's fields differ; it can be looked through as a map all the same.
            Type::Dyn => (Type::Dyn, Type::Dyn),
            other => {
                let why = format!(
                    "expression of type '{other}' cannot be range of a comprehension (must be list, map, or dynamic)"
                );
                (self.issue(at, why), Type::Dyn)
            }
        };
        let names: Vec<(&Arc<str>, Type)> = match &fold.second {
            Some(second) => vec![(&fold.first, key.clone()), (second, element.clone())],
            None => vec![(&fold.first, element.clone())],
        };
        let (condition, body) = self.within(&names, |checker| {
            (fold.filter.as_ref().map(|filter| (filter.at, checker.expr(filter))), checker.expr(&fold.body))
        });
        let tests = matches!(fold.kind, FoldKind::All | FoldKind::Exists | FoldKind::ExistsOne | FoldKind::Filter);
        for (at, of) in condition.into_iter().chain(tests.then(|| (fold.body.at, body.clone()))) {
            if !matches!(of, Type::Bool | Type::Dyn) {
                self.issue(at, format!("expected type 'bool' but found '{of}'"));
            }
        }
        match fold.kind {
            FoldKind::All | FoldKind::Exists | FoldKind::ExistsOne => Type::Bool,
            FoldKind::Filter => Type::List(Arc::new(element)),
            FoldKind::Map | FoldKind::TransformList => Type::List(Arc::new(body)),
            FoldKind::TransformMap => Type::Map(Arc::new(key), Arc::new(body)),
            FoldKind::TransformMapEntry => match body {
                made @ (Type::Map(..) | Type::Dyn) => made,
                other => {
                    let why = format!("found no matching overload for 'transformMapEntry' applied to '({other})'");
                    self.issue(fold.body.at, why)
                }
            },
        }
    }

    fn call(&mut self, at: usize, target: Option<&Expr>, name: &str, arguments: &[Expr]) -> Type {
        let mut given: Vec<Type> = target.into_iter().map(|target| self.expr(target)).collect();
        let outer = self.mixed;
        self.mixed |= name == "format";
        given.extend(arguments.iter().map(|argument| self.expr(argument)));
        self.mixed = outer;
        // The pattern of `matches(text, pattern)` comes second.
        let pattern = if name == "matches" && target.is_none() { 1 } else { 0 };
        self.written_out(name, arguments.get(pattern..).unwrap_or_default());
        let Some(signatures) = SIGNATURES.get(name) else {
            return self.issue(at, format!("undeclared reference to '{name}' (in container '')"));
        };
        // A chain of `&&` is one call of many.
        if matches!(name, "&&" | "||") {
            if given.iter().all(|of| matches!(of, Type::Bool | Type::Dyn)) {
                return Type::Bool;
            }
            return self.no_overload(at, name, false, &given);
        }
        let mut results: Vec<Type> = Vec::new();
        for signature in signatures.iter().filter(|signature| signature.method == target.is_some()) {
            let mut bindings = Bindings::default();
            let fits = signature.parameters.len() == given.len()
                && signature.parameters.iter().zip(&given).all(|(wanted, given)| bindings.accept(wanted, given));
            let result = bindings.apply(&signature.result);
            if fits && !results.contains(&result) {
                results.push(result);
            }
        }
        match results.len() {
            0 => self.no_overload(at, name, target.is_some(), &given),
            1 => results.pop().unwrap_or(Type::Dyn),
            _ => Type::Dyn,
        }
    }

    fn no_overload(&mut self, at: usize, name: &str, method: bool, given: &[Type]) -> Type {
        let list = |given: &[Type]| given.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        let applied = match given.split_first() {
            Some((receiver, rest)) if method => format!("{receiver}.({})", list(rest)),
            _ => format!("({})", list(given)),
        };
        let name = shown(name);
        self.issue(at, format!("found no matching overload for '{name}' applied to '{applied}'"))
    }
}

/// An operator's name as CEL's messages have it.
fn shown(name: &str) -> String {
    match name {
        "?:" => "_?_:_".to_owned(),
        "[]" => "_[_]".to_owned(),
        "[?]" => "_[?_]".to_owned(),
        "in" => "@in".to_owned(),
        "!_" | "-_" => name.to_owned(),
        name if name.starts_with(|c: char| !c.is_alphabetic()) => format!("_{name}_"),
        name => name.to_owned(),
    }
}
