//! The JSON paths of custom resources: printer columns, scale, selectable fields (client-go's `util/jsonpath`, as far as
//! definitions can use it: fields, indices, slices, wildcards, filters and recursive descent).

use serde_json::Value;

/// Values that one path may lead to.
const MOST: usize = 1000;

/// A path into an object.
#[derive(Clone, Debug, PartialEq)]
pub struct JsonPath {
    steps: Vec<Step>,
}

#[derive(Clone, Debug, PartialEq)]
enum Step {
    Field(String),
    Index(i64),
    Slice(Option<i64>, Option<i64>),
    All,
    Below,
    Filter(Operand, Option<(Comparison, Operand)>),
}

#[derive(Clone, Debug, PartialEq)]
enum Operand {
    Path(JsonPath),
    Literal(Value),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// The text is not a path.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NotAPath(String);

impl JsonPath {
    /// Reads `.spec.containers[0].name`, `.status.conditions[?(@.type=="Ready")].status`.
    ///
    /// # Errors
    /// Says what is not understood.
    pub fn parse(text: &str) -> Result<Self, NotAPath> {
        let mut steps = Vec::new();
        let mut rest = text.strip_prefix('$').unwrap_or(text);
        while !rest.is_empty() {
            let (step, after) = step(rest)?;
            steps.extend(step);
            rest = after;
        }
        Ok(Self { steps })
    }

    /// The names of its fields, if it consists of nothing else.
    pub fn fields(&self) -> Option<Vec<&str>> {
        self.steps.iter().map(|step| if let Step::Field(name) = step { Some(name.as_str()) } else { None }).collect()
    }

    /// What it leads to.
    pub fn find<'a>(&self, object: &'a Value) -> Vec<&'a Value> {
        let mut found = vec![object];
        for step in &self.steps {
            let mut next = Vec::new();
            for value in found {
                step.take(value, &mut next);
                if next.len() > MOST {
                    next.truncate(MOST);
                    break;
                }
            }
            found = next;
        }
        found
    }
}

impl Step {
    fn take<'a>(&self, value: &'a Value, next: &mut Vec<&'a Value>) {
        match (self, value) {
            (Self::Field(name), Value::Object(map)) => next.extend(map.get(name)),
            (Self::All, Value::Object(map)) => next.extend(map.values()),
            (Self::All, Value::Array(list)) => next.extend(list),
            (Self::Index(at), Value::Array(list)) => {
                next.extend(usize::try_from(position(*at, list.len())).ok().and_then(|at| list.get(at)));
            }
            (Self::Slice(from, to), Value::Array(list)) => {
                let end = |at: Option<i64>, default: usize| {
                    at.map_or(default, |at| usize::try_from(position(at, list.len())).unwrap_or(0).min(list.len()))
                };
                next.extend(list.get(end(*from, 0)..end(*to, list.len())).unwrap_or_default());
            }
            (Self::Filter(left, test), Value::Array(list)) => {
                next.extend(list.iter().filter(|element| holds(left, test.as_ref(), element)));
            }
            (Self::Below, value) => below(value, next),
            _ => {}
        }
    }
}

fn position(at: i64, length: usize) -> i64 {
    if at < 0 { at + i64::try_from(length).unwrap_or(i64::MAX) } else { at }
}

fn below<'a>(value: &'a Value, next: &mut Vec<&'a Value>) {
    if next.len() > MOST {
        return;
    }
    next.push(value);
    match value {
        Value::Object(map) => map.values().for_each(|value| below(value, next)),
        Value::Array(list) => list.iter().for_each(|value| below(value, next)),
        _ => {}
    }
}

fn holds(left: &Operand, test: Option<&(Comparison, Operand)>, element: &Value) -> bool {
    let value = |operand: &Operand| match operand {
        Operand::Path(path) => path.find(element).first().map(|value| (*value).clone()),
        Operand::Literal(value) => Some(value.clone()),
    };
    let Some((comparison, right)) = test else { return value(left).is_some() };
    let (Some(left), Some(right)) = (value(left), value(right)) else { return false };
    let order = match (&left, &right) {
        (Value::Number(a), Value::Number(b)) => a.as_f64().partial_cmp(&b.as_f64()),
        (Value::String(a), Value::String(b)) => Some(a.cmp(b)),
        _ => None,
    };
    match comparison {
        Comparison::Equal => left == right || order.is_some_and(std::cmp::Ordering::is_eq),
        Comparison::NotEqual => left != right && !order.is_some_and(std::cmp::Ordering::is_eq),
        Comparison::Less => order.is_some_and(std::cmp::Ordering::is_lt),
        Comparison::LessOrEqual => order.is_some_and(std::cmp::Ordering::is_le),
        Comparison::Greater => order.is_some_and(std::cmp::Ordering::is_gt),
        Comparison::GreaterOrEqual => order.is_some_and(std::cmp::Ordering::is_ge),
    }
}

/// One step at the start of a text, and what comes after it. A lone dot is no step.
fn step(text: &str) -> Result<(Option<Step>, &str), NotAPath> {
    if let Some(rest) = text.strip_prefix("..") {
        // What is below is then asked for a field or an index.
        let rest = if rest.starts_with('[') { rest } else { text.get(1..).unwrap_or_default() };
        return Ok((Some(Step::Below), rest));
    }
    if let Some(rest) = text.strip_prefix('[') {
        let end = closing(rest).ok_or_else(|| NotAPath("unterminated array".to_owned()))?;
        let inside = rest.get(..end).unwrap_or_default().trim();
        return Ok((Some(bracket(inside)?), rest.get(end + 1..).unwrap_or_default()));
    }
    let text = text.strip_prefix('.').unwrap_or(text);
    if text.is_empty() || text.starts_with('[') {
        return Ok((None, text));
    }
    let mut name = String::new();
    let mut chars = text.char_indices();
    let mut end = text.len();
    while let Some((at, c)) = chars.next() {
        match c {
            '\\' => name.extend(chars.next().map(|(_, escaped)| escaped)),
            '.' | '[' => {
                end = at;
                break;
            }
            ' ' | '{' | '}' | ']' | '(' | ')' | '|' | ',' | '"' | '\'' => {
                return Err(NotAPath(format!("unrecognized character in action: U+{:04X} {c:?}", u32::from(c))));
            }
            c => name.push(c),
        }
    }
    let step = if name == "*" { Step::All } else { Step::Field(name) };
    Ok((Some(step), text.get(end..).unwrap_or_default()))
}

/// Where the bracket closes that has just been opened.
fn closing(text: &str) -> Option<usize> {
    let (mut depth, mut quote) = (0, None);
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match (quote, c) {
            (_, '\\') => drop(chars.next()),
            (Some(open), c) if c == open => quote = None,
            (Some(_), _) => {}
            (None, '\'' | '"') => quote = Some(c),
            (None, '[' | '(') => depth += 1,
            (None, ')') => depth -= 1,
            (None, ']') if depth == 0 => return Some(at),
            (None, ']') => depth -= 1,
            _ => {}
        }
    }
    None
}

fn bracket(inside: &str) -> Result<Step, NotAPath> {
    if inside == "*" {
        return Ok(Step::All);
    }
    if let Some(filter) = inside.strip_prefix("?(").and_then(|rest| rest.strip_suffix(')')) {
        return self::filter(filter);
    }
    if let Some(name) = quoted(inside) {
        return Ok(Step::Field(name));
    }
    let number = |text: &str| text.trim().parse::<i64>().map_err(|_| NotAPath(format!("invalid array index {inside}")));
    if let Some((from, to)) = inside.split_once(':') {
        let end = |text: &str| if text.trim().is_empty() { Ok(None) } else { number(text).map(Some) };
        return Ok(Step::Slice(end(from)?, end(to)?));
    }
    number(inside).map(Step::Index)
}

fn quoted(text: &str) -> Option<String> {
    let quote = text.chars().next().filter(|c| matches!(c, '\'' | '"'))?;
    let inner = text.strip_prefix(quote)?.strip_suffix(quote)?;
    let mut plain = String::new();
    let mut chars = inner.chars();
    while let Some(c) = chars.next() {
        plain.push(if c == '\\' { chars.next()? } else { c });
    }
    Some(plain)
}

fn filter(text: &str) -> Result<Step, NotAPath> {
    use Comparison::{Equal, Greater, GreaterOrEqual, Less, LessOrEqual, NotEqual};
    let signs =
        [("==", Equal), ("!=", NotEqual), ("<=", LessOrEqual), (">=", GreaterOrEqual), ("<", Less), (">", Greater)];
    let (mut quote, mut split) = (None, None);
    for (at, c) in text.char_indices() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (None, '\'' | '"') => quote = Some(c),
            (None, _) if split.is_none() => {
                let rest = text.get(at..).unwrap_or_default();
                split = signs.iter().find(|(sign, _)| rest.starts_with(sign)).map(|(sign, of)| (at, sign.len(), *of));
            }
            _ => {}
        }
    }
    let operand = |text: &str| -> Result<Operand, NotAPath> {
        let text = text.trim();
        if let Some(path) = text.strip_prefix('@') {
            return JsonPath::parse(path).map(Operand::Path);
        }
        if let Some(text) = quoted(text) {
            return Ok(Operand::Literal(text.into()));
        }
        let literal =
            serde_json::from_str(text).map_err(|_| NotAPath(format!("unrecognized filter operand {text:?}")))?;
        Ok(Operand::Literal(literal))
    };
    match split {
        None => Ok(Step::Filter(operand(text)?, None)),
        Some((at, length, comparison)) => {
            let left = operand(text.get(..at).unwrap_or_default())?;
            let right = operand(text.get(at + length..).unwrap_or_default())?;
            Ok(Step::Filter(left, Some((comparison, right))))
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn found(path: &str) -> Vec<Value> {
        let object = json!({"spec": {"list": [{"a": 1}, {"a": 2}], "map": {"x.y": "z"}},
            "status": {"conditions": [{"type": "A", "status": "True"}, {"type": "Ready", "status": "False"}]}});
        JsonPath::parse(path).unwrap().find(&object).into_iter().cloned().collect()
    }

    #[test]
    fn paths_lead_where_upstreams_do() {
        assert_eq!(found(".spec.list[0].a"), [json!(1)]);
        assert_eq!(found(".spec.list[-1].a"), [json!(2)]);
        assert_eq!(found(".spec.list[*].a"), [json!(1), json!(2)]);
        assert_eq!(found(".spec.list[0:1].a"), [json!(1)]);
        assert_eq!(found(".spec.map['x.y']"), [json!("z")]);
        assert_eq!(found(".spec.map.x\\.y"), [json!("z")]);
        assert_eq!(found(".status.conditions[?(@.type==\"Ready\")].status"), [json!("False")]);
        assert_eq!(found(".status.conditions[?(@.type=='Ready')].status"), [json!("False")]);
        assert_eq!(found(".spec.list[?(@.a>1)].a"), [json!(2)]);
        assert_eq!(found(".spec..a"), [json!(1), json!(2)]);
        assert_eq!(found(".none.at.all"), [] as [Value; 0]);
        assert!(JsonPath::parse(".a[b]").is_err() && JsonPath::parse(".a[0").is_err());
        assert_eq!(JsonPath::parse(".spec.replicas").unwrap().fields(), Some(vec!["spec", "replicas"]));
    }

    proptest! {
        #[test]
        fn no_path_makes_it_panic(path in "[.\\[\\]()?@*'\"\\\\=<>:0-9a-zé -]{0,30}") {
            if let Ok(path) = JsonPath::parse(&path) {
                path.find(&json!({"a": [1, {"b": "c"}]}));
            }
        }
    }
}
