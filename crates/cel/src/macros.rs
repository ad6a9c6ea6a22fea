//! Macros: calls that bind names, or that look at a field without needing it.

use std::sync::Arc;

use crate::{
    Issue,
    ast::{Expr, Fold, FoldKind, Node},
    signatures::SIGNATURES,
};

/// What a method call is: a macro, or just that.
pub(crate) fn method(at: usize, target: Expr, name: Arc<str>, mut arguments: Vec<Expr>) -> Result<Node, Issue> {
    if let Node::Name(space) = &target.of
        && &**space == "cel"
        && &*name == "bind"
        && arguments.len() == 3
    {
        let (body, value) = (arguments.pop(), arguments.pop());
        let name = variable(arguments.pop().as_ref(), at)?;
        if let (Some(value), Some(body)) = (value, body) {
            return Ok(Node::Bind { name, value: Box::new(value), body: Box::new(body) });
        }
        return Err(Issue::new(at, "cel.bind() has three arguments".to_owned()));
    }
    if let Node::Name(space) = &target.of
        && matches!(&**space, "sets" | "strings" | "optional" | "ip" | "format" | "lists" | "math")
    {
        let full = format!("{space}.{name}");
        if SIGNATURES.contains_key(full.as_str()) {
            return Ok(Node::Call { target: None, name: full.into(), arguments });
        }
    }
    let flat = &*name == "optFlatMap";
    if (flat || &*name == "optMap") && arguments.len() == 2 {
        let body = arguments.pop();
        let name = variable(arguments.pop().as_ref(), at)?;
        let Some(body) = body else { return Err(Issue::new(at, "optMap() has two arguments".to_owned())) };
        return Ok(Node::OptMap { target: Box::new(target), name, body: Box::new(body), flat });
    }
    let count = arguments.len();
    // Names, and what follows them: `map` and the transforms may have a filter before their body.
    let (kind, names, filtered) = match (&*name, count) {
        ("all", 2) => (FoldKind::All, 1, false),
        ("exists", 2) => (FoldKind::Exists, 1, false),
        ("exists_one" | "existsOne", 2) => (FoldKind::ExistsOne, 1, false),
        ("filter", 2) => (FoldKind::Filter, 1, false),
        ("map", 2) => (FoldKind::Map, 1, false),
        ("map", 3) => (FoldKind::Map, 1, true),
        ("all", 3) => (FoldKind::All, 2, false),
        ("exists", 3) => (FoldKind::Exists, 2, false),
        ("exists_one" | "existsOne", 3) => (FoldKind::ExistsOne, 2, false),
        ("transformList", 3) => (FoldKind::TransformList, 2, false),
        ("transformList", 4) => (FoldKind::TransformList, 2, true),
        ("transformMap", 3) => (FoldKind::TransformMap, 2, false),
        ("transformMap", 4) => (FoldKind::TransformMap, 2, true),
        ("transformMapEntry", 3) => (FoldKind::TransformMapEntry, 2, false),
        ("transformMapEntry", 4) => (FoldKind::TransformMapEntry, 2, true),
        _ => return Ok(Node::Call { target: Some(Box::new(target)), name, arguments }),
    };
    let first = variable(arguments.first(), at)?;
    let second = if names == 2 { Some(variable(arguments.get(1), at)?) } else { None };
    let body = arguments.pop();
    let filter = if filtered { arguments.pop() } else { None };
    let Some(body) = body else { return Err(Issue::new(at, format!("{name}() has no body"))) };
    if second.as_ref() == Some(&first) {
        return Err(Issue::new(at, format!("duplicate variable name: {first}")));
    }
    Ok(Node::Fold(Box::new(Fold { kind, range: target, first, second, filter, body })))
}

/// What a function call is: `has()`, or just that.
pub(crate) fn function(at: usize, name: Arc<str>, mut arguments: Vec<Expr>) -> Result<Node, Issue> {
    if &*name != "has" || arguments.len() != 1 {
        return Ok(Node::Call { target: None, name, arguments });
    }
    match arguments.pop().map(|argument| argument.of) {
        Some(Node::Select { operand, field, test: false, optional: false }) => {
            Ok(Node::Select { operand, field, test: true, optional: false })
        }
        _ => Err(Issue::new(at, "invalid argument to has() macro".to_owned())),
    }
}

fn variable(expr: Option<&Expr>, at: usize) -> Result<Arc<str>, Issue> {
    match expr.map(|expr| &expr.of) {
        Some(Node::Name(name)) => Ok(name.clone()),
        _ => Err(Issue::new(expr.map_or(at, |expr| expr.at), "argument must be a simple name".to_owned())),
    }
}
