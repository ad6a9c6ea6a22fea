//! The kustomization file: its fields, and those that are not done here.

use std::{collections::BTreeMap, path::Path};

use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;

use super::{
    generators::{Generator, Options},
    images::Image,
    order::SortOptions,
    patches::Patch,
    replacements::Replacement,
    transform::{Labels, Replica},
};
use crate::{
    error::Error,
    yaml::{self, Dialect},
};

/// A kustomization or component, as written.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct Kustomization {
    api_version: String,
    kind: String,
    /// For people and other tools; it has no effect.
    #[serde(rename = "metadata")]
    _metadata: Metadata,

    pub(super) resources: Vec<String>,
    /// The old name of `resources`.
    bases: Vec<String>,
    pub(super) components: Vec<String>,
    pub(super) configurations: Vec<String>,

    pub(super) namespace: String,
    pub(super) name_prefix: String,
    pub(super) name_suffix: String,
    pub(super) common_labels: BTreeMap<String, String>,
    pub(super) labels: Vec<Labels>,
    pub(super) common_annotations: BTreeMap<String, String>,
    pub(super) patches_strategic_merge: Vec<String>,
    #[serde(rename = "patchesJson6902")]
    pub(super) patches_json6902: Vec<Patch>,
    pub(super) patches: Vec<Patch>,
    pub(super) images: Vec<Image>,
    /// The old name of `images`.
    image_tags: Vec<Image>,
    pub(super) replacements: Vec<Replacement>,
    pub(super) replicas: Vec<Replica>,
    pub(super) config_map_generator: Vec<Generator>,
    pub(super) secret_generator: Vec<Generator>,
    pub(super) generator_options: Options,
    pub(super) sort_options: Option<SortOptions>,

    openapi: Option<Value>,
    crds: Option<Value>,
    vars: Option<Value>,
    helm_globals: Option<Value>,
    helm_charts: Option<Value>,
    helm_chart_inflation_generator: Option<Value>,
    generators: Option<Value>,
    transformers: Option<Value>,
    validators: Option<Value>,
    build_metadata: Option<Value>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Metadata {
    #[serde(rename = "name")]
    _name: String,
    #[serde(rename = "namespace")]
    _namespace: String,
    #[serde(rename = "labels")]
    _labels: BTreeMap<String, String>,
    #[serde(rename = "annotations")]
    _annotations: BTreeMap<String, String>,
}

/// What a folder holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Kustomization,
    Component,
}

impl Kustomization {
    /// Reads the file's text.
    ///
    /// # Errors
    /// Names the file and the line or field: broken YAML, unknown fields, fields that are not done here.
    pub(super) fn parse(text: &str, file: &Path) -> Result<(Self, Kind), Error> {
        let value = one_document(text, file)?;
        if value.as_object().is_none_or(|fields| fields.keys().all(|key| key == "apiVersion" || key == "kind")) {
            return Err(Error::text(file, 1, "the kustomization is empty"));
        }
        let mut this: Self = typed(value, text, file)?;
        this.refuse(file)?;
        let kind = this.kind(file)?;
        this.resources.append(&mut this.bases);
        this.images.append(&mut this.image_tags);
        Ok((this, kind))
    }

    fn kind(&self, file: &Path) -> Result<Kind, Error> {
        let (kind, version) = match self.kind.as_str() {
            "" | "Kustomization" => (Kind::Kustomization, "kustomize.config.k8s.io/v1beta1"),
            "Component" => (Kind::Component, "kustomize.config.k8s.io/v1alpha1"),
            other => {
                let reason = format!("{other:?} is unknown; it is Kustomization or Component");
                return Err(Error::kustomization(file, "kind", reason));
            }
        };
        if self.api_version.is_empty() || self.api_version == version {
            return Ok(kind);
        }
        Err(Error::kustomization(file, "apiVersion", format!("{:?} should be {version:?}", self.api_version)))
    }

    /// Says what is not done here, rather than leave it out.
    fn refuse(&self, file: &Path) -> Result<(), Error> {
        const PLUGINS: &str = "plugins are not run here: put their output among the resources";
        const HELM: &str = "charts are not inflated here: put the output of `helm template` among the resources";
        let refused = [
            ("openapi", &self.openapi, "schemas of your own are not read here: patch such lists with JSON patches"),
            ("crds", &self.crds, "definitions are not read for references here: list the fields in configurations"),
            ("vars", &self.vars, "variables are not done here: use replacements, which took their place"),
            ("helmGlobals", &self.helm_globals, HELM),
            ("helmCharts", &self.helm_charts, HELM),
            ("helmChartInflationGenerator", &self.helm_chart_inflation_generator, HELM),
            ("generators", &self.generators, PLUGINS),
            ("transformers", &self.transformers, PLUGINS),
            ("validators", &self.validators, PLUGINS),
            ("buildMetadata", &self.build_metadata, "builds are not annotated with their origin here: leave it out"),
        ];
        let is_empty = |value: &Value| {
            value.as_array().is_some_and(Vec::is_empty) || value.as_object().is_some_and(serde_json::Map::is_empty)
        };
        match refused.iter().find(|(_, value, _)| value.as_ref().is_some_and(|value| !is_empty(value))) {
            Some((field, _, reason)) => Err(Error::kustomization(file, field, *reason)),
            None => Ok(()),
        }
    }
}

fn one_document(text: &str, file: &Path) -> Result<Value, Error> {
    let documents = yaml::documents(text, Dialect::Kubectl).map_err(|e| Error::text(file, e.line, e.reason))?;
    let mut documents = documents.into_iter().filter(|document| !document.value.is_null());
    match (documents.next(), documents.next()) {
        (Some(document), None) => Ok(document.value),
        (None, _) => Err(Error::text(file, 1, "the file is empty")),
        (Some(_), Some(second)) => Err(Error::text(file, second.line, "there may be one document in this file")),
    }
}

/// A text of one document as a type; fields without a value count as not given.
///
/// # Errors
/// Names the file and, for an unknown field, its line.
pub(super) fn parse<T: DeserializeOwned>(text: &str, file: &Path) -> Result<T, Error> {
    typed(one_document(text, file)?, text, file)
}

fn typed<T: DeserializeOwned>(mut value: Value, text: &str, file: &Path) -> Result<T, Error> {
    drop_nulls(&mut value);
    T::deserialize(&value).map_err(|error| {
        let reason = error.to_string();
        let unknown = reason.strip_prefix("unknown field `").and_then(|rest| rest.split('`').next());
        match (unknown, wrong_field::<T>(&value)) {
            (Some(field), _) => Error::text(file, line_of(text, field), format!("the field {field:?} is unknown")),
            (None, Some(field)) => Error::text(file, line_of(text, field), format!("in the field {field:?}: {reason}")),
            (None, None) => Error::text(file, 1, reason),
        }
    })
}

/// The field that alone would be refused.
fn wrong_field<T: DeserializeOwned>(value: &Value) -> Option<&str> {
    let mut fields = value.as_object()?.iter();
    let alone = |(name, field): &(&String, &Value)| {
        T::deserialize(Value::from_iter([((*name).clone(), (*field).clone())])).is_err()
    };
    fields.find(alone).map(|(name, _)| name.as_str())
}

fn drop_nulls(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|_, field| !field.is_null());
            fields.values_mut().for_each(drop_nulls);
        }
        Value::Array(items) => items.iter_mut().for_each(drop_nulls),
        _ => {}
    }
}

/// The first line that gives the field.
fn line_of(text: &str, field: &str) -> u64 {
    let gives = |line: &str| {
        line.match_indices(field).any(|(at, _)| {
            let (before, after) = line.split_at(at);
            let after = after.strip_prefix(field).unwrap_or_default().trim_start_matches(['"', '\'']).trim_start();
            (before.is_empty() || before.ends_with([' ', '{', ',', '"', '\''])) && after.starts_with(':')
        })
    };
    text.lines().position(gives).map_or(1, |at| at as u64 + 1)
}
