//! Names have changed: whatever refers to an object by the name it had gets the one it has now.

use serde_json::{Value, json};

use super::{
    config::{Config, NameReference},
    fieldspec::{self, Create, FieldSpec},
    id::{Gvk, Id},
    resource::{Resource, Resources},
};

/// What a reference may be to: an object's identities and affixes, as they are when references are fixed.
struct Candidate {
    id: Id,
    previous: Vec<Id>,
    prefixes: Vec<String>,
    suffixes: Vec<String>,
}

impl Candidate {
    fn of(resource: &Resource) -> Self {
        Self {
            id: resource.id(),
            previous: resource.previous_ids(),
            prefixes: resource.prefixes.clone(),
            suffixes: resource.suffixes.clone(),
        }
    }

    fn original_namespace(&self) -> &str {
        self.previous.first().unwrap_or(&self.id).effective_namespace()
    }
}

/// Writes the present names into every field that the configuration says holds one.
///
/// # Errors
/// When a name could mean several objects.
pub(super) fn fix(resources: &mut Resources, config: &Config) -> Result<(), String> {
    let candidates: Vec<Candidate> = resources.0.iter().map(Candidate::of).collect();
    for resource in &mut resources.0 {
        let original = resource.original_id();
        let fixer = Fixer::new(resource, &candidates)?;
        for reference in &config.name_reference {
            for spec in reference.field_specs.iter().filter(|spec| original.gvk.is_selected(&spec.gvk())) {
                let fixed = fixer.fix(&mut resource.value, reference, spec);
                fixed.map_err(|reason| format!("{}: {reason}", resource.id()))?;
            }
        }
    }
    Ok(())
}

/// One referring object, and what it may refer to.
struct Fixer<'c> {
    referrer: Id,
    prefixes: Vec<String>,
    suffixes: Vec<String>,
    /// What a binding's `roleRef` says the kind is.
    role: Option<Gvk>,
    candidates: Vec<&'c Candidate>,
}

impl<'c> Fixer<'c> {
    fn new(resource: &Resource, candidates: &'c [Candidate]) -> Result<Self, String> {
        let referrer = resource.id();
        let text = |value: &Value, field: &str| value.get(field).and_then(Value::as_str).map(str::to_owned);
        let role = resource.value.get("roleRef").and_then(|role| {
            Some(Gvk { group: text(role, "apiGroup")?, kind: text(role, "kind")?, version: String::new() })
        });
        let bound = bound_namespaces(&resource.value, &referrer)?;
        let reachable = |candidate: &&Candidate| {
            referrer.cluster_scoped
                || candidate.id.cluster_scoped
                || candidate.id.same_namespace(&referrer)
                || bound.contains(&candidate.id.namespace)
        };
        let candidates = candidates.iter().filter(reachable).collect();
        let (prefixes, suffixes) = (resource.prefixes.clone(), resource.suffixes.clone());
        Ok(Self { referrer, prefixes, suffixes, role, candidates })
    }

    fn fix(&self, object: &mut Value, reference: &NameReference, spec: &FieldSpec) -> Result<(), String> {
        let target = reference.gvk();
        fieldspec::visit_path(object, spec, Create::Nothing, &mut |field| self.field(field, &target, spec))
    }

    fn field(&self, field: &mut Value, target: &Gvk, spec: &FieldSpec) -> Result<(), String> {
        match field {
            Value::Null => Ok(()),
            Value::Array(items) => items.iter_mut().try_for_each(|item| match item {
                Value::Array(_) => Err("a list in a list is no reference".to_owned()),
                item => self.field(item, target, spec),
            }),
            Value::Object(_) => self.mapping(field, target, spec),
            scalar => {
                let old = crate::yaml::text(scalar).unwrap_or_default();
                let found = self.choose(&old, self.candidates.clone(), target, spec, false)?;
                if let Some(found) = found.filter(|found| found.id.name != old) {
                    *scalar = found.id.name.as_str().into();
                }
                Ok(())
            }
        }
    }

    /// A mapping with `name` and perhaps `namespace`, such as a binding's subject.
    fn mapping(&self, field: &mut Value, target: &Gvk, spec: &FieldSpec) -> Result<(), String> {
        let text = |name: &str| field.get(name).map(|value| crate::yaml::text(value).unwrap_or_default());
        let old = text("name").ok_or("the mapping has no field \"name\"")?;
        let candidates = match text("namespace") {
            None => self.candidates.clone(),
            Some(namespace) => self.in_namespace(&namespace),
        };
        let Some(found) = self.choose(&old, candidates, target, spec, true)? else { return Ok(()) };
        if !found.id.namespace.is_empty() {
            set(field, "namespace", &found.id.namespace);
        }
        set(field, "name", &found.id.name);
        Ok(())
    }

    fn in_namespace(&self, namespace: &str) -> Vec<&'c Candidate> {
        let those = |of: fn(&Candidate) -> &str| -> Vec<&'c Candidate> {
            self.candidates.iter().copied().filter(|candidate| of(candidate) == namespace).collect()
        };
        let original = those(Candidate::original_namespace);
        if original.is_empty() { those(|candidate| candidate.id.effective_namespace()) } else { original }
    }

    /// The one candidate that had the name; among several, the one that went through the same prefixes and suffixes.
    fn choose(
        &self,
        old: &str,
        mut candidates: Vec<&'c Candidate>,
        target: &Gvk,
        spec: &FieldSpec,
        with_namespace: bool,
    ) -> Result<Option<&'c Candidate>, String> {
        candidates.retain(|c| c.previous.iter().any(|id| id.name == old));
        candidates.retain(|c| c.previous.iter().any(|id| id.gvk.is_selected(target)));
        if let Some(role) = self.role.as_ref().filter(|_| spec.path.ends_with("roleRef/name")) {
            candidates.retain(|c| c.previous.iter().any(|id| id.gvk.is_selected(role)));
        }
        candidates.retain(|c| {
            self.referrer.cluster_scoped
                || c.id.cluster_scoped
                || c.id.gvk.kind == "ServiceAccount"
                || self.referrer.same_namespace(&c.id)
        });
        if candidates.len() == 1 {
            return Ok(candidates.pop());
        }
        candidates.retain(|c| self.same_affixes(c, true));
        if candidates.len() > 1 {
            candidates.retain(|c| self.same_affixes(c, false));
        }
        let Some((first, others)) = candidates.split_first() else { return Ok(None) };
        let same =
            |c: &&Candidate| c.id.name == first.id.name && (!with_namespace || c.id.namespace == first.id.namespace);
        if others.iter().all(same) {
            return Ok(Some(first));
        }
        let names: Vec<String> = candidates.iter().map(|candidate| candidate.id.to_string()).collect();
        Err(format!("the name {old:?} in {} could mean any of: {}", spec.path, names.join(", ")))
    }

    fn same_affixes(&self, candidate: &Candidate, empty_fits: bool) -> bool {
        let same = |a: &[String], b: &[String]| {
            let (short, long) = if a.len() <= b.len() { (a, b) } else { (b, a) };
            match (short.is_empty(), long.is_empty()) {
                (true, true) => true,
                (true, false) => empty_fits,
                (false, _) => long.ends_with(short),
            }
        };
        same(&self.prefixes, &candidate.prefixes) && same(&self.suffixes, &candidate.suffixes)
    }
}

fn set(field: &mut Value, name: &str, text: &str) {
    if let Some(fields) = field.as_object_mut() {
        fields.insert(name.to_owned(), json!(text));
    }
}

/// The namespaces of the accounts that a `RoleBinding` binds: it reaches into them.
fn bound_namespaces(object: &Value, id: &Id) -> Result<Vec<String>, String> {
    if id.gvk.kind != "RoleBinding" {
        return Ok(Vec::new());
    }
    let subjects = object.get("subjects").and_then(Value::as_array).into_iter().flatten();
    let accounts = subjects.filter(|subject| subject.get("kind").is_some_and(|kind| kind == "ServiceAccount"));
    let namespace = |namespace: &Value| {
        namespace.as_str().map(str::to_owned).ok_or_else(|| format!("{id}: the namespace of a subject is not text"))
    };
    accounts.filter_map(|subject| subject.get("namespace")).map(namespace).collect()
}
