use std::{
    io::{self, Write},
    sync::{Mutex, mpsc},
};

use serde_json::{Value, json};
use tracing_subscriber::layer::SubscriberExt as _;

use super::*;

/// Keeps what is written.
#[derive(Clone, Default)]
struct Kept(Arc<Mutex<Vec<u8>>>);

impl Write for Kept {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What `saying` logs at `level`.
fn said(format: Format, level: &str, access: bool, saying: impl FnOnce()) -> String {
    let kept = Kept::default();
    let sink = Sink::new(kept.clone()).unwrap();
    let layer = LogLayer::new("tested", format, sink.clone()).with_filter(filter(level.parse().unwrap(), access));
    tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), saying);
    sink.flush();
    String::from_utf8(kept.0.lock().unwrap().clone()).unwrap()
}

fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"))).collect()
}

#[test]
fn a_line_has_its_fields_and_those_of_the_spans_around_it() {
    let text = said(Format::Json, "info", true, || {
        let request =
            tracing::info_span!(target: REQUEST, "request", request_id = "r-1", trace_id = "t-1", http.route = "/x");
        let _request = request.enter();
        let _job = tracing::info_span!("job", job = 7, tries = tracing::field::Empty).entered();
        tracing::Span::current().record("tries", 2);
        tracing::warn!(ratio = 0.5, odd = f64::NAN, fine = true, name = "a\"b\n", "it is {}", "late");
    });
    let mut line = lines(&text).remove(0);
    let line = line.as_object_mut().unwrap();
    assert!(line.remove("timestamp").unwrap().as_str().unwrap().parse::<jiff::Timestamp>().is_ok());
    assert_eq!(
        Value::Object(line.clone()),
        json!({"level": "warn", "stream": "application", "service": "tested", "target": "service::log::tests",
            "message": "it is late", "ratio": 0.5, "odd": "NaN", "fine": true, "name": "a\"b\n",
            "request_id": "r-1", "trace_id": "t-1", "job": 7, "tries": 2})
    );
}

#[test]
fn no_field_can_pretend_to_be_the_lines_own_and_none_is_endless() {
    let text = said(Format::Json, "info", true, || {
        tracing::info!(stream = "audit", level = "none", long = "ü".repeat(100_000), "short");
        tracing::info!(long = ?vec!["x"; 100_000]);
    });
    let lines = lines(&text);
    assert_eq!((&lines[0]["stream"], &lines[0]["stream_"]), (&json!("application"), &json!("audit")));
    assert!(lines.iter().all(|line| line["long"].as_str().unwrap().ends_with('…')));
    assert!(text.len() < 40_000, "{}", text.len());
}

#[test]
fn the_level_is_for_the_application_only() {
    let text = said(Format::Json, "error", false, || {
        tracing::info!("not this");
        tracing::info!(target: ACCESS, "nor this");
        crate::audit::record(&crate::audit::Audit {
            actor: "ann",
            action: "order.cancel",
            object: "order:1",
            outcome: crate::audit::Outcome::Denied,
            reason: Some("not hers"),
            client: None,
        });
    });
    let lines = lines(&text);
    assert_eq!(lines.len(), 1, "{text}");
    assert_eq!((&lines[0]["stream"], &lines[0]["outcome"]), (&json!("audit"), &json!("denied")));
}

#[test]
fn text_for_a_terminal_stays_on_its_line() {
    let text = said(Format::Text, "info", true, || tracing::info!(name = "a b", plain = 1, "one\ntwo\u{1b}[2J"));
    assert_eq!(text.lines().count(), 1, "{text}");
    assert!(text.contains(r#" "one\ntwo\u001b[2J""#) && text.ends_with(" name=\"a b\" plain=1\n"), "{text}");
}

/// Writes only as often as it is let.
struct Gated(mpsc::Receiver<()>, Kept);

impl Write for Gated {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // When nobody is left to let it, it writes freely.
        let _ = self.0.recv();
        self.1.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn lines_that_do_not_fit_are_lost_counted_and_told_of() {
    let kept = Kept::default();
    let (gate, gated) = mpsc::channel();
    let sink = Sink::new(Gated(gated, kept.clone())).unwrap();
    let line = [vec![b'x'; 999], vec![b'\n']].concat();
    for _ in 0..5000 {
        sink.write(&line);
    }
    let lost = sink.lost().get();
    assert!(lost > 2000, "{lost}");
    drop(gate);
    sink.flush();
    let text = String::from_utf8(kept.0.lock().unwrap().clone()).unwrap();
    let told: u64 = text.lines().filter(|l| l.starts_with('{')).map(|l| lines(l)[0]["lost"].as_u64().unwrap()).sum();
    let written = text.lines().filter(|l| l.starts_with('x')).count() as u64;
    assert_eq!((told, written + lost), (lost, 5000));
}
