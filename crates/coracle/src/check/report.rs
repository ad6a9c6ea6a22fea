//! What `coracle check` found, for people or for programs.

use std::io::{ErrorKind, Write};

use anyhow::Context;
use serde_json::{Value, json};

use super::{Checked, Finding, Severity, Subject};
use crate::cli::Output;

/// Objects that are named for one need before the rest is counted.
const NAMED: usize = 5;

/// Prints it to standard output.
///
/// # Errors
/// When it cannot be written.
pub(super) fn print(checked: &Checked, output: Output) -> anyhow::Result<()> {
    let text = match output {
        Output::Text => text(checked),
        Output::Json => format!("{}\n", json(checked)),
    };
    match std::io::stdout().lock().write_all(text.as_bytes()) {
        // Whoever reads it has seen enough, as `head` does.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        result => result.context("write to standard output"),
    }
}

fn text(checked: &Checked) -> String {
    let mut text: String = checked.findings.iter().map(|finding| format!("{}\n", line(finding))).collect();
    let needs = checked.needs.all();
    if !needs.is_empty() {
        if !text.is_empty() {
            text.push('\n');
        }
        text.push_str("To run this unchanged, a cluster needs:\n");
        for (what, role, by) in needs {
            let named: Vec<String> = by.iter().take(NAMED).map(ToString::to_string).collect();
            let more = by.len().saturating_sub(NAMED);
            let more = if more > 0 { format!(" and {more} more") } else { String::new() };
            text.push_str(&format!("- {what}: it {role} ({}{more})\n", named.join(", ")));
        }
        text.push('\n');
    }
    let (refused, ignored) = (checked.count(Severity::Refused), checked.count(Severity::Ignored));
    let objects = if checked.objects == 1 { "object" } else { "objects" };
    let said = match (refused, ignored) {
        (0, 0) => "all of it takes effect here".to_owned(),
        _ => format!("{refused} refused, {ignored} of which a part has no effect here"),
    };
    format!("{text}{} {objects}: {said}\n", checked.objects)
}

fn line(finding: &Finding) -> String {
    let Finding { severity, file, line, object, field, message } = finding;
    let place = line.map_or_else(|| file.display().to_string(), |line| format!("{}:{line}", file.display()));
    let object = object.as_ref().map(|object| format!("{object}: ")).unwrap_or_default();
    let field = if field.is_empty() { String::new() } else { format!("{field}: ") };
    format!("{place}: {}: {object}{field}{message}", severity.word())
}

fn json(checked: &Checked) -> Value {
    let object = |subject: &Subject| json!({"apiVersion": subject.api_version, "kind": subject.kind, "namespace": subject.namespace, "name": subject.name});
    let finding = |finding: &Finding| {
        json!({"severity": finding.severity.word(), "file": finding.file, "line": finding.line,
            "object": finding.object.as_ref().map(object), "field": finding.field, "message": finding.message})
    };
    let needs = checked.needs.all().into_iter().map(|(what, role, by)| {
        let by: Vec<Value> = by.into_iter().map(object).collect();
        json!({"what": what, "role": role, "objects": by})
    });
    json!({
        "objects": checked.objects,
        "refused": checked.count(Severity::Refused),
        "ignored": checked.count(Severity::Ignored),
        "findings": checked.findings.iter().map(finding).collect::<Vec<_>>(),
        "clusterNeeds": needs.collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_and_programs_read_the_same() {
        let mut checked = Checked { objects: 2, ..Checked::default() };
        assert!(text(&checked).contains("2 objects: all of it takes effect here"));
        let subject =
            Subject { kind: "Service".into(), name: "web".into(), namespace: "prod".into(), ..Subject::default() };
        checked.findings.push(Finding {
            severity: Severity::Refused,
            file: "a.yaml".into(),
            line: Some(7),
            object: Some(subject),
            field: "spec.ports".into(),
            message: "Required value".into(),
        });
        let said = text(&checked);
        assert!(said.starts_with("a.yaml:7: refused: Service prod/web: spec.ports: Required value\n"), "{said}");
        assert!(said.ends_with("2 objects: 1 refused, 0 of which a part has no effect here\n"), "{said}");
        let said = json(&checked);
        assert_eq!((&said["refused"], &said["findings"][0]["line"]), (&json!(1), &json!(7)));
        assert_eq!(said["findings"][0]["object"]["name"], "web");
    }
}
