//! From parser events to values, with everything bounded: nesting, and what aliases may multiply.

use std::{collections::HashMap, iter::Peekable};

use base64::{Engine, engine::general_purpose::STANDARD};
use granit_parser::{Event, Options, Parser, ScalarStyle, ScanError, Span, StrInput, Tag};
use serde_json::{Map, Value};

use super::{BLANK, Dialect, Document, MARKS, QUOTED, Wrong, emit, scalar};

/// Nesting of lists and mappings. Kubernetes objects stay well below; values are walked and dropped recursively.
const DEEPEST: usize = 128;
/// What all aliases of a text may add together, in bytes of content plus `NODE` for each node.
const ALIASED: usize = 16 << 20;
const NODE: usize = 32;
/// The prefix of YAML's own tags, such as `!!str`.
const CORE: &str = "tag:yaml.org,2002:";

/// The documents of a text, empty ones included.
///
/// # Errors
/// Names the line: broken syntax, a key twice in one mapping, nesting or aliases beyond the limits, an unknown tag.
pub(crate) fn documents(text: &str, dialect: Dialect) -> Result<Vec<Document>, Wrong> {
    let mut options = Options::default();
    options.set_emit_comments(false);
    options.block_nesting_limit = DEEPEST;
    options.flow_nesting_limit = DEEPEST;
    let events = Parser::new_from_str_with_options(text, options).peekable();
    let mut composer = Composer { events, dialect, anchors: HashMap::new(), aliased: 0, path: Vec::new() };
    let mut documents = Vec::new();
    while let Some((event, span)) = composer.next()? {
        if let Event::DocumentStart(..) = event {
            composer.anchors.clear();
            let line = match composer.events.peek() {
                Some(Ok((_, span))) => line(span),
                _ => line(&span),
            };
            let node = composer.node(0)?;
            documents.push(Document { value: node.value, line });
        }
    }
    Ok(documents)
}

fn line(span: &Span) -> u64 {
    span.start.line() as u64
}

/// A composed value with what it costs to copy and how deep it is.
#[derive(Clone)]
struct Node {
    value: Value,
    weight: usize,
    depth: usize,
}

impl Node {
    fn scalar(value: Value) -> Self {
        let weight = NODE + value.as_str().map_or(0, str::len);
        Self { value, weight, depth: 0 }
    }
}

/// A step of the path to the node at hand, so far as it matters.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Step {
    Metadata,
    Annotations,
    Other,
}

struct Composer<'a> {
    events: Peekable<Parser<'a, StrInput<'a>>>,
    dialect: Dialect,
    anchors: HashMap<usize, Node>,
    aliased: usize,
    path: Vec<Step>,
}

type Found<'a> = (Event<'a>, Span);

fn wrong(span: &Span, reason: impl Into<String>) -> Wrong {
    Wrong { line: line(span), reason: reason.into() }
}

impl<'a> Composer<'a> {
    fn next(&mut self) -> Result<Option<Found<'a>>, Wrong> {
        let scan = |e: ScanError| Wrong { line: e.marker().line() as u64, reason: e.info() };
        self.events.next().transpose().map_err(scan)
    }

    fn node(&mut self, depth: usize) -> Result<Node, Wrong> {
        let Some((event, span)) = self.next()? else {
            return Err(Wrong { line: 0, reason: "the text ends within a document".to_owned() });
        };
        self.node_from(event, &span, depth)
    }

    fn node_from(&mut self, event: Event<'a>, span: &Span, depth: usize) -> Result<Node, Wrong> {
        let (node, anchor) = match event {
            Event::Alias(id) => {
                let node = self.anchors.get(&id).ok_or_else(|| wrong(span, "an alias inside its own anchor"))?.clone();
                self.aliased = self.aliased.saturating_add(node.weight);
                if self.aliased > ALIASED {
                    return Err(wrong(span, format!("aliases add more than {} MiB", ALIASED >> 20)));
                }
                if depth + node.depth > DEEPEST {
                    return Err(wrong(span, format!("nested deeper than {DEEPEST} levels")));
                }
                (node, 0)
            }
            Event::Scalar(text, style, anchor, tag) => {
                // The parser gives `~` for a scalar that is not written at all.
                let text = if style == ScalarStyle::Plain && span.is_empty() { "" } else { text.as_ref() };
                let value = match tag {
                    None if text.is_empty() && style == ScalarStyle::Plain => self.blank(),
                    _ => self.scalar(text, style, tag.as_deref()).map_err(|reason| wrong(span, reason))?,
                };
                (Node::scalar(value), anchor)
            }
            Event::SequenceStart(_, anchor, tag) => {
                collection_tag(tag.as_deref(), "seq").map_err(|reason| wrong(span, reason))?;
                (self.sequence(span, depth)?, anchor)
            }
            Event::MappingStart(_, anchor, tag) => {
                collection_tag(tag.as_deref(), "map").map_err(|reason| wrong(span, reason))?;
                (self.mapping(span, depth)?, anchor)
            }
            _ => return Err(wrong(span, "a value is missing")),
        };
        if anchor != 0 {
            self.anchors.insert(anchor, node.clone());
        }
        Ok(node)
    }

    fn sequence(&mut self, span: &Span, depth: usize) -> Result<Node, Wrong> {
        self.descend(span, depth)?;
        let (mut items, mut weight, mut deepest) = (Vec::new(), NODE, 0);
        self.path.push(Step::Other);
        while let Some((event, at)) = self.next()? {
            if event == Event::SequenceEnd {
                break;
            }
            let item = self.node_from(event, &at, depth + 1)?;
            weight = weight.saturating_add(item.weight);
            deepest = deepest.max(item.depth);
            items.push(item.value);
        }
        self.path.pop();
        Ok(Node { value: Value::Array(items), weight, depth: deepest + 1 })
    }

    fn mapping(&mut self, span: &Span, depth: usize) -> Result<Node, Wrong> {
        self.descend(span, depth)?;
        let (mut fields, mut merged) = (Map::new(), Vec::new());
        let (mut weight, mut deepest) = (NODE, 0);
        while let Some((event, at)) = self.next()? {
            if event == Event::MappingEnd {
                break;
            }
            let is_merge = matches!(&event, Event::Scalar(text, ScalarStyle::Plain, _, _) if text == "<<");
            let key = self.key(event, &at)?;
            self.path.push(match (key.as_str(), self.path.as_slice()) {
                ("metadata", []) => Step::Metadata,
                ("annotations", [Step::Metadata]) => Step::Annotations,
                _ => Step::Other,
            });
            let field = self.node(depth + 1)?;
            self.path.pop();
            weight = weight.saturating_add(field.weight).saturating_add(key.len());
            deepest = deepest.max(field.depth);
            if is_merge {
                if !merged.is_empty() {
                    return Err(wrong(&at, "the merge key << stands twice in one mapping; give it a list"));
                }
                merged = merge_sources(field.value).map_err(|reason| wrong(&at, reason))?;
            } else if fields.insert(key.clone(), field.value).is_some() {
                return Err(wrong(&at, format!("the key {key:?} stands twice in one mapping")));
            }
        }
        // What the mapping says itself goes before what it merges, and earlier sources before later ones.
        for (key, value) in merged.into_iter().flatten() {
            fields.entry(key).or_insert(value);
        }
        Ok(Node { value: Value::Object(fields), weight, depth: deepest + 1 })
    }

    fn descend(&self, span: &Span, depth: usize) -> Result<(), Wrong> {
        if depth >= DEEPEST {
            return Err(wrong(span, format!("nested deeper than {DEEPEST} levels")));
        }
        Ok(())
    }

    fn key(&mut self, event: Event<'a>, span: &Span) -> Result<String, Wrong> {
        if let (Dialect::Kustomize, Event::Scalar(text, style, 0, _)) = (self.dialect, &event) {
            let is_blank = *style == ScalarStyle::Plain && span.is_empty();
            return Ok(if is_blank { String::new() } else { text.as_ref().to_owned() });
        }
        let quoted = matches!(&event, Event::Scalar(_, style, _, _) if *style != ScalarStyle::Plain);
        if let Event::Scalar(text, ScalarStyle::Plain, _, None) = &event
            && text == "<<"
        {
            return Ok("<<".to_owned());
        }
        let key = self.node_from(event, span, 0)?.value;
        match key {
            Value::String(key) => Ok(key),
            Value::Bool(_) | Value::Number(_) if !quoted => Ok(scalar::text(&key).unwrap_or_default()),
            _ => Err(wrong(span, "a key must be a string")),
        }
    }

    fn blank(&self) -> Value {
        match self.dialect {
            Dialect::Kustomize if self.is_annotation() => "".into(),
            Dialect::Kustomize => BLANK.into(),
            Dialect::Kubectl => Value::Null,
        }
    }

    fn is_annotation(&self) -> bool {
        self.path == [Step::Metadata, Step::Annotations, Step::Other]
    }

    fn scalar(&self, text: &str, style: ScalarStyle, tag: Option<&Tag>) -> Result<Value, String> {
        let is_annotation = self.dialect == Dialect::Kustomize && self.is_annotation();
        if self.dialect == Dialect::Kustomize && text.starts_with(MARKS) {
            return Err("text may not begin with the noncharacters U+FDD0 and U+FDD1".to_owned());
        }
        let Some(tag) = tag else {
            return match style {
                ScalarStyle::Plain if !is_annotation => scalar::plain(text, self.dialect),
                ScalarStyle::Plain => Ok(text.into()),
                _ if self.dialect == Dialect::Kubectl => Ok(text.into()),
                ScalarStyle::Folded if !is_annotation => Ok(quoted(&refolded(text))),
                _ if !is_annotation => Ok(quoted(text)),
                _ => Ok(text.into()),
            };
        };
        let resolved = || scalar::plain(text, self.dialect);
        let checked = |is: fn(&Value) -> bool, name: &str| match resolved()? {
            value if is(&value) => Ok(value),
            _ => Err(format!("{text:?} is not {name}")),
        };
        match tag.suffix_in_namespace(CORE).as_deref() {
            Some("str") => Ok(text.into()),
            Some("int") => checked(|v| v.is_i64() || v.is_u64(), "an integer"),
            Some("float") => checked(Value::is_number, "a number"),
            Some("bool") => checked(Value::is_boolean, "a boolean"),
            Some("null") => checked(Value::is_null, "null"),
            Some("binary") => {
                let compact: String = text.split_ascii_whitespace().collect();
                let bytes = STANDARD.decode(compact).map_err(|e| format!("!!binary is not base64: {e}"))?;
                String::from_utf8(bytes).map(Value::from).map_err(|_| "!!binary holds no UTF-8 text".to_owned())
            }
            _ => Err(format!("the tag {} has no meaning here", tag.original())),
        }
    }
}

/// Folded text (`>`) as kustomize understands it: it prints and reads what it has read once more, and folded text that has
/// indented lines, or keeps several line breaks at its end, comes back with a line break more at these places.
fn refolded(text: &str) -> String {
    if !emit::can_be_block(text) {
        return text.to_owned();
    }
    let mut out = String::with_capacity(text.len());
    let mut lines = text.split_inclusive('\n').peekable();
    let mut after_text = false;
    while let Some(line) = lines.next() {
        out.push_str(line);
        let starts_blank = |line: &str| line.starts_with([' ', '\t']);
        after_text = if line == "\n" { after_text } else { !starts_blank(line) };
        let ends_run = lines.peek().is_none_or(|next| *next != "\n");
        let is_run_at_end = lines.peek().is_none() && line == "\n";
        if after_text
            && ends_run
            && line.ends_with('\n')
            && (is_run_at_end || lines.peek().is_some_and(|next| starts_blank(next)))
        {
            out.push('\n');
        }
    }
    out
}

/// Text in quotes, marked where nothing else shows them.
fn quoted(text: &str) -> Value {
    let needed = scalar::plain(text, Dialect::Kustomize).is_ok_and(|value| !value.is_string());
    if needed { text.into() } else { format!("{QUOTED}{text}").into() }
}

fn collection_tag(tag: Option<&Tag>, own: &str) -> Result<(), String> {
    match tag {
        Some(tag) if tag.suffix_in_namespace(CORE).as_deref() != Some(own) => {
            Err(format!("the tag {} has no meaning here", tag.original()))
        }
        _ => Ok(()),
    }
}

/// The mappings that a merge key names.
fn merge_sources(value: Value) -> Result<Vec<Map<String, Value>>, String> {
    let sources = match value {
        Value::Array(sources) => sources,
        one => vec![one],
    };
    let mapping = |source| match source {
        Value::Object(fields) => Ok(fields),
        _ => Err("the merge key << needs a mapping or a list of mappings".to_owned()),
    };
    sources.into_iter().map(mapping).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn one(text: &str) -> Value {
        let mut all = documents(text, Dialect::Kubectl).unwrap();
        assert_eq!(all.len(), 1);
        all.remove(0).value
    }

    fn refused(text: &str) -> Wrong {
        documents(text, Dialect::Kubectl).unwrap_err()
    }

    #[test]
    fn quoting_decides_what_is_a_string() {
        let value =
            one("a: yes\nb: \"yes\"\nc: 'on'\nd: |\n  1\ne: !!str 1\nf: !!binary aGk=\non: 1\n1: x\n\"y\": z\n");
        assert_eq!(
            value,
            json!({"a": true, "b": "yes", "c": "on", "d": "1\n", "e": "1", "f": "hi", "true": 1, "1": "x", "y": "z"})
        );
    }

    #[test]
    fn kustomize_keeps_annotations_as_written_and_keys_as_text() {
        let text = "metadata:\n  annotations: {a: 0644, b: true, c: , d: 1.0, e: null}\n  labels: {a: 0644}\non: 1\nspec: {metadata: {annotations: {a: 1}}}\n";
        let value = documents(text, Dialect::Kustomize).unwrap().remove(0).value;
        let annotations = json!({"a": "0644", "b": "true", "c": "", "d": "1.0", "e": "null"});
        assert_eq!(value["metadata"], json!({"annotations": annotations, "labels": {"a": 420}}));
        assert_eq!((&value["on"], &value["spec"]["metadata"]["annotations"]["a"]), (&json!(1), &json!(1)));
    }

    #[test]
    fn kustomize_adds_line_breaks_to_folded_text_with_indented_lines() {
        let rows = [
            ("a\nb\n", "a\nb\n"),
            ("a\n  b\nc\n", "a\n\n  b\nc\n"),
            ("a\n\n  b\n  c\n", "a\n\n\n  b\n  c\n"),
            ("a\n\n", "a\n\n\n"),
            ("a \n  b\n", "a \n  b\n"),
        ];
        for (text, expected) in rows {
            assert_eq!(refolded(text), expected, "{text:?}");
        }
    }

    #[test]
    fn anchors_and_merge_keys_are_expanded() {
        let value = one("a: &x {b: 1}\nd: {<<: *x, c: 2}\ne: {b: 3, <<: *x}\nf: {<<: [*x, {b: 2, z: 1}], q: 1}\n");
        assert_eq!(value["d"], json!({"b": 1, "c": 2}));
        assert_eq!(value["e"], json!({"b": 3}));
        assert_eq!(value["f"], json!({"b": 1, "z": 1, "q": 1}));
    }

    #[test]
    fn documents_know_their_line_and_empty_ones_are_null() {
        let all = documents("# comment\n---\na: 1\n---\n---\n\nb: 2\n...\n", Dialect::Kubectl).unwrap();
        let seen: Vec<_> = all.iter().map(|d| (d.line, d.value.clone())).collect();
        assert_eq!(
            (seen[0].clone(), &seen[1].1, seen[2].clone()),
            ((3, json!({"a": 1})), &json!(null), (7, json!({"b": 2})))
        );
        assert!(documents("", Dialect::Kubectl).unwrap().is_empty());
    }

    #[test]
    fn mistakes_are_named_with_their_line() {
        assert_eq!(
            refused("a: 1\nb: 2\na: 3\n"),
            Wrong { line: 3, reason: "the key \"a\" stands twice in one mapping".into() }
        );
        assert_eq!(refused("a: [1\nb: 2\n").line, 2);
        assert_eq!(refused("a: 1\nb: *nothing\n").line, 2);
        assert!(refused("a: !custom 1\n").reason.contains("!custom"));
        assert!(refused("a: !!int x\n").reason.contains("integer"));
        assert!(refused("a: {<<: 1}\n").reason.contains("merge key"));
        assert!(refused("? [a]\n: 1\n").reason.contains("key"));
        assert_eq!(refused("a: .nan\n").line, 1);
        assert!(documents("a: \"\\ufdd1x\"\n", Dialect::Kustomize).unwrap_err().reason.contains("U+FDD1"));
    }

    #[test]
    fn aliases_cannot_blow_up_in_size_or_in_depth() {
        let (mut wide, mut deep) = ("a0: &a0 [x, x]\n".to_owned(), "a0: &a0 x\n".to_owned());
        for i in 1..40 {
            let before = i - 1;
            wide.push_str(&format!("a{i}: &a{i} [*a{before}, *a{before}, *a{before}]\n"));
            deep.push_str(&format!("a{i}: &a{i} [[[[[[[[[[*a{before}]]]]]]]]]]\n"));
        }
        assert!(refused(&wide).reason.contains("MiB"));
        assert!(refused(&deep).reason.contains("deeper"));
        assert!(refused(&"[".repeat(100_000)).reason.len() < 200);
        assert!(refused(&"- ".repeat(100_000)).reason.len() < 200);
        assert!(refused("a: &a [*a]\n").line == 1);
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "[ -~\n\t]{0,120}|\\PC{0,120}") {
            let _ = documents(&text, Dialect::Kubectl);
            let _ = documents(&text, Dialect::Kustomize);
        }

        #[test]
        fn texts_that_look_like_yaml_do_not_make_it_panic(text in "([a-c]{1,2}: |- |  |\n|\\[|\\]|\\{|\\}|,|&a |\\*a|<<: |\"|'|!|---\n|\\|\n|>\n|#|1|~){0,40}") {
            let _ = documents(&text, Dialect::Kubectl);
            let _ = documents(&text, Dialect::Kustomize);
        }
    }
}
