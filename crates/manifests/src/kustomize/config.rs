//! What the transformations work on: kustomize's built-in tables, and the `configurations` that add to them.

use serde::Deserialize;

use super::{
    defaults,
    fieldspec::{self, FieldSpec},
    id::Gvk,
    order,
};

/// Which fields refer by name to objects of one kind.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct NameReference {
    pub(super) group: String,
    pub(super) version: String,
    pub(super) kind: String,
    /// The referring fields.
    pub(super) field_specs: Vec<FieldSpec>,
}

impl NameReference {
    /// The kind that is referred to.
    pub(super) fn gvk(&self) -> Gvk {
        Gvk { group: self.group.clone(), version: self.version.clone(), kind: self.kind.clone() }
    }
}

/// The fields of every transformation; also the content of a file that `configurations` names.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct Config {
    pub(super) name_prefix: Vec<FieldSpec>,
    pub(super) name_suffix: Vec<FieldSpec>,
    pub(super) namespace: Vec<FieldSpec>,
    pub(super) common_labels: Vec<FieldSpec>,
    pub(super) labels: Vec<FieldSpec>,
    pub(super) template_labels: Vec<FieldSpec>,
    pub(super) common_annotations: Vec<FieldSpec>,
    pub(super) name_reference: Vec<NameReference>,
    /// Only for `vars`, which are not done here; read so that files written for both are taken.
    pub(super) var_reference: Vec<FieldSpec>,
    pub(super) images: Vec<FieldSpec>,
    pub(super) replicas: Vec<FieldSpec>,
}

impl Config {
    /// The built-in tables.
    pub(super) fn built_in() -> Self {
        let mut config = defaults::config();
        config.sort();
        config
    }

    /// Adds another's fields to these.
    ///
    /// # Errors
    /// When they disagree about a field.
    pub(super) fn merge(&mut self, other: &Self) -> Result<(), String> {
        for (own, others) in self.lists().into_iter().zip(other.clone().lists()) {
            fieldspec::merge(own, others)?;
        }
        for reference in &other.name_reference {
            let mut found = false;
            for own in self.name_reference.iter_mut().filter(|own| own.gvk() == reference.gvk()) {
                fieldspec::merge(&mut own.field_specs, &reference.field_specs)?;
                found = true;
            }
            if !found {
                self.name_reference.push(reference.clone());
            }
        }
        self.sort();
        Ok(())
    }

    fn lists(&mut self) -> [&mut Vec<FieldSpec>; 10] {
        [
            &mut self.name_prefix,
            &mut self.name_suffix,
            &mut self.namespace,
            &mut self.common_labels,
            &mut self.labels,
            &mut self.template_labels,
            &mut self.common_annotations,
            &mut self.var_reference,
            &mut self.images,
            &mut self.replicas,
        ]
    }

    fn sort(&mut self) {
        for list in self.lists() {
            list.sort_by_cached_key(|spec| order::rank(&spec.gvk()));
        }
        self.name_reference.sort_by_cached_key(|reference| order::rank(&reference.gvk()));
    }
}
