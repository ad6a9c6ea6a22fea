//! Patterns as Go's `regexp` (RE2) reads them: classes such as `\\d` are of ASCII, and some signs are just signs.

use regex::{Regex, RegexBuilder};

/// Compiles a pattern, which may be as large as `limit` bytes compiled.
///
/// # Errors
/// Why it is none.
pub fn compile(pattern: &str, limit: usize) -> Result<Regex, String> {
    let built = RegexBuilder::new(&translate(pattern)).size_limit(limit).dfa_size_limit(limit).build();
    built.map_err(|error| match error {
        regex::Error::CompiledTooBig(_) => "expression too large".to_owned(),
        other => other.to_string(),
    })
}

/// The same pattern as the regex crate writes it.
fn translate(pattern: &str) -> String {
    let mut text = String::with_capacity(pattern.len() + 16);
    let mut chars = pattern.chars().peekable();
    let mut class = false;
    // Whether what comes next is the first of a class, where a closing bracket is a sign.
    let mut first = false;
    while let Some(c) = chars.next() {
        let was_first = std::mem::take(&mut first);
        match c {
            '\\' => escape(chars.next(), class, &mut chars, &mut text),
            '[' if class => {
                if chars.peek() == Some(&':') {
                    text.push('[');
                } else {
                    text.push_str("\\[");
                }
            }
            '[' => {
                class = true;
                first = true;
                text.push('[');
                text.extend(chars.next_if_eq(&'^'));
            }
            ']' if class && was_first => text.push_str("\\]"),
            ']' if class && text.ends_with(':') => text.push(']'),
            ']' => {
                class = false;
                text.push(']');
            }
            // Two of these are operators on classes in the crate, and signs in Go.
            '&' | '~' | '-' if class && chars.peek() == Some(&c) => {
                text.push('\\');
                text.push(c);
            }
            other => text.push(other),
        }
    }
    text
}

fn escape(escaped: Option<char>, class: bool, chars: &mut std::iter::Peekable<std::str::Chars<'_>>, text: &mut String) {
    match escaped {
        Some('d') => text.push_str("[0-9]"),
        Some('D') => text.push_str("[^0-9]"),
        Some('w') => text.push_str("[0-9A-Za-z_]"),
        Some('W') => text.push_str("[^0-9A-Za-z_]"),
        Some('s') => text.push_str("[\\t\\n\\x0c\\r ]"),
        Some('S') => text.push_str("[^\\t\\n\\x0c\\r ]"),
        Some('b') if !class => text.push_str("(?-u:\\b)"),
        Some('Q') => {
            // Up to `\E` everything is what it is.
            let mut quoted = String::new();
            while let Some(c) = chars.next() {
                if c == '\\' && chars.next_if_eq(&'E').is_some() {
                    break;
                }
                quoted.push(c);
            }
            text.push_str(&regex::escape(&quoted));
        }
        Some(sign) if sign.is_ascii_punctuation() => text.push_str(&regex::escape(&sign.to_string())),
        Some(other) => {
            text.push('\\');
            text.push(other);
        }
        None => text.push('\\'),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_mean_what_they_mean_to_go() {
        for (pattern, good, bad) in [
            ("^\\d+$", "12", "١٢"),
            ("^[\\w.]+$", "a_1.", "é"),
            ("^\\S+$", "a\u{a0}b", "a b"),
            ("\\bis\\b", "so is it", "this"),
            ("^[[a]$", "[", "b"),
            ("^[]a]$", "]", "b"),
            ("^[a&&b]+$", "a&b", "c"),
            ("^[[:alpha:]]+$", "ab", "a1"),
            ("^\\Qa.b\\E$", "a.b", "axb"),
            ("^a\\/b\\_$", "a/b_", "a/b"),
            ("^[a\\-z]$", "-", "b"),
            ("^(\\S+ ){4}\\S+$", "* * * * 5", "* *"),
            ("^[^/]+/[^/]+$", "é/b", "b"),
            ("^[--/]$", ".", "0"),
        ] {
            let compiled = compile(pattern, 1 << 18).unwrap_or_else(|why| panic!("{pattern}: {why}"));
            assert!(compiled.is_match(good), "{pattern} {good}");
            assert!(!compiled.is_match(bad), "{pattern} {bad}");
        }
        for pattern in ["(", "[a", "*a", "\\", "(?=a)"] {
            assert!(compile(pattern, 1 << 18).is_err(), "{pattern}");
        }
        assert_eq!(compile("(a{1000}){1000}", 1 << 18).unwrap_err(), "expression too large");
    }
}
