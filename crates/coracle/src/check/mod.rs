//! `coracle check`: what would become of manifests here, and what a real cluster must have to run them unchanged. Nothing is
//! started and nobody is asked.

#[cfg(test)]
mod compatibility;
mod needs;
mod report;

use std::{collections::BTreeMap, path::PathBuf, process::ExitCode};

use manifests::{Error, Object};
use objects::{
    custom,
    kinds::{Kind, Kinds},
};
use serde_json::Value;

use crate::cli::Check;
use needs::Needs;

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Severity {
    /// The API would refuse the object.
    Refused,
    /// Something of it would have no effect, or another one than elsewhere.
    Ignored,
}

impl Severity {
    fn word(self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::Ignored => "ignored",
        }
    }
}

/// Which object, for people and programs.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Subject {
    api_version: String,
    kind: String,
    /// Empty for kinds without namespaces.
    namespace: String,
    name: String,
}

impl std::fmt::Display for Subject {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.namespace.is_empty() {
            write!(f, "{} {}", self.kind, self.name)
        } else {
            write!(f, "{} {}/{}", self.kind, self.namespace, self.name)
        }
    }
}

/// One thing that is to be said.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Finding {
    severity: Severity,
    file: PathBuf,
    line: Option<u64>,
    /// `None`: the file itself.
    object: Option<Subject>,
    /// The path of the field; empty if it is the whole object.
    field: String,
    message: String,
}

/// Everything that is to be said.
#[derive(Debug, Default)]
struct Checked {
    objects: usize,
    findings: Vec<Finding>,
    needs: Needs,
}

impl Checked {
    fn count(&self, severity: Severity) -> usize {
        let about: BTreeMap<_, ()> = self
            .findings
            .iter()
            .filter(|finding| finding.severity == severity)
            .map(|finding| ((&finding.file, finding.line, &finding.object), ()))
            .collect();
        about.len()
    }

    /// Looks at everything that was read.
    fn of(read: Vec<Result<Object, Finding>>) -> Self {
        let mut checked = Self::default();
        let objects = read.iter().filter_map(|read| read.as_ref().ok());
        let kinds = Kinds::new(objects.filter(|object| is_definition(&object.value)).flat_map(defined).collect());
        for object in read {
            match object {
                Ok(object) => checked.add(object, &kinds),
                Err(finding) => checked.findings.push(finding),
            }
        }
        checked
    }

    /// Looks at one object.
    fn add(&mut self, object: Object, kinds: &Kinds) {
        let Object { value, source, line } = object;
        let verdict = apiserver::http::check(value.clone(), kinds);
        let namespaced = verdict.kind.is_none_or(|kind| kind.namespaced);
        let subject = subject(&value, namespaced);
        self.needs.add(&value, &subject);
        self.objects += 1;
        let finding = |severity, field, message| Finding {
            severity,
            file: source.clone(),
            line,
            object: Some(subject.clone()),
            field,
            message,
        };
        let refused =
            verdict.refused.into_iter().map(|refusal| finding(Severity::Refused, refusal.field, refusal.message));
        self.findings.extend(refused);
        let ignored = verdict.warnings.into_iter().map(|warning| finding(Severity::Ignored, String::new(), warning));
        self.findings.extend(ignored);
    }
}

fn is_definition(value: &Value) -> bool {
    let says = |field: &str, text: &str| value.get(field).is_some_and(|value| value == text);
    says("kind", "CustomResourceDefinition") && says("apiVersion", "apiextensions.k8s.io/v1")
}

/// The kinds that a definition brings; none if it says too little, which is found when it is looked at itself.
fn defined(definition: &Object) -> Vec<Kind> {
    custom::kinds(&definition.value).unwrap_or_default()
}

fn subject(value: &Value, namespaced: bool) -> Subject {
    let text = |pointer: &str| value.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
    let namespace = match text("/metadata/namespace") {
        _ if !namespaced => String::new(),
        own if own.is_empty() => "default".to_owned(),
        own => own,
    };
    Subject { api_version: text("/apiVersion"), kind: text("/kind"), namespace, name: text("/metadata/name") }
}

/// Prints what is to be said. The exit code is 0 if nothing would be refused, 1 if something would, 2 if the manifests cannot be
/// read at all.
///
/// # Errors
/// When it cannot print.
pub fn run(flags: &Check) -> anyhow::Result<ExitCode> {
    let mut read = Vec::new();
    let mut missing = false;
    let loaded = flags.kustomize.iter().map(|folder| manifests::build(folder));
    for objects in loaded.chain(flags.filename.iter().map(|file| manifests::load(file))) {
        match objects {
            Ok(objects) => read.extend(objects.into_iter().map(Ok)),
            Err(error @ Error::Read { .. }) => {
                missing = true;
                eprintln!("coracle: {error}");
            }
            Err(error) => read.push(Err(unreadable(&error))),
        }
    }
    let checked = Checked::of(read);
    if !missing || checked.objects > 0 {
        report::print(&checked, flags.output)?;
    }
    Ok(match (missing, checked.count(Severity::Refused)) {
        (true, _) => ExitCode::from(2),
        (false, 0) => ExitCode::SUCCESS,
        (false, _) => ExitCode::FAILURE,
    })
}

/// A file that is no manifest, or a kustomization that cannot be built.
fn unreadable(error: &Error) -> Finding {
    let (file, line, field, message) = match error {
        Error::Read { path, reason } => (path, None, String::new(), reason),
        Error::Text { path, line, reason } => (path, Some(*line), String::new(), reason),
        Error::Kustomization { path, field, reason } => (path, None, (*field).to_owned(), reason),
    };
    Finding { severity: Severity::Refused, file: file.clone(), line, object: None, field, message: message.clone() }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn checked(text: &str) -> Checked {
        Checked::of(manifests::parse(text, Path::new("a.yaml")).unwrap().into_iter().map(Ok).collect())
    }

    #[test]
    fn findings_name_the_file_the_line_the_object_and_the_field() {
        let found = checked(
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: fine}\n---\napiVersion: v1\nkind: Service\nmetadata: {name: web, namespace: prod}\nspec: {ports: [{port: 0, targetPort: 80}]}\n",
        );
        assert_eq!((found.objects, found.findings.len(), found.count(Severity::Refused)), (2, 1, 1));
        let finding = &found.findings[0];
        assert_eq!((finding.line, finding.field.as_str()), (Some(5), "spec.ports[0].port"));
        assert_eq!(finding.object.as_ref().unwrap().to_string(), "Service prod/web");
    }

    #[test]
    fn an_object_with_two_findings_counts_once() {
        let found = checked(
            "apiVersion: v1\nkind: Service\nmetadata: {name: web}\nspec: {type: NodePort, externalIPs: [10.0.0.1], ports: [{port: 80}]}\n",
        );
        assert_eq!((found.findings.len(), found.count(Severity::Ignored), found.count(Severity::Refused)), (2, 1, 0));
    }
}
