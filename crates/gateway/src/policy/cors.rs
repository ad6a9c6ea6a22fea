//! Cross-origin requests (Fetch standard, "CORS protocol"; Gateway API, `HTTPCORSFilter`).

use http::{HeaderName, HeaderValue, header};

/// Who may share a rule's responses, and how.
#[derive(Debug, Clone)]
pub struct Cors {
    /// Who.
    pub origins: Origins,
    /// Whether requests may carry cookies and other credentials.
    pub credentials: bool,
    /// Methods besides GET, HEAD and POST; `*` alone is any.
    pub methods: Vec<String>,
    /// Request headers besides those that are always allowed; `*` alone is any.
    pub headers: Vec<String>,
    /// Response headers that scripts may read; `*` alone is any.
    pub expose: Vec<String>,
    /// For how many seconds the answer to a preflight request holds.
    pub max_age: u32,
}

/// Origins that are allowed.
#[derive(Debug, Clone)]
pub enum Origins {
    /// Everybody.
    Any,
    /// These: `scheme://host[:port]`, in whose host `*` stands for any characters.
    Listed(Vec<String>),
}

/// What a preflight request asks for.
#[derive(Debug, Clone, Copy)]
pub struct Preflight<'a> {
    /// `Access-Control-Request-Method`.
    pub method: &'a [u8],
    /// `Access-Control-Request-Headers`.
    pub headers: Option<&'a [u8]>,
}

/// Response headers that are the filter's to say, whatever the backend says.
pub const OWNED: [HeaderName; 6] = [
    header::ACCESS_CONTROL_ALLOW_ORIGIN,
    header::ACCESS_CONTROL_ALLOW_CREDENTIALS,
    header::ACCESS_CONTROL_ALLOW_METHODS,
    header::ACCESS_CONTROL_ALLOW_HEADERS,
    header::ACCESS_CONTROL_EXPOSE_HEADERS,
    header::ACCESS_CONTROL_MAX_AGE,
];

type Fields = Vec<(HeaderName, HeaderValue)>;

impl Cors {
    /// The fields of a response to a request from `origin`: none but `Vary` if it is not allowed.
    pub fn response(&self, origin: Option<&[u8]>) -> Fields {
        let mut fields = Vec::new();
        if let Some(origin) = origin.filter(|origin| self.allows(origin)) {
            self.sharing(origin, &mut fields);
        }
        if self.depends_on_origin() {
            fields.push((header::VARY, HeaderValue::from_static("Origin")));
        }
        fields
    }

    /// The fields of the answer to a preflight request; `None` if the origin is not allowed.
    pub fn preflight(&self, origin: &[u8], asked: Preflight<'_>) -> Option<Fields> {
        if !self.allows(origin) {
            return None;
        }
        let mut fields = Vec::new();
        self.sharing(origin, &mut fields);
        // A star is not taken for one where there are credentials: what was asked for says the same everywhere.
        let methods = if is_any(&self.methods) { value(asked.method) } else { joined(&self.methods) };
        fields.extend(methods.map(|methods| (header::ACCESS_CONTROL_ALLOW_METHODS, methods)));
        let headers = if is_any(&self.headers) { asked.headers.and_then(value) } else { joined(&self.headers) };
        fields.extend(headers.map(|headers| (header::ACCESS_CONTROL_ALLOW_HEADERS, headers)));
        fields.push((header::ACCESS_CONTROL_MAX_AGE, self.max_age.into()));
        let vary = "Origin, Access-Control-Request-Method, Access-Control-Request-Headers";
        fields.push((header::VARY, HeaderValue::from_static(vary)));
        Some(fields)
    }

    /// What is said to an origin that is allowed.
    fn sharing(&self, origin: &[u8], fields: &mut Fields) {
        let origin = if self.depends_on_origin() { value(origin) } else { Some(HeaderValue::from_static("*")) };
        fields.extend(origin.map(|origin| (header::ACCESS_CONTROL_ALLOW_ORIGIN, origin)));
        if self.credentials {
            fields.push((header::ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true")));
        }
        // With credentials a star would be the name of a header.
        let expose = joined(&self.expose).filter(|_| !(self.credentials && is_any(&self.expose)));
        fields.extend(expose.map(|expose| (header::ACCESS_CONTROL_EXPOSE_HEADERS, expose)));
    }

    fn depends_on_origin(&self) -> bool {
        self.credentials || !matches!(self.origins, Origins::Any)
    }

    fn allows(&self, origin: &[u8]) -> bool {
        match &self.origins {
            Origins::Any => true,
            Origins::Listed(patterns) => {
                std::str::from_utf8(origin).is_ok_and(|origin| patterns.iter().any(|pattern| matches(pattern, origin)))
            }
        }
    }
}

fn is_any(list: &[String]) -> bool {
    matches!(list, [only] if only == "*")
}

fn joined(list: &[String]) -> Option<HeaderValue> {
    (!list.is_empty()).then(|| HeaderValue::from_str(&list.join(", ")).ok())?
}

fn value(bytes: &[u8]) -> Option<HeaderValue> {
    HeaderValue::from_bytes(bytes).ok()
}

/// Whether an origin is one of a pattern's. A port that is the scheme's own may be left out in either.
fn matches(pattern: &str, origin: &str) -> bool {
    let (Some((scheme, host)), Some((other_scheme, other_host))) = (parts(pattern), parts(origin)) else {
        return false;
    };
    scheme.eq_ignore_ascii_case(other_scheme)
        && host.1 == other_host.1
        && glob(&host.0.to_ascii_lowercase(), &other_host.0.to_ascii_lowercase())
}

/// Scheme, and host with port.
fn parts(origin: &str) -> Option<(&str, (&str, &str))> {
    let (scheme, authority) = origin.split_once("://")?;
    let default = if scheme.eq_ignore_ascii_case("https") { "443" } else { "80" };
    let host = match authority.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, port),
        _ => (authority, default),
    };
    Some((scheme, host))
}

/// Whether a text is the pattern's, in which each `*` stands for any number of characters.
fn glob(pattern: &str, text: &str) -> bool {
    let Some((first, rest)) = pattern.split_once('*') else { return pattern == text };
    let Some(mut left) = text.strip_prefix(first) else { return false };
    let mut pieces = rest.split('*').peekable();
    while let Some(piece) = pieces.next() {
        if pieces.peek().is_none() {
            return left.ends_with(piece);
        }
        let Some((_, after)) = left.split_once(piece) else { return false };
        left = after;
    }
    true
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{prop_assert_eq, proptest};

    use super::*;

    fn cors(origins: &[&str], credentials: bool, lists: &[&str]) -> Cors {
        let own = |list: &[&str]| list.iter().map(|item| (*item).to_owned()).collect::<Vec<_>>();
        let origins = if origins == ["*"] { Origins::Any } else { Origins::Listed(own(origins)) };
        Cors { origins, credentials, methods: own(lists), headers: own(lists), expose: own(lists), max_age: 5 }
    }

    fn shown(fields: &Fields) -> Vec<String> {
        let shown = fields.iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()));
        shown.map(|field| field.replace("access-control-", "")).collect()
    }

    #[test]
    fn origins_match_by_scheme_host_and_port() {
        for (pattern, origin, holds) in [
            ("https://www.foo.com", "https://www.foo.com", true),
            ("https://www.foo.com", "https://www.foo.com:443", true),
            ("http://www.foo.com:80", "http://WWW.foo.com", true),
            ("https://www.foo.com", "http://www.foo.com", false),
            ("https://www.foo.com", "https://www.foo.com:8443", false),
            ("https://www.foo.com", "https://www.foo.com.evil.org", false),
            ("https://*.bar.com", "https://www.bar.com", true),
            ("https://*.bar.com", "https://a.b.bar.com", true),
            ("https://*.bar.com", "https://bar.com", false),
            ("https://*.bar.com", "https://www.bar.com.evil.org", false),
            ("https://*:8443", "https://any.org:8443", true),
            ("https://*", "https://any.org", true),
            ("https://a*b.c", "https://a.c", false),
            ("https://*", "null", false),
            ("http://[::1]:3000", "http://[::1]:3000", true),
        ] {
            assert_eq!(matches(pattern, origin), holds, "{pattern} {origin}");
        }
        assert!(glob("a*c*e", "abcde") && !glob("a*c*e", "ae") && glob("*", ""));
    }

    proptest! {
        #[test]
        fn a_star_is_what_it_is_in_a_regular_expression(pattern in "[ab*]{0,6}", text in "[ab]{0,8}") {
            let expression = regex::Regex::new(&format!("^{}$", pattern.replace('*', ".*"))).unwrap();
            prop_assert_eq!(glob(&pattern, &text), expression.is_match(&text));
        }
    }

    #[test]
    fn everybody_is_a_star_unless_there_are_credentials() {
        let plain = cors(&["*"], false, &[]);
        assert_eq!(shown(&plain.response(Some(b"https://a.org"))), ["allow-origin: *"]);
        let secret = cors(&["*"], true, &["*"]);
        let fields = shown(&secret.response(Some(b"https://a.org")));
        assert_eq!(fields, ["allow-origin: https://a.org", "allow-credentials: true", "vary: Origin"]);
    }

    #[test]
    fn a_preflight_answer_says_what_is_allowed_and_for_a_star_what_was_asked_for() {
        let asked = Preflight { method: b"PUT", headers: Some(b"x-a, x-b") };
        let listed = cors(&["https://a.org"], false, &["one", "two"]);
        let vary = "vary: Origin, Access-Control-Request-Method, Access-Control-Request-Headers";
        let expected = [
            "allow-origin: https://a.org",
            "expose-headers: one, two",
            "allow-methods: one, two",
            "allow-headers: one, two",
            "max-age: 5",
            vary,
        ];
        assert_eq!(shown(&listed.preflight(b"https://a.org", asked).unwrap()), expected);
        let any = cors(&["*"], true, &["*"]);
        let expected = [
            "allow-origin: https://a.org",
            "allow-credentials: true",
            "allow-methods: PUT",
            "allow-headers: x-a, x-b",
            "max-age: 5",
            vary,
        ];
        assert_eq!(shown(&any.preflight(b"https://a.org", asked).unwrap()), expected);
        let without = Preflight { method: b"PUT", headers: None };
        assert!(
            !shown(&any.preflight(b"https://a.org", without).unwrap()).iter().any(|f| f.starts_with("allow-headers"))
        );
        assert!(listed.preflight(b"https://b.org", asked).is_none());
    }

    #[test]
    fn others_are_told_nothing_but_that_it_depends_on_who_asks() {
        let listed = cors(&["https://a.org"], true, &["x"]);
        assert_eq!(shown(&listed.response(Some(b"https://b.org"))), ["vary: Origin"]);
        assert_eq!(shown(&listed.response(None)), ["vary: Origin"]);
    }
}
