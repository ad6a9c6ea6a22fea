//! Functions: cel-spec's standard definitions, cel-go's extensions, and Kubernetes' libraries. Each file has the signatures of its
//! functions, by which calls are checked, and what they do.

mod formatting;
mod kubernetes;
mod lists;
mod operators;
mod strings;
mod times;

pub use times::duration;
pub(crate) use times::{FIRST_SECOND, timestamp};

use crate::{
    eval::{Budget, EvalError, failed},
    value::Value,
};

/// The signatures of every library, one function a line.
pub(crate) const SIGNATURES: &[&str] =
    &[operators::SIGNATURES, strings::SIGNATURES, lists::SIGNATURES, times::SIGNATURES, kubernetes::SIGNATURES];

/// What a library does about a call: `None` if it has no such function of such values.
type Library = fn(&str, &[Value], &mut Budget) -> Result<Option<Value>, EvalError>;

/// Calls a function, or a method of the first value.
pub(crate) fn call(name: &str, given: &[Value], budget: &mut Budget) -> Result<Value, EvalError> {
    let libraries: [Library; 5] = [operators::call, strings::call, lists::call, times::call, kubernetes::call];
    for library in libraries {
        if let Some(value) = library(name, given, budget)? {
            return Ok(value);
        }
    }
    failed("no such overload")
}

/// The value of a function that has one.
fn some(value: impl Into<Value>) -> Result<Option<Value>, EvalError> {
    Ok(Some(value.into()))
}
