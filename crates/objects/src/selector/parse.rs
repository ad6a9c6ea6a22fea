//! The text form of label selectors, as upstream's lexer and parser take it apart (`apimachinery/pkg/labels`).

use super::{
    NotASelector,
    labels::{Operator, Requirement},
};
use crate::names;

/// Operators between a key and its values, and how messages list them.
const OPERATORS: &[(&str, Operator)] = &[
    ("in", Operator::In),
    ("notin", Operator::NotIn),
    ("=", Operator::Equal),
    ("==", Operator::Equals),
    ("!=", Operator::NotEqual),
    (">", Operator::Greater),
    ("<", Operator::Less),
];
const LISTED: &str = "in, notin, =, ==, !=, gt, lt";

/// A piece of the text: a sign, a word, or the end, which is empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Token<'a> {
    Sign(&'a str),
    Word(&'a str),
}

const END: Token<'static> = Token::Sign("");

impl<'a> Token<'a> {
    fn text(self) -> &'a str {
        let (Self::Sign(text) | Self::Word(text)) = self;
        text
    }
}

fn is_sign(c: char) -> bool {
    "=!(),><".contains(c)
}

fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\r' | '\n')
}

fn tokens(text: &str) -> Vec<Token<'_>> {
    let mut all = Vec::new();
    let mut rest = text.trim_start_matches(is_space);
    while !rest.is_empty() {
        let word = rest.find(|c| is_sign(c) || is_space(c)).unwrap_or(rest.len());
        // The longest sign that there is.
        let sign = ["==", "!=", "=", "!", "(", ")", ",", ">", "<"].into_iter().find(|sign| rest.starts_with(sign));
        let (token, after) = match sign {
            Some(sign) => (Token::Sign(sign), rest.get(sign.len()..)),
            None => (Token::Word(rest.get(..word).unwrap_or_default()), rest.get(word..)),
        };
        all.push(token);
        rest = after.unwrap_or_default().trim_start_matches(is_space);
    }
    all
}

struct Parser<'a> {
    tokens: Vec<Token<'a>>,
    at: usize,
}

fn wrong<T>(found: Token<'_>, expected: &str) -> Result<T, NotASelector> {
    Err(NotASelector(format!("found '{}', expected: {expected}", found.text())))
}

/// The requirements of a text, in its order.
pub(super) fn requirements(text: &str) -> Result<Vec<Requirement>, NotASelector> {
    let mut parser = Parser { tokens: tokens(text), at: 0 };
    let mut all = Vec::new();
    loop {
        match parser.peek() {
            END => return Ok(all),
            Token::Word(_) | Token::Sign("!") => {}
            other => return wrong(other, "!, identifier, or 'end of string'"),
        }
        let requirement = parser.requirement();
        all.push(requirement.map_err(|NotASelector(why)| NotASelector(format!("unable to parse requirement: {why}")))?);
        match parser.next() {
            END => return Ok(all),
            Token::Sign(",") => match parser.peek() {
                Token::Word(_) | Token::Sign("!") => {}
                other => return wrong(other, "identifier after ','"),
            },
            other => return wrong(other, "',' or 'end of string'"),
        }
    }
}

impl<'a> Parser<'a> {
    fn peek(&self) -> Token<'a> {
        self.tokens.get(self.at).copied().unwrap_or(END)
    }

    fn next(&mut self) -> Token<'a> {
        let token = self.peek();
        self.at += 1;
        token
    }

    fn requirement(&mut self) -> Result<Requirement, NotASelector> {
        let absent = self.peek() == Token::Sign("!");
        self.at += usize::from(absent);
        let key = match self.next() {
            Token::Word(key) => key.to_owned(),
            other => return wrong(other, "identifier"),
        };
        let issues = names::qualified_name(&key);
        if !issues.is_empty() {
            return Err(NotASelector(format!("<nil>: Invalid value: {key:?}: {}", issues.join("; "))));
        }
        if absent {
            return Ok(Requirement::new(key, Operator::Absent, Vec::new()));
        }
        if matches!(self.peek(), END | Token::Sign(",")) {
            return Ok(Requirement::new(key, Operator::Exists, Vec::new()));
        }
        let sign = self.next();
        let Some((_, operator)) = OPERATORS.iter().find(|(text, _)| *text == sign.text()) else {
            return wrong(sign, LISTED);
        };
        let values = match operator {
            Operator::In | Operator::NotIn => self.values()?,
            _ => vec![self.value()?],
        };
        check(Requirement::new(key, *operator, values))
    }

    /// `(a,b)`; nothing between two commas is the empty value.
    fn values(&mut self) -> Result<Vec<String>, NotASelector> {
        match self.next() {
            Token::Sign("(") => {}
            other => return Err(NotASelector(format!("found '{}' expected: '('", other.text()))),
        }
        let mut values = Vec::new();
        match self.peek() {
            Token::Word(_) | Token::Sign("," | ")") => {}
            other => return wrong(other, "',', ')' or identifier"),
        }
        loop {
            match self.peek() {
                Token::Word(value) => {
                    self.at += 1;
                    values.push(value.to_owned());
                }
                Token::Sign("," | ")") => values.push(String::new()),
                other => return wrong(other, "',', or identifier"),
            }
            match self.next() {
                Token::Sign(")") => return Ok(values),
                Token::Sign(",") => {}
                other => return wrong(other, "',' or ')'"),
            }
        }
    }

    /// What follows an operator; nothing is the empty value.
    fn value(&mut self) -> Result<String, NotASelector> {
        match self.peek() {
            END | Token::Sign(",") => Ok(String::new()),
            Token::Word(value) => {
                self.at += 1;
                Ok(value.to_owned())
            }
            other => wrong(other, "identifier"),
        }
    }
}

/// A requirement whose values can be values of labels, or numbers where they are compared.
fn check(requirement: Requirement) -> Result<Requirement, NotASelector> {
    let Requirement { key, operator, values } = &requirement;
    for (index, value) in values.iter().enumerate() {
        let compares = matches!(operator, Operator::Greater | Operator::Less);
        if compares && value.parse::<i64>().is_err() {
            return Err(NotASelector(format!(
                "values[{index}]: Invalid value: {value:?}: for 'Gt', 'Lt' operators, the value must be an integer"
            )));
        }
        let issues = names::label_value(value);
        if !issues.is_empty() {
            return Err(NotASelector(format!(
                "values[{index}][{key}]: Invalid value: {value:?}: {}",
                issues.join("; ")
            )));
        }
    }
    Ok(requirement)
}
