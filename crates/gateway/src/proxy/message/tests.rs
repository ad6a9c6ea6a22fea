use proptest::prelude::*;

use super::*;

fn rewritten(bytes: &[u8]) -> Option<(Vec<u8>, String, String, Body)> {
    let mut storage = request::Storage::new();
    let head = request::parse(bytes, &mut storage).ok()??;
    let (origin, change) = (Origin { client: "192.0.2.1".into(), edge: true }, HeaderChange::default());
    let mut out = Vec::new();
    request(&mut out, &head, None, Changes::new(&change, None), &origin, &mut fastrand::Rng::with_seed(1));
    Some((out, head.path.to_string(), head.authority.to_owned(), head.body))
}

/// Lines that matter to framing and routing, and lines that merely look so.
fn lines() -> impl Strategy<Value = String> {
    let names = prop::sample::select(vec![
        "Host",
        "Content-Length",
        "Transfer-Encoding",
        "Connection",
        "Upgrade",
        "TE",
        "Expect",
        "X-Forwarded-For",
        "X",
        "Content-Length ",
        "\tHost",
        "Transfer_Encoding",
    ]);
    let values = prop::sample::select(vec![
        "a",
        "example.com",
        "0",
        "5",
        "+5",
        "5, 5",
        "chunked",
        "gzip, chunked",
        "close",
        "upgrade, host",
        "websocket",
        "content-length",
        "100-continue",
        "",
        " a\t",
        "a\nb",
        "a\r b",
    ]);
    let ends = prop::sample::select(vec!["\r\n", "\r\n", "\r\n", "\r\n", "\n", "\r", "\r\n "]);
    (names, values, ends).prop_map(|(name, value, end)| format!("{name}: {value}{end}"))
}

fn targets() -> impl Strategy<Value = String> {
    prop_oneof![
        "/[a./%2eF?#]{0,12}",
        Just("*".to_owned()),
        Just("http://example.com/x".to_owned()),
        Just("http://a@b/".to_owned()),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// What the proxy lets through means the same to the next reader as to the proxy: this keeps one client's bytes from
    /// becoming another's request.
    #[test]
    fn what_is_sent_on_reads_the_same_and_is_exactly_one_head(
        method in prop::sample::select(vec!["GET", "POST", "OPTIONS", "BREW", "G T"]),
        target in targets(),
        version in prop::sample::select(vec!["1.1", "1.1", "1.0", "2.0"]),
        lines in prop::collection::vec(lines(), 0..5),
    ) {
        let bytes = format!("{method} {target} HTTP/{version}\r\nHost: one\r\n{}\r\n", lines.concat());
        if let Some((first, path, host, body)) = rewritten(bytes.as_bytes()) {
            let mut storage = request::Storage::new();
            let head = request::parse(&first, &mut storage).unwrap().unwrap();
            prop_assert_eq!(head.length, first.len());
            prop_assert_eq!((&*head.path, head.authority, head.body), (path.as_str(), host.as_str(), body));
            let text = String::from_utf8_lossy(&first);
            prop_assert_eq!(text.matches("\r\n\r\n").count(), 1);
            prop_assert!(!text.replace("\r\n", "").contains(['\r', '\n']));
        }
    }

    #[test]
    fn any_bytes_are_read_without_harm(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        _ = rewritten(&bytes);
        let mut storage = response::Storage::new();
        _ = response::parse(&bytes, false, &mut storage);
    }
}
