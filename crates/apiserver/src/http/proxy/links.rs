//! Links of a page that is passed on: those to the program's own host lead through the proxy (apimachinery's `proxy.Transport`).
//! Pure; a page is rewritten piece by piece, and of it only a tag that is not whole yet is kept.

/// Attributes whose values are links, by the element that they are of.
const LINKS: &[(&str, &[&str])] = &[
    ("a", &["href"]),
    ("applet", &["codebase"]),
    ("area", &["href"]),
    ("audio", &["src"]),
    ("base", &["href"]),
    ("blockquote", &["cite"]),
    ("body", &["background"]),
    ("button", &["formaction"]),
    ("command", &["icon"]),
    ("del", &["cite"]),
    ("embed", &["src"]),
    ("form", &["action"]),
    ("frame", &["longdesc", "src"]),
    ("head", &["profile"]),
    ("html", &["manifest"]),
    ("iframe", &["longdesc", "src"]),
    ("img", &["longdesc", "src", "usemap"]),
    ("input", &["src", "usemap", "formaction"]),
    ("ins", &["cite"]),
    ("link", &["href"]),
    ("object", &["classid", "codebase", "data", "usemap"]),
    ("q", &["cite"]),
    ("script", &["src"]),
    ("source", &["src"]),
    ("video", &["poster", "src"]),
];

/// Elements in which a `<` is text until they end.
const TEXTS: &[&str] = &["script", "style", "textarea", "title", "xmp", "iframe", "noembed", "noframes"];

/// Bytes of a tag that is waited for; a longer one is passed on as it is.
const LONGEST: usize = 64 * 1024;

/// What links of one answer are moved by.
#[derive(Clone, Debug)]
pub(super) struct Place {
    /// Below which the client finds what is there.
    pub prefix: String,
    /// Host and port of the program.
    pub authority: String,
    /// The host that the client asked, if it said one.
    pub host: Option<String>,
}

impl Place {
    /// The same where the prefix stands in a tag, with quotes or without.
    pub fn in_html(&self) -> Self {
        let mut prefix = String::with_capacity(self.prefix.len());
        for c in self.prefix.chars() {
            match c {
                '&' | '"' | '\'' | '<' | '>' | '=' | '`' => prefix.push_str(&format!("&#{};", u32::from(c))),
                other => prefix.push(other),
            }
        }
        Self { prefix, ..self.clone() }
    }

    /// Where a link of the program leads for the client; `None` if it stays as it is: it is relative, or to another host, or
    /// leads through the proxy already.
    pub fn moved(&self, link: &str) -> Option<String> {
        let (origin, path) = match link.split_once("//") {
            Some(("" | "http:" | "https:", rest)) => {
                let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
                let (host, path) = rest.split_at(end);
                let own = host == self.authority;
                if !own && self.host.as_deref() != Some(host) {
                    return None;
                }
                let origin = if own { "" } else { link.get(..link.len() - path.len())? };
                (origin, if path.is_empty() { "/" } else { path })
            }
            _ => ("", link),
        };
        if !path.starts_with('/') || path.starts_with(&self.prefix) {
            return None;
        }
        Some(format!("{origin}{}{path}", self.prefix))
    }
}

/// Where in the page a piece begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum In {
    Page,
    Comment,
    /// In an element of [`TEXTS`].
    Text(&'static str),
}

/// A page that is rewritten.
#[derive(Debug)]
pub(super) struct Page {
    place: Place,
    within: In,
    /// What may be the beginning of a tag or of the end of a text.
    held: Vec<u8>,
}

impl Page {
    pub fn new(place: Place) -> Self {
        Self { place, within: In::Page, held: Vec::new() }
    }

    /// What can be passed on once the next piece is there.
    pub fn push(&mut self, piece: &[u8]) -> Vec<u8> {
        let mut text = std::mem::take(&mut self.held);
        text.extend_from_slice(piece);
        let mut out = Vec::with_capacity(text.len());
        let mut rest = text.as_slice();
        while !rest.is_empty() {
            let (taken, goes_on) = self.step(rest, &mut out);
            rest = rest.get(taken..).unwrap_or_default();
            if !goes_on {
                break;
            }
        }
        self.held = rest.to_vec();
        out
    }

    /// The rest, when the page is over.
    pub fn finish(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.held)
    }

    /// Passes on what is sure of a text; gives how much of it was taken, and whether more of it can be.
    fn step(&mut self, text: &[u8], out: &mut Vec<u8>) -> (usize, bool) {
        match self.within {
            In::Comment => self.until(text, b"-->", out),
            In::Text(name) => self.until(text, format!("</{name}").as_bytes(), out),
            In::Page => {
                let Some(at) = text.iter().position(|byte| *byte == b'<') else {
                    out.extend_from_slice(text);
                    return (text.len(), false);
                };
                let (before, tag) = text.split_at(at);
                out.extend_from_slice(before);
                let (taken, goes_on) = self.tag(tag, out);
                (at + taken, goes_on)
            }
        }
    }

    /// Everything up to an end goes on as it is.
    fn until(&mut self, text: &[u8], end: &[u8], out: &mut Vec<u8>) -> (usize, bool) {
        let found = text.windows(end.len()).position(|part| part.eq_ignore_ascii_case(end));
        let taken = match found {
            Some(at) => at + end.len(),
            None => text.len().saturating_sub(end.len() - 1),
        };
        out.extend_from_slice(text.get(..taken).unwrap_or_default());
        if found.is_some() {
            self.within = In::Page;
        }
        (taken, found.is_some())
    }

    /// What begins with a `<`.
    fn tag(&mut self, text: &[u8], out: &mut Vec<u8>) -> (usize, bool) {
        const COMMENT: &[u8] = b"<!--";
        if text.starts_with(COMMENT) {
            out.extend_from_slice(COMMENT);
            self.within = In::Comment;
            return (COMMENT.len(), true);
        }
        let is_tag = text.get(1).map(u8::is_ascii_alphabetic);
        if is_tag.is_none() || COMMENT.starts_with(text) {
            return (0, false);
        }
        let tag = if is_tag == Some(true) { Tag::read(text) } else { Some(Tag::default()) };
        match tag {
            Some(tag) if tag.end > 0 => {
                self.rewrite(text, &tag, out);
                let name = tag.name(text);
                if let Some(name) = TEXTS.iter().find(|text| name.eq_ignore_ascii_case(text.as_bytes())) {
                    self.within = In::Text(name);
                }
                (tag.end, true)
            }
            None if text.len() < LONGEST => (0, false),
            _ => {
                out.push(b'<');
                (1, true)
            }
        }
    }

    fn rewrite(&self, text: &[u8], tag: &Tag, out: &mut Vec<u8>) {
        let name = String::from_utf8_lossy(tag.name(text)).to_ascii_lowercase();
        let links = LINKS.iter().find(|(element, _)| *element == name).map_or(&[][..], |(_, links)| links);
        let mut from = 0;
        for (attribute, value) in &tag.attributes {
            let named = text.get(attribute.0..attribute.1).unwrap_or_default();
            let is_link = links.iter().any(|link| named.eq_ignore_ascii_case(link.as_bytes()));
            let said = text.get(value.0..value.1).and_then(|value| std::str::from_utf8(value).ok());
            let moved = said.filter(|_| is_link).and_then(|link| self.place.moved(link));
            if let Some(moved) = moved {
                out.extend_from_slice(text.get(from..value.0).unwrap_or_default());
                out.extend_from_slice(moved.as_bytes());
                from = value.1;
            }
        }
        out.extend_from_slice(text.get(from..tag.end).unwrap_or_default());
    }
}

/// A tag: where in the text it is what.
#[derive(Debug, Default)]
struct Tag {
    /// Past the `>`; 0 if it is none.
    end: usize,
    named: (usize, usize),
    /// Names and values, without quotes.
    attributes: Vec<((usize, usize), (usize, usize))>,
}

impl Tag {
    /// Reads a tag from its `<` on, as browsers do; `None` if its end is not there.
    fn read(text: &[u8]) -> Option<Self> {
        let past = |from: usize, ends: &dyn Fn(u8) -> bool| {
            let rest = text.get(from..)?;
            rest.iter().position(|byte| ends(*byte)).map(|at| from + at)
        };
        let space = |byte: u8| byte.is_ascii_whitespace();
        let mut at = past(1, &|byte| space(byte) || matches!(byte, b'/' | b'>'))?;
        let mut tag = Self { named: (1, at), ..Self::default() };
        loop {
            at = past(at, &|byte| !space(byte) && byte != b'/')?;
            if text.get(at) == Some(&b'>') {
                tag.end = at + 1;
                return Some(tag);
            }
            let name = (at, past(at + 1, &|byte| space(byte) || matches!(byte, b'/' | b'>' | b'='))?);
            at = past(name.1, &|byte| !space(byte))?;
            if text.get(at) != Some(&b'=') {
                continue;
            }
            at = past(at + 1, &|byte| !space(byte))?;
            let value = match text.get(at)? {
                quote @ (b'"' | b'\'') => (at + 1, past(at + 1, &|byte| byte == *quote)?),
                _ => (at, past(at, &|byte| space(byte) || byte == b'>')?),
            };
            let quoted = value.0 > at;
            at = value.1 + usize::from(quoted);
            tag.attributes.push((name, value));
        }
    }

    fn name<'a>(&self, text: &'a [u8]) -> &'a [u8] {
        text.get(self.named.0..self.named.1).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn place() -> Place {
        Place { prefix: "/p/proxy".into(), authority: "10.0.0.1:80".into(), host: Some("localhost:8001".into()) }
    }

    fn rewritten(page: &str) -> String {
        let mut rewriting = Page::new(place());
        let mut out = rewriting.push(page.as_bytes());
        out.extend(rewriting.finish());
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn links_to_the_programs_own_host_lead_through_the_proxy() {
        for (page, wanted) in [
            // Upstream's cases.
            (
                r#"<pre><a href="kubelet.log">kubelet.log</a></pre>"#,
                r#"<pre><a href="kubelet.log">kubelet.log</a></pre>"#,
            ),
            (r#"<a href="/log">l</a>"#, r#"<a href="/p/proxy/log">l</a>"#),
            (r#"<a href="http://10.0.0.1:80/a?b#c">l</a>"#, r#"<a href="/p/proxy/a?b#c">l</a>"#),
            (r#"<a href="//10.0.0.1:80/a">l</a>"#, r#"<a href="/p/proxy/a">l</a>"#),
            (r#"<a href="http://localhost:8001/a">"#, r#"<a href="http://localhost:8001/p/proxy/a">"#),
            (r#"<a href="http://google.com/a">"#, r#"<a href="http://google.com/a">"#),
            (r#"<a href="/p/proxy/a">"#, r#"<a href="/p/proxy/a">"#),
            (r#"<IMG alt='/x' SRC='/y'/>"#, r#"<IMG alt='/x' SRC='/p/proxy/y'/>"#),
            ("<form action=/go method=post>", "<form action=/p/proxy/go method=post>"),
            (r#"<object data = "/a" usemap="/b">"#, r#"<object data = "/p/proxy/a" usemap="/p/proxy/b">"#),
            // What only looks like a link.
            (r#"<!-- <a href="/a"> --><a href="/b">"#, r#"<!-- <a href="/a"> --><a href="/p/proxy/b">"#),
            (
                r#"<script src="/s">if (1 < a) "<a href='/a'>"</script><a href=/b>"#,
                r#"<script src="/p/proxy/s">if (1 < a) "<a href='/a'>"</script><a href=/p/proxy/b>"#,
            ),
            (r#"1 < 2 <a title="<a href='/x'>" href="/a">"#, r#"1 < 2 <a title="<a href='/x'>" href="/p/proxy/a">"#),
            (r#"<p href="/a"><a data-href="/a"></a href="/a">"#, r#"<p href="/a"><a data-href="/a"></a href="/a">"#),
            ("<!DOCTYPE html><a href=", "<!DOCTYPE html><a href="),
        ] {
            assert_eq!(rewritten(page), wanted, "{page}");
        }
    }

    #[test]
    fn a_tag_without_an_end_is_not_waited_for() {
        let mut page = Page::new(place());
        assert_eq!(page.push(b"<a href=\""), b"");
        let long = vec![b'x'; LONGEST];
        assert!(page.push(&long).len() >= LONGEST);
        assert!(page.held.len() < LONGEST);
    }

    proptest! {
        #[test]
        fn how_a_page_is_cut_does_not_matter(page in "([<>/!a=\"' -]|<a href=\"/|<!--|-->|<script>|</script>|\"/x\"|=/y ){0,40}", cuts in prop::collection::vec(0usize..200, 0..6)) {
            let whole = rewritten(&page);
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(page.len())).collect();
            cuts.sort_unstable();
            let (mut rewriting, mut out, mut from) = (Page::new(place()), Vec::new(), 0);
            for cut in cuts.into_iter().chain([page.len()]) {
                out.extend(rewriting.push(&page.as_bytes()[from..cut]));
                from = cut;
            }
            out.extend(rewriting.finish());
            prop_assert_eq!(String::from_utf8(out).unwrap(), whole);
        }
    }
}
