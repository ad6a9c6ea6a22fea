//! Patterns as Go's `regexp` (RE2) reads them: classes such as `\\d` are of ASCII, and some signs are just signs.

use regex::{Regex, RegexBuilder};

/// Said of a pattern that is larger than it may be.
const TOO_LARGE: &str = "expression too large";

/// Compiles a pattern, which may be as large as `limit` bytes compiled.
///
/// # Errors
/// Why it is none.
pub fn compile(pattern: &str, limit: usize) -> Result<Regex, String> {
    let built = RegexBuilder::new(&translate(pattern)?).size_limit(limit).dfa_size_limit(limit).build();
    built.map_err(|error| match error {
        regex::Error::CompiledTooBig(_) => TOO_LARGE.to_owned(),
        other => other.to_string(),
    })
}

/// About how many bytes a pattern takes compiled, which is at most `limit`; no more than four times what it really takes, or 4 KiB.
///
/// # Errors
/// Why it is none.
pub fn size(pattern: &str, limit: usize) -> Result<usize, String> {
    let mut most = limit.min(4096);
    loop {
        match compile(pattern, most) {
            Ok(_) => return Ok(most),
            Err(why) if why == TOO_LARGE && most < limit => most = limit.min(most * 4),
            Err(why) => return Err(why),
        }
    }
}

/// The same pattern as the regex crate writes it.
fn translate(pattern: &str) -> Result<String, String> {
    let mut text = String::with_capacity(pattern.len() + 16);
    let mut chars = pattern.chars().peekable();
    let mut class = false;
    // Whether what comes next is the first of a class, where a closing bracket is a sign.
    let mut first = false;
    let mut last = Last::Other;
    while let Some(c) = chars.next() {
        let was_first = std::mem::take(&mut first);
        let was = std::mem::replace(&mut last, Last::Other);
        match c {
            '\\' => escape(chars.next(), class, &mut chars, &mut text),
            '[' if class => match named_class(&chars)? {
                Some(name) => {
                    chars.nth(name.len() - 2);
                    text.push_str(&name);
                }
                // It is just a sign.
                None => text.push_str("\\["),
            },
            '[' => {
                class = true;
                first = true;
                text.push('[');
                text.extend(chars.next_if_eq(&'^'));
            }
            ']' if class && was_first => text.push_str("\\]"),
            ']' => {
                class = false;
                text.push(']');
            }
            // Two of these are operators on classes in the crate, and signs in Go.
            '&' | '~' | '-' if class && chars.peek() == Some(&c) => {
                text.push('\\');
                text.push(c);
            }
            '*' | '+' | '?' if !class => {
                last = was.and(&c.to_string())?;
                text.push(c);
            }
            '{' if !class => match counts(&chars)? {
                Some(counts) => {
                    last = was.and(&counts)?;
                    chars.nth(counts.len() - 2);
                    text.push_str(&counts);
                }
                // It is just a sign.
                None => text.push_str("\\{"),
            },
            other => text.push(other),
        }
    }
    Ok(text)
}

/// What stood before, as far as a repetition may follow it.
enum Last {
    Other,
    /// A repetition, which a question mark makes a lazy one.
    Repeated(String),
    Lazy(String),
}

impl Last {
    /// With a repetition after it.
    fn and(self, repetition: &str) -> Result<Self, String> {
        match self {
            Self::Other => Ok(Self::Repeated(repetition.to_owned())),
            Self::Repeated(before) if repetition == "?" => Ok(Self::Lazy(format!("{before}?"))),
            Self::Repeated(before) | Self::Lazy(before) => {
                Err(format!("invalid nested repetition operator: `{before}{repetition}`"))
            }
        }
    }
}

/// The names of classes that can stand in a class, such as `[:alpha:]`.
const NAMED: &[&str] = &[
    "alnum", "alpha", "ascii", "blank", "cntrl", "digit", "graph", "lower", "print", "punct", "space", "upper", "word",
    "xdigit",
];

/// `[:alpha:]` or `[:^alpha:]`, if it is that what comes after a bracket within a class. A colon before the end of a class is a sign like
/// others: `[a:]`.
fn named_class(rest: &std::iter::Peekable<std::str::Chars<'_>>) -> Result<Option<String>, String> {
    // No name is longer than a few letters, and a pattern may have a bracket at every place.
    let after: String = rest.clone().take(32).collect();
    let Some((name, _)) = after.strip_prefix(':').and_then(|after| after.split_once(":]")) else { return Ok(None) };
    let text = format!("[:{name}:]");
    match NAMED.contains(&name.strip_prefix('^').unwrap_or(name)) {
        true => Ok(Some(text)),
        false => Err(format!("invalid character class range: `{text}`")),
    }
}

/// `{2}`, `{2,}` or `{2,5}`, if it is that what comes after an opening brace.
fn counts(rest: &std::iter::Peekable<std::str::Chars<'_>>) -> Result<Option<String>, String> {
    let within: String = rest.clone().take_while(|c| *c != '}').take(32).collect();
    let (least, most) = within.split_once(',').unwrap_or((&within, ""));
    let plain = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if least.is_empty() || !plain(least) || !plain(most) || rest.clone().nth(within.len()) != Some('}') {
        return Ok(None);
    }
    let text = format!("{{{within}}}");
    let number = |text: &str| text.parse::<u32>().ok().filter(|number| *number <= REPEATED);
    let (few, many) = (number(least), number(if most.is_empty() { least } else { most }));
    if few.zip(many).is_none_or(|(few, many)| few > many) {
        return Err(format!("invalid repeat count: `{text}`"));
    }
    Ok(Some(text))
}

/// How often something can be repeated that is said to be repeated so many times, as in Go.
const REPEATED: u32 = 1000;

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
        Some(sort @ ('p' | 'P' | 'x')) => {
            text.extend(['\\', sort]);
            // What is in braces is a name or a number here, and no count.
            if chars.peek() == Some(&'{') {
                let ended = |before: &mut bool, c: char| (!std::mem::replace(before, c == '}')).then_some(c);
                let named: String = chars.clone().scan(false, ended).collect();
                chars.nth(named.chars().count().saturating_sub(1));
                text.push_str(&named);
            }
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
            ("^[[:^alpha:]_]+$", "1_", "a"),
            // What every operator's conditions have: a colon before the end of a class, and another class after it.
            ("^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$", "Ready", "Not ready"),
            ("^[a:]+[[:digit:]b]$", "a:1", "a:c"),
            ("^[[:]+$", "[:", "a"),
            ("^\\p{Lu}{1,3}[\\p{L}_]$", "ÉTÉé", "été"),
            ("^\\x{41}\\pL$", "Aé", "A1"),
            ("^\\Qa.b\\E$", "a.b", "axb"),
            ("^a\\/b\\_$", "a/b_", "a/b"),
            ("^[a\\-z]$", "-", "b"),
            ("^(\\S+ ){4}\\S+$", "* * * * 5", "* *"),
            ("^[^/]+/[^/]+$", "é/b", "b"),
            ("^[--/]$", ".", "0"),
            ("^{a}$", "{a}", "a"),
            ("^a{,2}$", "a{,2}", "aa"),
            ("^a{1,2}?b??$", "aab", "aaa"),
            ("^(?:a{2}){2}$", "aaaa", "aaa"),
        ] {
            let compiled = compile(pattern, 1 << 18).unwrap_or_else(|why| panic!("{pattern}: {why}"));
            assert!(compiled.is_match(good), "{pattern} {good}");
            assert!(!compiled.is_match(bad), "{pattern} {bad}");
        }
        for pattern in [
            "(",
            "[a",
            "*a",
            "\\",
            "(?=a)",
            "a++",
            "a**",
            "a{2}{3}",
            "a+?+",
            "a{1001}",
            "a{3,2}",
            "[[:word:]",
            "[[:letter:]]",
        ] {
            assert!(compile(pattern, 1 << 18).is_err(), "{pattern}");
        }
        assert_eq!(compile("(a{1000}){1000}", 1 << 18).unwrap_err(), TOO_LARGE);
    }

    #[test]
    fn what_a_pattern_takes_can_be_told_before_it_is_kept() {
        assert_eq!(size("^a$", 1 << 18), Ok(4096));
        assert!(size("[a-z]{1000}", 1 << 18).is_ok_and(|size| size > 16_384));
        assert_eq!(size("(a{1000}){1000}", 1 << 18).unwrap_err(), TOO_LARGE);
        assert!(size("(", 1 << 18).is_err());
    }
}
