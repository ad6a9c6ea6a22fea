//! The engine: rules as data, and decisions that say how they came about.

mod condition;
mod ruleset;
mod values;

pub use condition::{Op, Tested};
pub use ruleset::{Change, Decision, Explained, Invalid, Matched, RuleSummary, Ruleset, Source};
pub use values::Exhausted;
