//! The Common Expression Language, with the libraries that Kubernetes adds to it.
//!
//! A [`Program`] is parsed and type-checked once ([`Program::compile`]), and evaluated often, each time within a [`Budget`]: the
//! language has no loops but those over what it is given, and every step and every byte that is looked at costs something, so
//! that neither time nor memory is ever more than the budget allows. Nothing here does I/O.

mod ast;
mod check;
mod cost;
pub mod double;
mod eval;
mod functions;
mod lexer;
mod libraries;
mod macros;
mod parser;
pub mod pattern;
mod signatures;
mod types;
mod value;

use std::fmt;

pub use cost::{Bounds, Sizes};
pub use eval::{Budget, EvalError};
pub use functions::duration;
pub use parser::is_reserved;
pub use types::{ObjectType, Type};
pub use value::{Key, Value};

use check::Checker;
use cost::Estimator;
use eval::{Patterns, Scope};

/// What is wrong with an expression.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issue {
    at: usize,
    /// In CEL's words.
    pub message: String,
}

impl Issue {
    pub(crate) fn new(at: usize, message: String) -> Self {
        Self { at, message }
    }
}

/// An expression that cannot be compiled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CompileError {
    source: String,
    /// What is wrong, in the order of the text.
    pub issues: Vec<Issue>,
    /// Why it cannot be evaluated, if nothing else is wrong with it.
    pub unready: Option<String>,
}

impl std::error::Error for CompileError {}

/// As cel-go prints it: line and column, the line, and an arrow below the place.
impl fmt::Display for CompileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.unready.as_deref().unwrap_or_default())?;
        for (index, issue) in self.issues.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            let before = self.source.get(..issue.at.min(self.source.len())).unwrap_or_default();
            let line = before.matches('\n').count();
            let column = before.rsplit('\n').next().unwrap_or_default().chars().count();
            let text = self.source.lines().nth(line).unwrap_or_default();
            let dots = ".".repeat(column);
            write!(f, "ERROR: <input>:{}:{}: {}\n | {text}\n | {dots}^", line + 1, column + 1, issue.message)?;
        }
        Ok(())
    }
}

/// An expression that was parsed and type-checked.
#[derive(Clone, Debug)]
pub struct Program {
    expr: ast::Expr,
    of: Type,
    /// Patterns that are written out in it, compiled.
    patterns: Patterns,
}

impl Program {
    /// Parses an expression and checks its types. `variables` are the names that it may use.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn compile(source: &str, variables: &[(&str, Type)]) -> Result<Self, CompileError> {
        let failed = |issues, unready| Err(CompileError { source: source.to_owned(), issues, unready });
        let expr = match parser::parse(source) {
            Ok(expr) => expr,
            Err(issue) => return failed(vec![issue], None),
        };
        let mut checker = Checker::new(variables);
        let of = checker.expr(&expr);
        if !checker.issues.is_empty() {
            return failed(checker.issues, None);
        }
        if checker.unready.is_some() {
            return failed(Vec::new(), checker.unready);
        }
        Ok(Self { expr, of, patterns: checker.patterns.into() })
    }

    /// The type of its value.
    pub fn result(&self) -> &Type {
        &self.of
    }

    /// About how many bytes the patterns take that are kept compiled with it.
    pub fn patterns(&self) -> usize {
        self.patterns.keys().filter_map(|text| pattern::size(text, check::PATTERN).ok()).sum()
    }

    /// Whether it uses a name.
    pub fn mentions(&self, name: &str) -> bool {
        self.expr.mentions(name)
    }

    /// What evaluating it costs at most, in the units of [`Budget`], as cel-go and Kubernetes estimate it. `variables` are the names
    /// that it was compiled with.
    pub fn cost(&self, variables: &[(&str, Type)], sizes: Sizes<'_>) -> u64 {
        let mut checker = Checker::new(variables);
        checker.expr(&self.expr);
        Estimator::cost(&self.expr, &checker.types, sizes)
    }

    /// Its value. What it costs is taken from the budget.
    ///
    /// # Errors
    /// When it has none, or when the budget does not suffice.
    pub fn evaluate(&self, variables: &[(&str, Value)], budget: &mut Budget) -> Result<Value, EvalError> {
        // Each name needs those before it around it.
        fn within(
            program: &Program,
            variables: &[(&str, Value)],
            scope: Option<&Scope<'_>>,
            budget: &mut Budget,
        ) -> Result<Value, EvalError> {
            match variables.split_first() {
                None => eval::eval(&program.expr, scope, budget),
                Some(((name, value), rest)) => {
                    within(program, rest, Some(&Scope::new(scope, name, value.clone())), budget)
                }
            }
        }
        let outer = budget.exchange(self.patterns.clone());
        let value = within(self, variables, None, budget);
        budget.exchange(outer);
        value
    }
}
