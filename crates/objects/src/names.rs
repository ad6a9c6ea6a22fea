//! What names, labels and annotations may look like (apimachinery's `validation` package); each check returns what is wrong,
//! in upstream's words, and nothing when all is well.

fn is_alphanumeric(byte: u8, upper: bool) -> bool {
    byte.is_ascii_lowercase() || byte.is_ascii_digit() || (upper && byte.is_ascii_uppercase())
}

/// Starts and ends alphanumeric, with `also` allowed in between.
fn shaped(text: &str, also: &[u8], upper: bool) -> bool {
    let bytes = text.as_bytes();
    let ends = [bytes.first(), bytes.last()];
    ends.iter().all(|end| end.is_some_and(|b| is_alphanumeric(*b, upper)))
        && bytes.iter().all(|b| is_alphanumeric(*b, upper) || also.contains(b))
}

fn too_long(text: &str, most: usize) -> Option<String> {
    (text.len() > most).then(|| format!("must be no more than {most} characters"))
}

/// An RFC 1123 label: at most 63 of lower-case letters, digits and `-`.
pub fn dns_label(text: &str) -> Vec<String> {
    let wrong = (!shaped(text, b"-", false)).then(|| {
        "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an \
         alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
            .to_owned()
    });
    too_long(text, 63).into_iter().chain(wrong).collect()
}

/// An RFC 1035 label: as [`dns_label`], starting with a letter (Service names).
pub fn dns_1035_label(text: &str) -> Vec<String> {
    let starts = text.as_bytes().first().is_some_and(u8::is_ascii_lowercase);
    let wrong = (!starts || !shaped(text, b"-", false)).then(|| {
        "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and \
         end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is \
         '[a-z]([-a-z0-9]*[a-z0-9])?')"
            .to_owned()
    });
    too_long(text, 63).into_iter().chain(wrong).collect()
}

/// An RFC 1123 subdomain: labels joined by dots, at most 253 characters.
pub fn dns_subdomain(text: &str) -> Vec<String> {
    let wrong = (!text.split('.').all(|label| shaped(label, b"-", false))).then(|| {
        "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end \
         with an alphanumeric character (e.g. 'example.com', regex used for validation is \
         '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
            .to_owned()
    });
    too_long(text, 253).into_iter().chain(wrong).collect()
}

/// As [`dns_subdomain`], with `_` where `-` may be and at a label's start, as names of services have it (`_http._tcp`).
pub fn subdomain_with_underscores(text: &str) -> Vec<String> {
    let good = |label: &str| shaped(label.strip_prefix('_').unwrap_or(label), b"-_", false);
    let wrong = (!text.split('.').all(good)).then(|| {
        "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '_', '-' or '.', and must start and \
         end with an alphanumeric character (e.g. 'example.com', regex used for validation is \
         '_?[a-z0-9]([-_a-z0-9]*[a-z0-9])?(\\._?[a-z0-9]([-_a-z0-9]*[a-z0-9])?)*')"
            .to_owned()
    });
    too_long(text, 253).into_iter().chain(wrong).collect()
}

/// The name of a header of a probe's request.
pub fn http_header(text: &str) -> Vec<String> {
    let good = !text.is_empty() && text.bytes().all(|b| is_alphanumeric(b, true) || b == b'-');
    let wrong = "a valid HTTP header must consist of alphanumeric characters or '-' (e.g. 'X-Header-Name', regex used for \
                 validation is '[-A-Za-z0-9]+')";
    if good { Vec::new() } else { vec![wrong.to_owned()] }
}

/// A label's or annotation's key: an optional subdomain and a slash, then at most 63 characters.
pub fn qualified_name(text: &str) -> Vec<String> {
    if text.matches('/').count() > 1 {
        return vec![
            "a qualified name must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an \
             alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is \
             '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]') with an optional DNS subdomain prefix and '/' \
             (e.g. 'example.com/MyName')"
                .to_owned(),
        ];
    }
    let mut wrong = Vec::new();
    let (prefix, name) = text.split_once('/').map_or((None, text), |(prefix, name)| (Some(prefix), name));
    match prefix {
        Some("") => wrong.push("prefix part must be non-empty".to_owned()),
        Some(prefix) => wrong.extend(dns_subdomain(prefix).into_iter().map(|w| format!("prefix part {w}"))),
        None => {}
    }
    if name.is_empty() {
        wrong.push("name part must be non-empty".to_owned());
    } else if name.len() > 63 {
        wrong.push("name part must be no more than 63 characters".to_owned());
    }
    if !shaped(name, b"-_.", true) {
        wrong.push(
            "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric \
             character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is \
             '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')"
                .to_owned(),
        );
    }
    wrong
}

/// A label's value: empty, or at most 63 characters.
pub fn label_value(text: &str) -> Vec<String> {
    let wrong = (!text.is_empty() && !shaped(text, b"-_.", true)).then(|| {
        "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end \
         with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is \
         '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"
            .to_owned()
    });
    too_long(text, 63).into_iter().chain(wrong).collect()
}

/// The name of a port of a container: an IANA service name (RFC 6335).
pub fn port_name(text: &str) -> Vec<String> {
    let mut wrong: Vec<&str> = Vec::new();
    if text.len() > 15 {
        wrong.push("must be no more than 15 characters");
    }
    if text.is_empty() || !text.bytes().all(|b| is_alphanumeric(b, false) || b == b'-') {
        wrong.push("must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)");
    }
    if !text.bytes().any(|b| b.is_ascii_lowercase()) {
        wrong.push("must contain at least one letter (a-z)");
    }
    if text.contains("--") {
        wrong.push("must not contain consecutive hyphens");
    }
    if text.starts_with('-') || text.ends_with('-') {
        wrong.push("must not begin or end with a hyphen");
    }
    wrong.into_iter().map(str::to_owned).collect()
}

/// The name of an environment variable: printable ASCII without `=`.
pub fn environment_variable(text: &str) -> Vec<String> {
    let good = !text.is_empty() && text.bytes().all(|b| (b' '..=b'~').contains(&b) && b != b'=');
    let wrong = "a valid environment variable name must consist only of printable ASCII characters other than '='";
    if good { Vec::new() } else { vec![wrong.to_owned()] }
}

/// The key of an entry of a ConfigMap or Secret, which may become a file's name.
pub fn config_key(text: &str) -> Vec<String> {
    let mut wrong: Vec<String> = too_long(text, 253).into_iter().collect();
    if text.is_empty() || !text.bytes().all(|b| is_alphanumeric(b, true) || b"-_.".contains(&b)) {
        wrong.push(
            "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or \
             'key-name', regex used for validation is '[-._a-zA-Z0-9]+')"
                .to_owned(),
        );
    }
    match text {
        "." | ".." => wrong.push(format!("must not be '{text}'")),
        _ if text.starts_with("..") => wrong.push("must not start with '..'".to_owned()),
        _ => {}
    }
    wrong
}

/// An RFC 1123 subdomain whose first label is `*`.
pub fn wildcard_subdomain(text: &str) -> Vec<String> {
    let good = text.strip_prefix("*.").is_some_and(|rest| rest.split('.').all(|label| shaped(label, b"-", false)));
    let wrong = (!good).then(|| {
        "a wildcard DNS-1123 subdomain must start with '*.', followed by a valid DNS subdomain, which must consist of lower case \
         alphanumeric characters, '-' or '.' and end with an alphanumeric character (e.g. '*.example.com', regex used for \
         validation is '\\*\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
            .to_owned()
    });
    too_long(text, 253).into_iter().chain(wrong).collect()
}

/// A name that is one step of a path, whatever else is in it (kinds of RBAC).
pub fn path_segment(text: &str) -> Vec<String> {
    if matches!(text, "." | "..") {
        return vec![format!("may not be '{text}'")];
    }
    ["/", "%"].iter().filter(|part| text.contains(**part)).map(|part| format!("may not contain '{part}'")).collect()
}

/// A subdomain, a slash and a path, such as `example.com/controller`.
pub fn domain_prefixed_path(text: &str) -> Vec<String> {
    match text.split_once('/') {
        Some((host, path)) if !host.is_empty() && !path.is_empty() => {
            let wrong = dns_subdomain(host).into_iter().map(|wrong| format!("prefix part {wrong}"));
            let good = path.bytes().all(|b| b.is_ascii_alphanumeric() || b"/%-._~+,;:@!$&'()*=".contains(&b));
            wrong.chain((!good).then(|| "Invalid path".to_owned())).collect()
        }
        _ => vec!["must be a domain-prefixed path (such as \"acme.io/foo\")".to_owned()],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn good_names_pass_and_bad_ones_say_why() {
        assert!(dns_label("my-name").is_empty() && dns_subdomain("a.b-c.d").is_empty());
        assert!(qualified_name("app.kubernetes.io/name").is_empty() && label_value("").is_empty());
        for bad in ["", "A", "-a", "a-", "a_b", "a.b"] {
            assert!(!dns_label(bad).is_empty(), "{bad:?}");
        }
        assert!(!dns_1035_label("1a").is_empty() && !dns_subdomain("a..b").is_empty());
        assert!(
            !qualified_name("/a").is_empty() && !qualified_name("a/").is_empty() && !qualified_name("a/b/c").is_empty()
        );
        assert!(
            qualified_name("a/b/c")[0]
                .ends_with("with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')")
        );
        assert!(port_name("http-2").is_empty() && !port_name("80").is_empty() && !port_name("a--b").is_empty());
        assert!(environment_variable("a.b c").is_empty() && !environment_variable("a=b").is_empty());
        assert!(config_key("Key_1.txt").is_empty() && !config_key("a/b").is_empty() && !config_key("..a").is_empty());
        assert_eq!(label_value(&"a".repeat(64)), ["must be no more than 63 characters"]);
    }
}
