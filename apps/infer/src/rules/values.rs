//! How values compare, and how many of them may be looked at.

use std::cmp::Ordering;

use serde_json::Value;

use super::condition::Op;

/// The work that an evaluation may still do: one for each value looked at.
#[derive(Clone, Copy, Debug)]
pub struct Budget(u64);

/// An evaluation takes more work than it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the rules would take too much work on these facts")]
pub struct Exhausted;

impl Budget {
    /// For so many values.
    pub fn new(work: u64) -> Self {
        Self(work)
    }

    /// Takes so much off.
    ///
    /// # Errors
    /// There is not so much left.
    pub fn take(&mut self, work: usize) -> Result<(), Exhausted> {
        self.0 = self.0.checked_sub(work as u64).ok_or(Exhausted)?;
        Ok(())
    }
}

/// Whether `actual` is to `expected` as the operator says.
///
/// # Errors
/// The budget is used up.
pub fn compare(op: Op, actual: &Value, expected: &Value, budget: &mut Budget) -> Result<bool, Exhausted> {
    let ordered = |wanted: fn(Ordering) -> bool| order(actual, expected).is_some_and(wanted);
    Ok(match op {
        Op::Eq => same(actual, expected, budget)?,
        Op::Ne => !same(actual, expected, budget)?,
        Op::Lt => ordered(Ordering::is_lt),
        Op::Lte => ordered(Ordering::is_le),
        Op::Gt => ordered(Ordering::is_gt),
        Op::Gte => ordered(Ordering::is_ge),
        Op::In => expected.is_array() && among(expected, actual, budget)?,
        Op::NotIn => expected.is_array() && !among(expected, actual, budget)?,
        Op::Contains => match (actual, expected) {
            (Value::Array(_), _) => among(actual, expected, budget)?,
            (Value::String(text), Value::String(part)) => text.contains(part.as_str()),
            _ => false,
        },
        Op::StartsWith => texts(actual, expected).is_some_and(|(text, part)| text.starts_with(part)),
        Op::EndsWith => texts(actual, expected).is_some_and(|(text, part)| text.ends_with(part)),
        Op::Matches | Op::Exists | Op::Missing => false,
    })
}

fn texts<'a>(a: &'a Value, b: &'a Value) -> Option<(&'a str, &'a str)> {
    Some((a.as_str()?, b.as_str()?))
}

fn among(list: &Value, wanted: &Value, budget: &mut Budget) -> Result<bool, Exhausted> {
    for item in list.as_array().into_iter().flatten() {
        if same(item, wanted, budget)? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Whether two values are the same as JSON Schema has it: 1 and 1.0 are, at any depth.
fn same(a: &Value, b: &Value, budget: &mut Budget) -> Result<bool, Exhausted> {
    budget.take(1)?;
    Ok(match (a, b) {
        (Value::Number(_), Value::Number(_)) => order(a, b) == Some(Ordering::Equal),
        (Value::Array(a), Value::Array(b)) => {
            if a.len() != b.len() {
                return Ok(false);
            }
            for (a, b) in a.iter().zip(b) {
                if !same(a, b, budget)? {
                    return Ok(false);
                }
            }
            true
        }
        (Value::Object(a), Value::Object(b)) => {
            if a.len() != b.len() {
                return Ok(false);
            }
            for (key, a) in a {
                match b.get(key) {
                    Some(b) if same(a, b, budget)? => {}
                    _ => return Ok(false),
                }
            }
            true
        }
        _ => a == b,
    })
}

/// How two numbers or two texts compare; `None` for anything else.
fn order(a: &Value, b: &Value) -> Option<Ordering> {
    match (a, b) {
        (Value::String(a), Value::String(b)) => Some(a.cmp(b)),
        (Value::Number(a), Value::Number(b)) => match (whole(a), whole(b)) {
            (Some(a), Some(b)) => Some(a.cmp(&b)),
            _ => a.as_f64()?.partial_cmp(&b.as_f64()?),
        },
        _ => None,
    }
}

fn whole(number: &serde_json::Number) -> Option<i128> {
    number.as_i64().map(i128::from).or_else(|| number.as_u64().map(i128::from))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    proptest! {
        #[test]
        fn numbers_have_one_order(a in any::<i32>(), b in any::<i32>()) {
            for (x, y) in [(json!(a), json!(b)), (json!(f64::from(a)), json!(b))] {
                prop_assert_eq!(order(&x, &y), Some(a.cmp(&b)));
            }
        }
    }
}
