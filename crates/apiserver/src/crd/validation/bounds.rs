//! How much a definition may make the server keep: the text of its rules, and its patterns compiled. Upstream bounds what evaluating
//! costs; here the memory of what is evaluated is bounded too.

use std::{cell::Cell, rc::Rc};

use ::objects::custom::pattern_size;

use super::{Options, anywhere, schemas};
use crate::{status::Cause, validation::At};

/// What a definition may make the server keep, and what it has of that so far.
#[derive(Clone, Debug)]
pub(super) struct Kept {
    /// Bytes of all rules, and of the expressions of their messages, at most.
    rules: usize,
    /// Bytes of all patterns, compiled, at most.
    patterns: usize,
    /// Bytes of those that were compiled so far.
    compiled: Rc<Cell<usize>>,
}

impl Default for Kept {
    fn default() -> Self {
        Self::new(512 * 1024, 32 * 1024 * 1024)
    }
}

impl Kept {
    pub(super) fn new(rules: usize, patterns: usize) -> Self {
        Self { rules, patterns, compiled: Rc::default() }
    }

    /// Counts patterns that were compiled.
    pub(super) fn add(&self, bytes: usize) {
        self.compiled.set(self.compiled.get().saturating_add(bytes));
    }

    /// What is wrong if there are too many patterns.
    pub(super) fn exceeded(&self, spec: &At<'_>) -> Option<Cause> {
        let most = self.patterns / 1024;
        self.is_exceeded().then(|| {
            spec.forbidden(&format!(
                "the patterns of its schemas and rules take more than {most} KiB compiled (use fewer, or ones that repeat less)"
            ))
        })
    }

    pub(super) fn is_exceeded(&self) -> bool {
        self.compiled.get() > self.patterns
    }
}

/// What is wrong with a definition whose rules or patterns are more than are kept. It ends where the bound is passed, whatever is
/// there.
pub(super) fn check(spec: &At<'_>, options: &Options) -> Option<Cause> {
    let (text, kept) = (Cell::new(0usize), &options.kept);
    let over = |schema: &At<'_>| {
        for rule in schema.each("x-kubernetes-validations") {
            let more = rule.field("rule").text().len() + rule.field("messageExpression").text().len();
            text.set(text.get().saturating_add(more));
        }
        let pattern = schema.field("pattern");
        if pattern.is_set() && !kept.is_exceeded() {
            // What is none is told of later.
            kept.add(pattern_size(pattern.text()).unwrap_or(0));
        }
        text.get() > kept.rules || kept.is_exceeded()
    };
    if !schemas(spec, options).iter().any(|schema| anywhere(schema, &over)) {
        return None;
    }
    let rules = || {
        let most = kept.rules / 1024;
        spec.forbidden(&format!("its rules are longer than {most} KiB together (move what they share into the schema)"))
    };
    Some(kept.exceeded(spec).unwrap_or_else(rules))
}
