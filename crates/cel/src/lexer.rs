//! From text to tokens (cel-spec, "Syntax").

use std::sync::Arc;

use crate::Issue;

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Token {
    Int(u64),
    Uint(u64),
    Double(f64),
    Text(Arc<str>),
    Bytes(Arc<[u8]>),
    Name(Arc<str>),
    /// In backticks: a field's name, whatever is in it.
    Quoted(Arc<str>),
    Sign(&'static str),
    End,
}

const SIGNS: &[&str] = &[
    "==", "!=", "<=", ">=", "&&", "||", "<", ">", "+", "-", "*", "/", "%", "!", "?", ":", ".", ",", "(", ")", "[", "]",
    "{", "}",
];

/// The tokens of a text and where each begins; the last is [`Token::End`].
pub(crate) fn tokens(text: &str) -> Result<Vec<(usize, Token)>, Issue> {
    let mut lexer = Lexer { text, at: 0 };
    let mut tokens = Vec::new();
    loop {
        lexer.skip();
        let at = lexer.at;
        let token = lexer.next()?;
        let end = token == Token::End;
        tokens.push((at, token));
        if end {
            return Ok(tokens);
        }
    }
}

struct Lexer<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Lexer<'a> {
    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn issue(&self, why: impl Into<String>) -> Issue {
        Issue::new(self.at, format!("Syntax error: {}", why.into()))
    }

    /// Passes over white space and comments.
    fn skip(&mut self) {
        loop {
            let rest = self.rest();
            let trimmed = rest.trim_start_matches([' ', '\t', '\n', '\r', '\u{c}']);
            self.at += rest.len() - trimmed.len();
            if !trimmed.starts_with("//") {
                return;
            }
            self.at += trimmed.find('\n').unwrap_or(trimmed.len());
        }
    }

    fn next(&mut self) -> Result<Token, Issue> {
        let rest = self.rest();
        let Some(first) = rest.chars().next() else { return Ok(Token::End) };
        if let Some(token) = self.quoted()? {
            return Ok(token);
        }
        if first.is_ascii_digit() || first == '.' && rest.chars().nth(1).is_some_and(|c| c.is_ascii_digit()) {
            return self.number();
        }
        if first.is_ascii_alphabetic() || first == '_' {
            let length = rest.bytes().take_while(|b| b.is_ascii_alphanumeric() || *b == b'_').count();
            self.at += length;
            return Ok(Token::Name(rest.get(..length).unwrap_or_default().into()));
        }
        if first == '`' {
            let inner = rest.get(1..).unwrap_or_default();
            let end = inner.find('`').ok_or_else(|| self.issue("a backtick is not closed"))?;
            self.at += end + 2;
            return Ok(Token::Quoted(inner.get(..end).unwrap_or_default().into()));
        }
        let sign = SIGNS.iter().find(|sign| rest.starts_with(**sign));
        let sign = sign.ok_or_else(|| self.issue(format!("token recognition error at: '{first}'")))?;
        self.at += sign.len();
        Ok(Token::Sign(sign))
    }

    fn number(&mut self) -> Result<Token, Issue> {
        let rest = self.rest();
        let wrong = |lexer: &Self, text: &str| lexer.issue(format!("invalid number {text}"));
        if let Some(hex) = rest.strip_prefix("0x").or_else(|| rest.strip_prefix("0X")) {
            let digits = hex.bytes().take_while(u8::is_ascii_hexdigit).count();
            let text = hex.get(..digits).unwrap_or_default();
            let value = u64::from_str_radix(text, 16).map_err(|_| wrong(self, text))?;
            self.at += 2 + digits;
            return Ok(self.integer(value));
        }
        let digits = |text: &str| text.bytes().take_while(u8::is_ascii_digit).count();
        let mut length = digits(rest);
        let mut whole = true;
        let after = |length: usize| rest.get(length..).unwrap_or_default();
        if let Some(fraction) = after(length).strip_prefix('.').map(digits).filter(|count| *count > 0) {
            whole = false;
            length += 1 + fraction;
        }
        if after(length).starts_with(['e', 'E']) {
            let sign = usize::from(after(length + 1).starts_with(['+', '-']));
            let exponent = digits(after(length + 1 + sign));
            if exponent > 0 {
                whole = false;
                length += 1 + sign + exponent;
            }
        }
        let text = rest.get(..length).unwrap_or_default();
        if whole {
            let value = text.parse().map_err(|_| wrong(self, text))?;
            self.at += length;
            return Ok(self.integer(value));
        }
        let value = text.parse().map_err(|_| wrong(self, text))?;
        self.at += length;
        Ok(Token::Double(value))
    }

    fn integer(&mut self, value: u64) -> Token {
        if self.rest().starts_with(['u', 'U']) {
            self.at += 1;
            return Token::Uint(value);
        }
        Token::Int(value)
    }

    /// A text or bytes literal, with its prefixes.
    fn quoted(&mut self) -> Result<Option<Token>, Issue> {
        let rest = self.rest();
        let prefix = rest.bytes().take_while(|b| matches!(b, b'r' | b'R' | b'b' | b'B')).count().min(2);
        let body = rest.get(prefix..).unwrap_or_default();
        let Some(quote) = ["\"\"\"", "'''", "\"", "'"].into_iter().find(|quote| body.starts_with(quote)) else {
            return Ok(None);
        };
        let has = |letters: [char; 2]| rest.get(..prefix).unwrap_or_default().contains(letters);
        let (raw, bytes) = (has(['r', 'R']), has(['b', 'B']));
        let inner = body.get(quote.len()..).unwrap_or_default();
        let mut found = Vec::new();
        let mut chars = inner.char_indices();
        loop {
            let Some((at, c)) = chars.next() else { return Err(self.issue("a text is not closed")) };
            if inner.get(at..).unwrap_or_default().starts_with(quote) {
                self.at += prefix + quote.len() + at + quote.len();
                break;
            }
            if matches!(c, '\n' | '\r') && quote.len() == 1 {
                return Err(self.issue("a text is not closed"));
            }
            if c == '\\' && !raw {
                let escaped = inner.get(at + 1..).unwrap_or_default();
                let used = escape(escaped, bytes, &mut found).ok_or_else(|| self.issue("invalid escape in a text"))?;
                for _ in escaped.get(..used).unwrap_or_default().chars() {
                    chars.next();
                }
            } else {
                found.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
            }
        }
        if bytes {
            return Ok(Some(Token::Bytes(found.into())));
        }
        let text = String::from_utf8(found).map_err(|_| self.issue("invalid escape in a text"))?;
        Ok(Some(Token::Text(text.into())))
    }
}

/// Takes in what an escape stands for; gives the bytes after the backslash that it is made of.
fn escape(text: &str, bytes: bool, found: &mut Vec<u8>) -> Option<usize> {
    let simple = |c| {
        Some(match c {
            'a' => 7,
            'b' => 8,
            'f' => 12,
            'n' => b'\n',
            'r' => b'\r',
            't' => b'\t',
            'v' => 11,
            '\\' | '\'' | '"' | '`' | '?' => u8::try_from(u32::from(c)).ok()?,
            _ => return None,
        })
    };
    let first = text.chars().next()?;
    if let Some(byte) = simple(first) {
        found.push(byte);
        return Some(1);
    }
    let (skip, digits, radix) = match first {
        'x' | 'X' => (1, 2, 16),
        'u' if !bytes => (1, 4, 16),
        'U' if !bytes => (1, 8, 16),
        '0'..='3' => (0, 3, 8),
        _ => return None,
    };
    let code = u32::from_str_radix(text.get(skip..skip + digits)?, radix).ok()?;
    if bytes {
        found.push(u8::try_from(code).ok()?);
    } else {
        found.extend_from_slice(char::from_u32(code)?.encode_utf8(&mut [0; 4]).as_bytes());
    }
    Some(skip + digits)
}
