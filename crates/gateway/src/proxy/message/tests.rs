use proptest::prelude::*;

use crate::proxy::fuzzing;

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

    #[test]
    fn what_is_sent_on_reads_the_same_and_is_exactly_one_head(
        method in prop::sample::select(vec!["GET", "POST", "OPTIONS", "BREW", "G T"]),
        target in targets(),
        version in prop::sample::select(vec!["1.1", "1.1", "1.0", "2.0"]),
        lines in prop::collection::vec(lines(), 0..5),
    ) {
        fuzzing::http1(format!("{method} {target} HTTP/{version}\r\nHost: one\r\n{}\r\n", lines.concat()).as_bytes());
    }

    #[test]
    fn what_comes_in_http_2_is_exactly_one_head_of_http_1(
        method in prop::sample::select(vec!["GET", "POST", "OPTIONS", "BREW", "CONNECT"]),
        target in targets(),
        authority in prop::sample::select(vec!["one", "one:80", "", "[::1]:1", "a@b", "one,two"]),
        lines in prop::collection::vec(lines(), 0..6),
    ) {
        let lines = lines.concat().to_ascii_lowercase().replace('\r', "");
        fuzzing::http2(format!("{method}\n{target}\n{authority}\n{lines}").as_bytes());
    }

    #[test]
    fn any_bytes_are_read_without_harm(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        fuzzing::http1(&bytes);
        fuzzing::http2(&bytes);
    }
}
