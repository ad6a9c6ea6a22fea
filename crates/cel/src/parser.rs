//! From tokens to expressions: precedence climbing, with a bound on depth and size.

use std::sync::Arc;

use crate::{
    Issue,
    ast::{Expr, Literal, Node},
    lexer::{Token, tokens},
    macros,
    types::NAMES,
};

/// Expressions within expressions, at most.
const DEPTH: usize = 150;
/// Parts of one expression, at most.
const PARTS: usize = 10_000;
/// Bytes of one expression, at most.
const BYTES: usize = 64 * 1024;

/// Words that cannot be names of variables.
const RESERVED: &[&str] = &[
    "as",
    "break",
    "const",
    "continue",
    "else",
    "for",
    "function",
    "if",
    "import",
    "let",
    "loop",
    "package",
    "namespace",
    "return",
    "var",
    "void",
    "while",
];

/// Whether a word cannot be a name: one of the language's own, or one that it keeps for later.
pub fn is_reserved(word: &str) -> bool {
    matches!(word, "true" | "false" | "null" | "in") || RESERVED.contains(&word)
}

/// Binary operators, and how tightly they bind.
const OPERATORS: &[(&str, u8)] = &[
    ("||", 1),
    ("&&", 2),
    ("==", 3),
    ("!=", 3),
    ("<", 3),
    ("<=", 3),
    (">", 3),
    (">=", 3),
    ("in", 3),
    ("+", 4),
    ("-", 4),
    ("*", 5),
    ("/", 5),
    ("%", 5),
];

/// Parses a whole expression.
pub(crate) fn parse(text: &str) -> Result<Expr, Issue> {
    if text.len() > BYTES {
        return Err(Issue::new(
            0,
            format!("expression code point size exceeds limit: size: {}, limit {BYTES}", text.len()),
        ));
    }
    let mut parser = Parser { tokens: tokens(text)?, at: 0, depth: 0, parts: 0 };
    let expr = parser.expression()?;
    match parser.peek() {
        Token::End => Ok(expr),
        other => {
            // One sign too many is that; more are something else, as ANTLR's parsers say it.
            let is_last = matches!(parser.tokens.get(parser.at + 1), None | Some((_, Token::End)));
            let what = if is_last { "extraneous" } else { "mismatched" };
            Err(parser.issue(&format!("{what} input {} expecting <EOF>", shown(other))))
        }
    }
}

struct Parser {
    tokens: Vec<(usize, Token)>,
    at: usize,
    depth: usize,
    parts: usize,
}

fn shown(token: &Token) -> String {
    match token {
        Token::Int(n) => format!("'{n}'"),
        Token::Uint(n) => format!("'{n}u'"),
        Token::Double(n) => format!("'{n}'"),
        Token::Text(text) => format!("{text:?}"),
        Token::Bytes(_) => "bytes".to_owned(),
        Token::Name(name) | Token::Quoted(name) => format!("'{name}'"),
        Token::Sign(sign) => format!("'{sign}'"),
        Token::End => "'<EOF>'".to_owned(),
    }
}

impl Parser {
    fn peek(&self) -> &Token {
        self.tokens.get(self.at).map_or(&Token::End, |(_, token)| token)
    }

    fn position(&self) -> usize {
        self.tokens.get(self.at).or(self.tokens.last()).map_or(0, |(at, _)| *at)
    }

    fn issue(&self, why: &str) -> Issue {
        Issue::new(self.position(), format!("Syntax error: {why}"))
    }

    fn advance(&mut self) -> Token {
        let token = self.peek().clone();
        self.at += 1;
        token
    }

    fn is(&self, sign: &str) -> bool {
        matches!(self.peek(), Token::Sign(found) if *found == sign)
    }

    fn take(&mut self, sign: &str) -> bool {
        let found = self.is(sign);
        self.at += usize::from(found);
        found
    }

    fn expect(&mut self, sign: &str) -> Result<(), Issue> {
        if self.take(sign) {
            Ok(())
        } else {
            Err(self.issue(&format!("mismatched input {} expecting '{sign}'", shown(self.peek()))))
        }
    }

    fn make(&mut self, at: usize, of: Node) -> Result<Expr, Issue> {
        self.parts += 1;
        if self.parts > PARTS {
            return Err(Issue::new(at, format!("the expression has more than {PARTS} parts")));
        }
        let depth = of.depth() + 1;
        if depth > DEPTH {
            return Err(Issue::new(at, format!("max recursion depth exceeded: {DEPTH}")));
        }
        Ok(Expr { id: self.parts, at, depth, of })
    }

    fn call(&mut self, at: usize, name: &str, arguments: Vec<Expr>) -> Result<Expr, Issue> {
        self.make(at, Node::Call { target: None, name: name.into(), arguments })
    }

    fn nested<T>(&mut self, parse: impl FnOnce(&mut Self) -> Result<T, Issue>) -> Result<T, Issue> {
        if self.depth == DEPTH {
            return Err(self.issue(&format!("max recursion depth exceeded: {DEPTH}")));
        }
        self.depth += 1;
        let parsed = parse(self);
        self.depth -= 1;
        parsed
    }

    fn expression(&mut self) -> Result<Expr, Issue> {
        self.nested(|parser| {
            let condition = parser.binary(1)?;
            let at = parser.position();
            if !parser.take("?") {
                return Ok(condition);
            }
            let then = parser.binary(1)?;
            parser.expect(":")?;
            let otherwise = parser.expression()?;
            parser.call(at, "?:", vec![condition, then, otherwise])
        })
    }

    fn binary(&mut self, least: u8) -> Result<Expr, Issue> {
        self.nested(|parser| {
            let mut left = parser.unary()?;
            let mut chained = false;
            loop {
                let operator = match parser.peek() {
                    Token::Sign(sign) => *sign,
                    Token::Name(name) if &**name == "in" => "in",
                    _ => return Ok(left),
                };
                let found = OPERATORS.iter().find(|(sign, power)| *sign == operator && *power >= least);
                let Some((sign, power)) = found else { return Ok(left) };
                let at = parser.position();
                parser.at += 1;
                let right = parser.binary(power + 1)?;
                // `a || b || c` is one call, however long: a chain of conditions is no deeper than its parts.
                left = match left.of {
                    Node::Call { target: None, name, mut arguments } if **sign == *name && *power <= 2 && chained => {
                        arguments.push(right);
                        parser.make(left.at, Node::Call { target: None, name, arguments })?
                    }
                    of => parser.call(at, sign, vec![Expr { of, ..left }, right])?,
                };
                chained = *power <= 2;
            }
        })
    }

    fn unary(&mut self) -> Result<Expr, Issue> {
        let at = self.position();
        if self.take("!") {
            let operand = self.nested(Self::unary)?;
            return self.call(at, "!_", vec![operand]);
        }
        if self.take("-") {
            // The least integer has no positive counterpart.
            if let Token::Int(value) = *self.peek() {
                let negative = 0_i64.checked_sub_unsigned(value).ok_or_else(|| self.issue("invalid int literal"))?;
                self.at += 1;
                let literal = self.make(at, Node::Literal(Literal::Int(negative)))?;
                return self.members(literal);
            }
            if let Token::Double(value) = *self.peek() {
                self.at += 1;
                let literal = self.make(at, Node::Literal(Literal::Double(-value)))?;
                return self.members(literal);
            }
            let operand = self.nested(Self::unary)?;
            return self.call(at, "-_", vec![operand]);
        }
        let primary = self.primary()?;
        self.members(primary)
    }

    fn members(&mut self, mut operand: Expr) -> Result<Expr, Issue> {
        loop {
            let at = self.position();
            if self.take(".") {
                let optional = self.take("?");
                let field = match self.advance() {
                    Token::Name(name) if !matches!(&*name, "in" | "true" | "false" | "null") => name,
                    Token::Quoted(name) => name,
                    other => {
                        return Err(Issue::new(
                            at,
                            format!("Syntax error: mismatched input {} expecting IDENTIFIER", shown(&other)),
                        ));
                    }
                };
                if !optional && self.take("(") {
                    let arguments = self.arguments(")")?;
                    operand = self.method(at, operand, field, arguments)?;
                } else {
                    let selected = Node::Select { operand: Box::new(operand), field, test: false, optional };
                    // The name of a type can have dots.
                    let of = selected.path().filter(|path| NAMES.contains(&path.as_str()));
                    operand = self.make(at, of.map_or(selected, |path| Node::Name(path.into())))?;
                }
            } else if self.take("[") {
                let name = if self.take("?") { "[?]" } else { "[]" };
                let index = self.expression()?;
                self.expect("]")?;
                operand = self.call(at, name, vec![operand, index])?;
            } else {
                return Ok(operand);
            }
        }
    }

    fn method(&mut self, at: usize, target: Expr, name: Arc<str>, arguments: Vec<Expr>) -> Result<Expr, Issue> {
        let node = macros::method(at, target, name, arguments)?;
        self.make(at, node)
    }

    fn arguments(&mut self, end: &str) -> Result<Vec<Expr>, Issue> {
        let mut arguments = Vec::new();
        while !self.take(end) {
            arguments.push(self.expression()?);
            if !self.take(",") {
                self.expect(end)?;
                break;
            }
        }
        Ok(arguments)
    }

    fn primary(&mut self) -> Result<Expr, Issue> {
        let at = self.position();
        let literal = match self.advance() {
            Token::Sign("(") => {
                let inner = self.expression()?;
                self.expect(")")?;
                return Ok(inner);
            }
            Token::Sign("[") => return self.list(at),
            Token::Sign("{") => return self.map(at),
            // A leading dot means the outermost scope, which is the only one here.
            Token::Sign(".") => match self.advance() {
                Token::Name(name) => return self.name(at, name),
                other => return Err(Issue::new(at, format!("Syntax error: extraneous input {}", shown(&other)))),
            },
            Token::Name(name) => return self.name(at, name),
            Token::Int(value) => Literal::Int(
                i64::try_from(value).map_err(|_| Issue::new(at, "Syntax error: invalid int literal".to_owned()))?,
            ),
            Token::Uint(value) => Literal::Uint(value),
            Token::Double(value) => Literal::Double(value),
            Token::Text(text) => Literal::Text(text),
            Token::Bytes(bytes) => Literal::Bytes(bytes),
            other => {
                let why = format!("Syntax error: mismatched input {} expecting an expression", shown(&other));
                return Err(Issue::new(at, why));
            }
        };
        self.make(at, Node::Literal(literal))
    }

    fn name(&mut self, at: usize, name: Arc<str>) -> Result<Expr, Issue> {
        let literal = match &*name {
            "true" => Some(Literal::Bool(true)),
            "false" => Some(Literal::Bool(false)),
            "null" => Some(Literal::Null),
            _ => None,
        };
        if let Some(literal) = literal {
            return self.make(at, Node::Literal(literal));
        }
        if RESERVED.contains(&&*name) || &*name == "in" {
            return Err(Issue::new(at, format!("Syntax error: reserved identifier: {name}")));
        }
        if self.take("(") {
            let arguments = self.arguments(")")?;
            let node = macros::function(at, name, arguments)?;
            return self.make(at, node);
        }
        self.make(at, Node::Name(name))
    }

    fn list(&mut self, at: usize) -> Result<Expr, Issue> {
        let mut elements = Vec::new();
        while !self.take("]") {
            let optional = self.take("?");
            elements.push((self.expression()?, optional));
            if !self.take(",") {
                self.expect("]")?;
                break;
            }
        }
        self.make(at, Node::List(elements))
    }

    fn map(&mut self, at: usize) -> Result<Expr, Issue> {
        let mut entries = Vec::new();
        while !self.take("}") {
            let optional = self.take("?");
            let key = self.expression()?;
            self.expect(":")?;
            entries.push((key, self.expression()?, optional));
            if !self.take(",") {
                self.expect("}")?;
                break;
            }
        }
        self.make(at, Node::Map(entries))
    }
}
