//! YAML as kustomize prints it: block style, two spaces, lists not indented below their key, keys in natural order.

use std::cmp::Ordering;

use serde_json::{Map, Number, Value};

use super::{Dialect, scalar};

/// Where long plain and quoted text is folded.
const WIDTH: usize = 80;
/// Longer keys are written with an explicit `?`.
const LONGEST_SIMPLE_KEY: usize = 128;

/// One document, ending with a line break.
pub(crate) fn emit(value: &Value) -> String {
    let mut out = Emitter { out: String::new(), column: 0 };
    out.value(value, 0, Place::Root);
    out.line_break(0);
    out.out
}

/// What stands before a value on its line.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Nothing.
    Root,
    /// `key:`.
    Field,
    /// `-`.
    Item,
}

struct Emitter {
    out: String,
    column: usize,
}

impl Emitter {
    fn put(&mut self, text: &str) {
        self.out.push_str(text);
        self.column += text.chars().count();
    }

    fn line_break(&mut self, indent: usize) {
        if self.column > 0 {
            self.out.push('\n');
        }
        self.out.extend(std::iter::repeat_n(' ', indent));
        self.column = indent;
    }

    /// `indent` is that of the block that the value stands in.
    fn value(&mut self, value: &Value, indent: usize, place: Place) {
        match value {
            Value::Object(fields) if !fields.is_empty() => self.mapping(fields, indent, place),
            Value::Array(items) if !items.is_empty() => self.sequence(items, indent, place),
            simple => {
                if place != Place::Root {
                    self.put(" ");
                }
                self.simple(simple, indent);
            }
        }
    }

    fn mapping(&mut self, fields: &Map<String, Value>, indent: usize, place: Place) {
        let inner = if place == Place::Root { indent } else { indent + 2 };
        let mut sorted: Vec<_> = fields.iter().map(|(key, value)| (natural(key), key, value)).collect();
        sorted.sort_by(|a, b| compare(&a.0, &b.0).then_with(|| a.1.cmp(b.1)));
        for (n, (_, key, value)) in sorted.into_iter().enumerate() {
            match (n, place) {
                (0, Place::Root) => {}
                (0, Place::Item) => self.put(" "),
                _ => self.line_break(inner),
            }
            if key.chars().count() > LONGEST_SIMPLE_KEY || key.contains('\n') {
                self.put("? ");
                self.text(key, inner);
                self.line_break(inner);
            } else {
                // Plain, it would be read back as a merge key.
                if key == "<<" { self.double(key, inner) } else { self.text(key, inner) }
            }
            self.put(":");
            self.value(value, inner, Place::Field);
        }
    }

    fn sequence(&mut self, items: &[Value], indent: usize, place: Place) {
        let inner = if place == Place::Item { indent + 2 } else { indent };
        for (n, item) in items.iter().enumerate() {
            match (n, place) {
                (0, Place::Root) => {}
                (0, Place::Item) => self.put(" "),
                _ => self.line_break(inner),
            }
            self.put("-");
            self.value(item, inner, Place::Item);
        }
    }

    fn simple(&mut self, value: &Value, indent: usize) {
        match value {
            Value::Null => self.put("null"),
            Value::Bool(yes) => self.put(if *yes { "true" } else { "false" }),
            Value::Number(number) => self.put(&number_text(number)),
            Value::String(text) => self.text(text, indent),
            Value::Array(_) => self.put("[]"),
            Value::Object(_) => self.put("{}"),
        }
    }

    fn text(&mut self, text: &str, indent: usize) {
        let shape = Shape::of(text);
        let resolves = scalar::plain(text, Dialect::Kubectl).is_ok_and(|v| v.is_string()) && !looks_old(text);
        let inner = indent + 2;
        if text.contains('\n') && shape.block {
            self.literal(text, inner);
        } else if (resolves || text.contains('\n')) && !shape.special {
            match (shape.plain && !text.contains('\n'), shape.single) {
                (true, _) => self.folded(text, inner),
                (false, true) if !text.contains('\n') => {
                    self.put("'");
                    self.folded(&text.replace('\'', "''"), inner);
                    self.put("'");
                }
                _ => self.double(text, inner),
            }
        } else {
            self.double(text, inner);
        }
    }

    fn literal(&mut self, text: &str, indent: usize) {
        self.put("|");
        if text.starts_with([' ', '\n']) {
            self.put("2");
        }
        let body = text.trim_end_matches('\n');
        let breaks = text.len() - body.len();
        match breaks {
            0 => self.put("-"),
            1 if !body.is_empty() => {}
            _ => self.put("+"),
        }
        for line in text.strip_suffix('\n').unwrap_or(text).split('\n') {
            self.out.push('\n');
            self.column = 0;
            if !line.is_empty() {
                self.out.extend(std::iter::repeat_n(' ', indent));
                self.put(line);
            }
        }
        // A literal that keeps its line breaks has them in the text already.
        self.column = self.column.max(1);
    }

    /// Text broken at single spaces once the line is full.
    fn folded(&mut self, text: &str, indent: usize) {
        let chars: Vec<char> = text.chars().collect();
        for (n, c) in chars.iter().enumerate() {
            let inside = n > 0 && n + 1 < chars.len();
            let single = inside && chars.get(n - 1) != Some(&' ') && chars.get(n + 1) != Some(&' ');
            if *c == ' ' && single && self.column > WIDTH {
                self.line_break(indent);
            } else {
                self.out.push(*c);
                self.column += 1;
            }
        }
    }

    fn double(&mut self, text: &str, indent: usize) {
        self.put("\"");
        let chars: Vec<char> = text.chars().collect();
        let mut spaces = false;
        for (n, c) in chars.iter().enumerate() {
            if *c == ' ' && !spaces && self.column > WIDTH && n > 0 && n + 1 < chars.len() {
                self.line_break(indent);
                if chars.get(n + 1) == Some(&' ') {
                    self.put("\\");
                }
                spaces = true;
                continue;
            }
            spaces = *c == ' ';
            match escape(*c) {
                Some(escaped) => self.put(&escaped),
                None => {
                    self.out.push(*c);
                    self.column += 1;
                }
            }
        }
        self.put("\"");
    }
}

fn escape(c: char) -> Option<String> {
    Some(match c {
        '"' => "\\\"".to_owned(),
        '\\' => "\\\\".to_owned(),
        '\0' => "\\0".to_owned(),
        '\u{7}' => "\\a".to_owned(),
        '\u{8}' => "\\b".to_owned(),
        '\t' => "\\t".to_owned(),
        '\n' => "\\n".to_owned(),
        '\u{b}' => "\\v".to_owned(),
        '\u{c}' => "\\f".to_owned(),
        '\r' => "\\r".to_owned(),
        '\u{1b}' => "\\e".to_owned(),
        '\u{85}' => "\\N".to_owned(),
        '\u{2028}' => "\\L".to_owned(),
        '\u{2029}' => "\\P".to_owned(),
        c if is_printable(c) => return None,
        c if u32::from(c) <= 0xff => format!("\\x{:02X}", u32::from(c)),
        c if u32::from(c) <= 0xffff => format!("\\u{:04X}", u32::from(c)),
        c => format!("\\U{:08X}", u32::from(c)),
    })
}

/// What may stand unescaped; a tab may not, nor what UTF-8 writes with four bytes.
fn is_printable(c: char) -> bool {
    matches!(c, ' '..='~' | '\u{a0}'..='\u{d7ff}' | '\u{e000}'..='\u{fffd}')
        && !matches!(c, '\u{2028}' | '\u{2029}' | '\u{feff}')
}

/// Whether a text can be printed as a block; otherwise it is quoted.
pub(super) fn can_be_block(text: &str) -> bool {
    Shape::of(text).block
}

/// Which styles can carry a text unchanged.
struct Shape {
    plain: bool,
    single: bool,
    block: bool,
    special: bool,
}

impl Shape {
    fn of(text: &str) -> Self {
        let special = text.chars().any(|c| c != '\n' && !is_printable(c));
        let broken = text.contains(" \n");
        let mut indicator = text.starts_with("---") || text.starts_with("...");
        let mut previous = None;
        for (at, c) in text.char_indices() {
            let next = text[at + c.len_utf8()..].chars().next();
            let spaced = next.is_none_or(|n| matches!(n, ' ' | '\t' | '\n'));
            indicator |= match c {
                '#' => previous.is_none_or(|p| matches!(p, ' ' | '\t' | '\n')),
                ',' | '[' | ']' | '{' | '}' | '&' | '*' | '!' | '|' | '>' | '\'' | '"' | '%' | '@' | '`' => at == 0,
                '-' | '?' => at == 0 && spaced,
                ':' => spaced,
                _ => false,
            };
            previous = Some(c);
        }
        let edges = text.starts_with(' ') || text.ends_with(' ');
        Self {
            plain: !indicator && !edges && !special && !text.is_empty(),
            single: !special && !broken && !text.contains("\n "),
            block: !special && !broken && !text.ends_with(' '),
            special,
        }
    }
}

/// Sexagesimal numbers and dates, which kustomize quotes although few readers take them for anything but text any more.
fn looks_old(text: &str) -> bool {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let mut parts = unsigned.split(':');
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit() || b == b'_');
    let first = parts.next().is_some_and(|p| digits(p) && p.starts_with(|c: char| c.is_ascii_digit()));
    let rest: Vec<_> = parts.collect();
    let last = rest.len().wrapping_sub(1);
    let minute = |(n, part): (usize, &&str)| {
        let whole = if n == last { part.split_once('.').map_or(*part, |(whole, _)| whole) } else { part };
        matches!(whole.as_bytes(), [b'0'..=b'9'] | [b'0'..=b'5', b'0'..=b'9'])
    };
    let is_time = first && !rest.is_empty() && rest.iter().enumerate().all(minute);
    is_time || scalar::timestamp(text).is_some()
}

/// As Go prints a float: the shortest digits, with an exponent outside of 1e-4 to 1e6. What is whole is an integer by then, if
/// it fits into one.
fn number_text(number: &Number) -> String {
    let Some(float) = number.as_f64().filter(|_| number.is_f64()) else { return number.to_string() };
    let scientific = format!("{float:e}");
    let Some((mantissa, exponent)) = scientific.split_once('e') else { return scientific };
    let power: i32 = exponent.parse().unwrap_or(0);
    if (-4..6).contains(&power) {
        return float.to_string();
    }
    format!("{mantissa}e{}{:02}", if power < 0 { '-' } else { '+' }, power.abs())
}

/// A key in pieces: numbers compare by size.
#[derive(Debug, PartialEq, Eq)]
enum Piece {
    /// Digits without leading zeros, and how many there were with them.
    Number(String, usize),
    Other(char),
}

fn natural(key: &str) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let mut chars = key.chars().peekable();
    while let Some(c) = chars.next() {
        if !c.is_ascii_digit() {
            pieces.push(Piece::Other(c));
            continue;
        }
        let mut digits = String::from(c);
        while let Some(digit) = chars.next_if(char::is_ascii_digit) {
            digits.push(digit);
        }
        pieces.push(Piece::Number(digits.trim_start_matches('0').to_owned(), digits.len()));
    }
    pieces
}

/// Symbols, then numbers, then letters; right after a number, letters go first.
fn compare(a: &[Piece], b: &[Piece]) -> Ordering {
    let mut after_number = false;
    for (x, y) in a.iter().zip(b) {
        if x == y {
            after_number = matches!(x, Piece::Number(..));
            continue;
        }
        let rank = |piece: &Piece| match piece {
            Piece::Other(c) if c.is_alphabetic() => {
                if after_number {
                    0
                } else {
                    3
                }
            }
            Piece::Other(_) => 1,
            Piece::Number(..) => 2,
        };
        return match (x, y) {
            (Piece::Number(m, m_len), Piece::Number(n, n_len)) => {
                m.len().cmp(&n.len()).then_with(|| m.cmp(n)).then_with(|| m_len.cmp(n_len))
            }
            (Piece::Other(x), Piece::Other(y)) if x.is_alphabetic() == y.is_alphabetic() => x.cmp(y),
            _ => rank(x).cmp(&rank(y)),
        };
    }
    a.len().cmp(&b.len())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::yaml::documents;

    #[test]
    fn objects_are_printed_as_kustomize_prints_them() {
        let value = json!({"kind": "A", "apiVersion": "v1", "list": [{"b": 1, "a": [1, [2]]}, {}, []], "n": null, "a10": 1, "a2": 2});
        let text =
            "a2: 2\na10: 1\napiVersion: v1\nkind: A\nlist:\n- a:\n  - 1\n  - - 2\n  b: 1\n- {}\n- []\n\"n\": null\n";
        assert_eq!(emit(&value), text);
    }

    #[test]
    fn text_is_quoted_only_where_it_must_be() {
        // As kubectl 1.33 printed them.
        let rows = [
            ("", "\"\""),
            ("trailing ", "'trailing '"),
            ("tab\there", "\"tab\\there\""),
            ("-", "'-'"),
            ("- a", "'- a'"),
            ("#x", "'#x'"),
            ("x #y", "'x #y'"),
            ("null", "\"null\""),
            ("1.0", "\"1.0\""),
            ("1e3", "\"1e3\""),
            ("2001-01-01", "\"2001-01-01\""),
            ("1:30", "\"1:30\""),
            ("0x1f", "\"0x1f\""),
            ("y", "\"y\""),
            ("a, b", "a, b"),
            ("{a}", "'{a}'"),
            ("a'b", "a'b"),
            ("\"a\"", "'\"a\"'"),
            ("?a", "?a"),
            ("? a", "'? a'"),
            ("a:", "'a:'"),
            (":a", ":a"),
            ("~", "\"~\""),
            (".inf", "\".inf\""),
            ("+1", "\"+1\""),
            ("---", "'---'"),
            ("a\tb\nc", "\"a\\tb\\nc\""),
            (".", "."),
            ("1.2.3", "1.2.3"),
            ("+", "+"),
            ("é", "é"),
            ("a\\b", "a\\b"),
            ("|", "'|'"),
            (">x", "'>x'"),
            ("...", "'...'"),
            ("-a", "-a"),
            (":", "':'"),
            ("x\r\ny", "\"x\\r\\ny\""),
            ("x  \ny\n", "\"x  \\ny\\n\""),
            ("é\u{1f600} \u{1}", "\"é\\U0001F600 \\x01\""),
            ("trail\n\n", "|+\n  trail\n"),
            ("multi\nline\n", "|\n  multi\n  line"),
            ("\nlead", "|2-\n\n  lead"),
            (" lead\nx", "|2-\n   lead\n  x"),
        ];
        for (text, printed) in rows {
            assert_eq!(emit(&json!({"k": text})), format!("k: {printed}\n"), "{text:?}");
        }
    }

    #[test]
    fn long_text_is_folded_at_spaces() {
        let text = "long ".repeat(23).trim_end().to_owned();
        let printed = format!("as: {}\n    {}\n", "long ".repeat(16).trim_end(), "long ".repeat(7).trim_end());
        assert_eq!(emit(&json!({"data": {"as": text}})), format!("data:\n  {printed}"));
    }

    #[test]
    fn numbers_are_printed_as_go_prints_them() {
        let rows = [
            (json!(1e21), "1e+21"),
            (json!(0.1), "0.1"),
            (json!(1.5e300), "1.5e+300"),
            (json!(1e-7), "1e-07"),
            (json!(100000.5), "100000.5"),
            (json!(1234567.5), "1.2345675e+06"),
            (json!(-3), "-3"),
        ];
        for (value, text) in rows {
            assert_eq!(emit(&value), format!("{text}\n"));
        }
    }

    fn values() -> impl Strategy<Value = Value> {
        let text =
            prop_oneof!["[ -~]{0,90}", "[ \n\ta:#'\"|>-]{0,12}", "\\PC{0,12}", "[0-9._:eExob+-]{1,8}", "(?s:.){0,6}"];
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            text.prop_map(Value::from)
        ];
        leaf.prop_recursive(4, 24, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map("[a-z0-9/. -]{0,12}|\\PC{0,4}|[ -~]{129,140}", inner, 0..4)
                    .prop_map(|fields| Value::Object(fields.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_is_printed_reads_back_the_same(value in values()) {
            let text = emit(&value);
            let back = documents(&text, Dialect::Kubectl);
            prop_assert_eq!(back.map(|mut all| all.remove(0).value), Ok(value), "{}", text);
        }
    }
}
