//! Texts: cel-spec's, cel-go's `ext.Strings`, and Kubernetes' `find` and `findAll`.

use regex::Regex;

use super::{formatting, some};
use crate::{
    check::PATTERN,
    eval::{Budget, EvalError, failed},
    pattern,
    value::Value,
};

pub(super) const SIGNATURES: &str = "
    contains: string.(string) bool
    startsWith: string.(string) bool
    endsWith: string.(string) bool
    matches: string.(string) bool; (string, string) bool
    charAt: string.(int) string
    indexOf: string.(string) int; string.(string, int) int
    lastIndexOf: string.(string) int; string.(string, int) int
    lowerAscii: string.() string
    upperAscii: string.() string
    replace: string.(string, string) string; string.(string, string, int) string
    split: string.(string) list<string>; string.(string, int) list<string>
    substring: string.(int) string; string.(int, int) string
    trim: string.() string
    join: list<string>.() string; list<string>.(string) string
    reverse: string.() string; list<A>.() list<A>
    format: string.(list<dyn>) string
    strings.quote: (string) string
    find: string.(string) string
    findAll: string.(string) list<string>; string.(string, int) list<string>
";

pub(super) fn call(name: &str, given: &[Value], budget: &mut Budget) -> Result<Option<Value>, EvalError> {
    if let ("join", [list, rest @ ..]) = (name, given)
        && let Some(list) = list.elements()
    {
        let separator = if let [Value::Text(separator)] = rest { &**separator } else { "" };
        return join(list, separator, budget);
    }
    if let ("strings.quote", [Value::Text(text)]) = (name, given) {
        budget.bytes(text.len())?;
        return some(quote(text));
    }
    let [Value::Text(text), rest @ ..] = given else { return Ok(None) };
    // These look at no more of the text than they have to, or pay for it themselves.
    match (name, rest) {
        ("startsWith", [Value::Text(part)]) => {
            budget.bytes(part.len())?;
            return some(text.starts_with(&**part));
        }
        ("endsWith", [Value::Text(part)]) => {
            budget.bytes(part.len())?;
            return some(text.ends_with(&**part));
        }
        ("contains", [Value::Text(part)]) => {
            budget.spend((text.len() as u64 / 10 + 1) * (part.len() as u64 / 10 + 1))?;
            return some(text.contains(&**part));
        }
        ("matches", [Value::Text(pattern)]) => return some(compile(pattern, text, budget)?.is_match(text)),
        _ => {}
    }
    budget.bytes(text.len())?;
    match (name, rest) {
        ("find", [Value::Text(pattern)]) => {
            let pattern = compile(pattern, text, budget)?;
            some(pattern.find(text).map_or("", |found| found.as_str()))
        }
        ("findAll", [Value::Text(pattern), rest @ ..]) => {
            let pattern = compile(pattern, text, budget)?;
            let most = if let [Value::Int(most)] = rest { *most } else { -1 };
            let most = usize::try_from(most).unwrap_or(usize::MAX);
            let mut all: Vec<Value> = Vec::new();
            for found in pattern.find_iter(text).take(most) {
                budget.spend(1)?;
                all.push(found.as_str().into());
            }
            some(all)
        }
        ("lowerAscii", []) => some(text.to_ascii_lowercase()),
        ("upperAscii", []) => some(text.to_ascii_uppercase()),
        ("trim", []) => some(text.trim()),
        ("reverse", []) => some(text.chars().rev().collect::<String>()),
        ("charAt", [Value::Int(at)]) => char_at(text, *at),
        ("substring", [Value::Int(from)]) => substring(text, *from, None),
        ("substring", [Value::Int(from), Value::Int(to)]) => substring(text, *from, Some(*to)),
        ("indexOf" | "lastIndexOf", [Value::Text(part), rest @ ..]) => position(name, text, part, rest, budget),
        ("replace", [Value::Text(old), Value::Text(new), rest @ ..]) => replace(text, old, new, rest, budget),
        ("split", [Value::Text(separator), rest @ ..]) => split(text, separator, rest, budget),
        ("format", [list]) => match list.elements() {
            Some(list) => some(formatting::format(text, list, budget)?),
            None => Ok(None),
        },
        _ => Ok(None),
    }
}

/// What compiling a pattern costs that is not written out in the program.
const COMPILING: u64 = 500;

/// A pattern, which costs as much as it may be large and the text is long.
fn compile(pattern: &str, text: &str, budget: &mut Budget) -> Result<Regex, EvalError> {
    budget.spend((text.len() as u64 / 10 + 1) * (pattern.len() as u64 / 4 + 1))?;
    if let Some(compiled) = budget.pattern(pattern) {
        return Ok(compiled);
    }
    budget.spend(COMPILING)?;
    pattern::compile(pattern, PATTERN).map_err(|error| EvalError::Failed(format!("error parsing regexp: {error}")))
}

pub(super) fn quote(text: &str) -> String {
    let mut quoted = String::from('"');
    for c in text.chars() {
        match c {
            '\u{7}' => quoted.push_str("\\a"),
            '\u{8}' => quoted.push_str("\\b"),
            '\u{c}' => quoted.push_str("\\f"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            '\u{b}' => quoted.push_str("\\v"),
            '\\' => quoted.push_str("\\\\"),
            '"' => quoted.push_str("\\\""),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

fn join(list: &[Value], separator: &str, budget: &mut Budget) -> Result<Option<Value>, EvalError> {
    let mut joined = String::new();
    for (index, value) in list.iter().enumerate() {
        let Value::Text(text) = value else { return failed("no such overload") };
        budget.bytes(text.len() + separator.len() + 10)?;
        if index > 0 {
            joined.push_str(separator);
        }
        joined.push_str(text);
    }
    some(joined)
}

fn char_at(text: &str, at: i64) -> Result<Option<Value>, EvalError> {
    let count = text.chars().count();
    match usize::try_from(at).ok().filter(|at| *at <= count) {
        Some(at) => some(text.chars().nth(at).map(String::from).unwrap_or_default()),
        None => failed(format!("index out of range: {at}")),
    }
}

fn substring(text: &str, from: i64, to: Option<i64>) -> Result<Option<Value>, EvalError> {
    let count = i64::try_from(text.chars().count()).unwrap_or(i64::MAX);
    let to = to.unwrap_or(count);
    if from < 0 || from > count {
        return failed(format!("index out of range: {from}"));
    }
    if to < 0 || to > count {
        return failed(format!("index out of range: {to}"));
    }
    if from > to {
        return failed(format!("invalid substring range. start: {from}, end: {to}"));
    }
    let (from, to) = (usize::try_from(from).unwrap_or(0), usize::try_from(to).unwrap_or(0));
    some(text.chars().skip(from).take(to - from).collect::<String>())
}

fn position(
    name: &str,
    text: &str,
    part: &str,
    rest: &[Value],
    budget: &mut Budget,
) -> Result<Option<Value>, EvalError> {
    budget.spend((text.len() as u64 / 10 + 1) * (part.len() as u64 / 10 + 1))?;
    let count = text.chars().count();
    let last = name == "lastIndexOf";
    let offset = match rest {
        [] => None,
        [Value::Int(offset)] => match usize::try_from(*offset) {
            // Nothing but the empty text is past the end.
            Ok(offset) if offset >= count => {
                return some(if part.is_empty() { Value::count(count) } else { Value::Int(-1) });
            }
            Ok(offset) => Some(offset),
            Err(_) => return failed(format!("index out of range: {offset}")),
        },
        _ => return Ok(None),
    };
    let byte = |character: usize| text.char_indices().nth(character).map_or(text.len(), |(at, _)| at);
    let found = match (last, offset) {
        (false, offset) => {
            let start = byte(offset.unwrap_or(0));
            text.get(start..).and_then(|text| text.find(part)).map(|at| start + at)
        }
        (true, None) => text.rfind(part),
        (true, Some(offset)) => {
            // A match may begin at the offset, and end after it.
            let end = (byte(offset) + part.len()).min(text.len());
            (0..=end).rev().find_map(|end| text.get(..end)).and_then(|text| text.rfind(part))
        }
    };
    let characters = |at: usize| text.get(..at).unwrap_or_default().chars().count();
    Ok(Some(found.map_or(Value::Int(-1), |at| Value::count(characters(at)))))
}

fn replace(text: &str, old: &str, new: &str, rest: &[Value], budget: &mut Budget) -> Result<Option<Value>, EvalError> {
    let most = match rest {
        [] => usize::MAX,
        [Value::Int(most)] => usize::try_from(*most).unwrap_or(usize::MAX),
        _ => return Ok(None),
    };
    let times = if old.is_empty() { text.chars().count() + 1 } else { text.matches(old).count() }.min(most);
    // Paid for before it is made.
    budget.bytes(text.len().saturating_add(times.saturating_mul(new.len())))?;
    some(text.replacen(old, new, most))
}

fn split(text: &str, separator: &str, rest: &[Value], budget: &mut Budget) -> Result<Option<Value>, EvalError> {
    let most = if let [Value::Int(most)] = rest { *most } else { -1 };
    // Paid for before they are made.
    let count = if separator.is_empty() { text.chars().count() } else { text.matches(separator).count() + 1 };
    budget.elements(usize::try_from(most).map_or(count, |most| most.min(count)))?;
    let parts: Vec<Value> = match (separator.is_empty(), usize::try_from(most)) {
        (_, Ok(0)) => Vec::new(),
        (true, Ok(most)) => {
            let cut = text.char_indices().nth(most - 1).map_or(text.len(), |(at, _)| at);
            let (each, last) = text.split_at_checked(cut).unwrap_or((text, ""));
            let each = each.chars().map(|c| c.to_string().into());
            each.chain(Some(last).filter(|last| !last.is_empty()).map(Value::from)).collect()
        }
        (true, Err(_)) => text.chars().map(|c| c.to_string().into()).collect(),
        (false, Ok(most)) => text.splitn(most, separator).map(Value::from).collect(),
        (false, Err(_)) => text.split(separator).map(Value::from).collect(),
    };
    some(parts)
}
