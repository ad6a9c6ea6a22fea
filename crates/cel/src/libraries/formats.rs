//! `kubernetes.NamedFormat`: formats of texts, and what is wrong with a text that is to be of one.

use std::sync::LazyLock;

use regex::Regex;

const LABEL: &str = "[a-z0-9]([-a-z0-9]*[a-z0-9])?";
const ABOUT_LABEL: &str = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";
const ABOUT_SUBDOMAIN: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
const ABOUT_1035: &str = "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')";
const ABOUT_VALUE: &str = "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";
const ABOUT_NAME: &str = "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";

/// A format: its name, its pattern, its longest text, and what is said of others.
type Row = (&'static str, Option<Regex>, usize, &'static str);

static ROWS: LazyLock<Vec<Row>> = LazyLock::new(|| {
    let whole = |pattern: &str| Regex::new(&format!("^(?:{pattern})$")).ok();
    let subdomain = format!("{LABEL}(\\.{LABEL})*");
    let name = "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]";
    let hex = "[0-9a-fA-F]";
    vec![
        ("dns1123Label", whole(LABEL), 63, ABOUT_LABEL),
        ("dns1123Subdomain", whole(&subdomain), 253, ABOUT_SUBDOMAIN),
        ("dns1035Label", whole("[a-z]([-a-z0-9]*[a-z0-9])?"), 63, ABOUT_1035),
        ("dns1123LabelPrefix", whole(LABEL), 63, ABOUT_LABEL),
        ("dns1123SubdomainPrefix", whole(&subdomain), 253, ABOUT_SUBDOMAIN),
        ("dns1035LabelPrefix", whole("[a-z]([-a-z0-9]*[a-z0-9])?"), 63, ABOUT_1035),
        ("qualifiedName", whole(&format!("({subdomain}/)?{name}")), 317, ABOUT_NAME),
        ("labelValue", whole(&format!("({name})?")), 63, ABOUT_VALUE),
        (
            "uuid",
            whole(&format!("{hex}{{8}}-{hex}{{4}}-{hex}{{4}}-{hex}{{4}}-{hex}{{12}}")),
            36,
            "does not match the UUID format",
        ),
        ("byte", whole("(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?"), usize::MAX, "invalid base64"),
        ("date", None, usize::MAX, "invalid date"),
        ("datetime", None, usize::MAX, "invalid datetime"),
        ("uri", None, usize::MAX, "invalid URI for request"),
    ]
});

/// The format of a name.
pub(crate) fn named(name: &str) -> Option<&'static str> {
    ROWS.iter().find(|row| row.0 == name).map(|row| row.0)
}

/// What is wrong with a text that is to be of a format.
pub(crate) fn validate(format: &str, text: &str) -> Vec<String> {
    let Some((name, pattern, longest, about)) = ROWS.iter().find(|row| row.0 == format) else { return Vec::new() };
    // A prefix that ends with a dash is one of which the last two characters are taken for a letter, as upstream has it.
    let masked = text.strip_suffix('-').filter(|_| name.ends_with("Prefix")).and_then(|text| {
        let mut chars = text.chars();
        chars.next_back().map(|_| format!("{}a", chars.as_str()))
    });
    let text = masked.as_deref().unwrap_or(text);
    let fits = match (pattern, *name) {
        (Some(pattern), _) => pattern.is_match(text),
        (None, "date") => text.parse::<jiff::civil::Date>().is_ok(),
        (None, "datetime") => text.parse::<jiff::Timestamp>().is_ok(),
        (None, _) => super::url::Url::parse(text).is_some(),
    };
    let mut wrong = Vec::new();
    if text.len() > *longest {
        wrong.push(format!("must be no more than {longest} bytes"));
    }
    if !fits {
        wrong.push((*about).to_owned());
    }
    wrong
}
