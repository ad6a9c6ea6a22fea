//! Server-side apply against structured-merge-diff's own cases, re-expressed as data: `golden/apply.json` holds its test schemas
//! as OpenAPI definitions, and each case's operations, and what is to come of them.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed test is to say where it failed")]

use std::{borrow::Cow, collections::BTreeMap};

use objects::fields::{
    ApplyError, Compiler, Conflict, Element, Entry, Identity, Keep, Managed, Operation, Set, Shape, Types, Updater,
    Versions, extract, merge, path_text, validate,
};
use serde_json::{Map, Value, json};

/// All versions are the same: named by the schema's root, or by themselves.
struct Schema {
    types: Types,
    root: Option<String>,
}

impl Schema {
    fn of(schema: &Value) -> Self {
        let definitions: &Map<String, Value> = schema["definitions"].as_object().unwrap();
        let mut compiler = Compiler::new(definitions, false);
        for name in definitions.keys() {
            compiler.kind(name, name);
        }
        Self { types: compiler.finish(), root: schema["root"].as_str().map(str::to_owned) }
    }
}

impl Versions for Schema {
    fn shape(&self, api_version: &str) -> Option<Shape<'_>> {
        self.types.root(self.root.as_deref().unwrap_or(api_version))
    }

    fn convert<'v>(&self, object: &'v Value, _: &str, _: &str) -> Option<Cow<'v, Value>> {
        Some(Cow::Borrowed(object))
    }

    fn are_fixed(&self) -> bool {
        false
    }
}

struct State<'a> {
    schemas: &'a Value,
    schema: Schema,
    keep: Keep,
    live: Value,
    managed: Managed,
}

fn identity(manager: &str) -> Identity {
    let (api_version, subresource) = (String::new(), String::new());
    Identity { operation: Operation::Update, manager: manager.to_owned(), api_version, subresource }
}

impl State<'_> {
    fn run(&mut self, operation: &Value) -> Result<(), String> {
        let text = |field: &str| operation[field].as_str().unwrap_or_default();
        if text("op") == "schema" {
            self.schema = Schema::of(&self.schemas[text("schema")]);
            return Ok(());
        }
        let (version, by) = (text("version"), identity(text("manager")));
        let mut object = operation["object"].clone();
        let shape = self.schema.shape(version).ok_or("no type")?;
        validate(shape, &object, text("op") == "update").map_err(|e| e.to_string())?;
        let updater = Updater { versions: &self.schema, keep: &self.keep };
        let mut managed = self.managed.clone();
        if text("op") == "update" {
            let write = updater.difference(Some(&self.live), &object, version).map_err(|e| e.to_string())?;
            updater.update(write, &mut managed, &by).map_err(|e| e.to_string())?;
            (self.live, self.managed) = (object, managed);
            return Ok(());
        }
        if let ("extract", Some(entry)) = (text("op"), managed.get(&by)) {
            if entry.version != version {
                return Err("the entry is of another version".to_owned());
            }
            let paths = entry.fields().paths();
            let is_leaf =
                |path: &&Vec<Element>| !paths.iter().any(|other| other.len() > path.len() && other.starts_with(path));
            let leaves = Set::of(paths.iter().filter(is_leaf).map(Vec::as_slice));
            object = merge(shape, &extract(shape, &self.live, &leaves), &object).map_err(|e| e.to_string())?;
        }
        let outcome = updater.apply(&self.live, &object, version, &mut managed, &by, text("op") != "apply");
        let conflicts = match outcome {
            Ok(new) => {
                self.managed = managed;
                self.live = new.unwrap_or_else(|| self.live.take());
                Vec::new()
            }
            Err(ApplyError::Conflicts(conflicts)) if operation.get("conflicts").is_some() => conflicts,
            Err(other) => return Err(other.to_string()),
        };
        let shown = |c: &Conflict| json!({"manager": c.identity.manager, "path": path_text(&c.path)});
        let found: Vec<Value> = conflicts.iter().map(shown).collect();
        let wanted: Vec<Value> = operation["conflicts"].as_array().cloned().unwrap_or_default();
        let same = found.iter().all(|one| wanted.contains(one)) && wanted.iter().all(|one| found.contains(one));
        if same { Ok(()) } else { Err(format!("conflicts: {found:?}")) }
    }

    fn managed(&self) -> BTreeMap<String, (String, Set)> {
        let entry = |entry: &Entry| (entry.identity.manager.clone(), (entry.version.clone(), entry.fields().clone()));
        self.managed.entries().iter().map(entry).collect()
    }
}

fn wanted(managed: &Value) -> BTreeMap<String, (String, Set)> {
    let entry = |(manager, entry): (&String, &Value)| {
        let version = entry["version"].as_str().unwrap().to_owned();
        (manager.clone(), (version, Set::from_json(&entry["fields"]).unwrap()))
    };
    managed.as_object().unwrap().iter().map(entry).collect()
}

fn fails(schemas: &Value, case: &Value) -> Option<String> {
    let keep = case.get("ignored").map_or(Keep::All, |fields| Keep::Without(Set::from_json(fields).unwrap()));
    let schema = Schema::of(&schemas[case["schema"].as_str().unwrap()]);
    let mut state = State { schemas, schema, keep, live: Value::Null, managed: Managed::default() };
    for (at, operation) in case["ops"].as_array().unwrap().iter().enumerate() {
        if let Err(error) = state.run(operation) {
            return Some(format!("operation {at}: {error}"));
        }
    }
    if let Some(object) = case.get("object").filter(|object| !object.is_null())
        && *object != state.live
    {
        return Some(format!("the object is {}, not {object}", state.live));
    }
    let (wanted, managed) = (wanted(case.get("managed")?), state.managed());
    (wanted != managed).then(|| format!("managed is {managed:?}, not {wanted:?}"))
}

#[test]
fn applies_and_updates_do_what_upstreams_cases_say() {
    let golden: Value = serde_json::from_str(include_str!("golden/apply.json")).unwrap();
    let cases = golden["cases"].as_array().unwrap();
    let wrong: Vec<String> = cases
        .iter()
        .filter_map(|case| {
            let failed = fails(&golden["schemas"], case);
            let meant = case["fails"] == json!(true);
            let why = match (failed, meant) {
                (Some(why), false) => why,
                (None, true) => "it does not fail".to_owned(),
                _ => return None,
            };
            Some(format!("{}/{}: {why}", case["suite"], case["name"]))
        })
        .collect();
    assert!(wrong.is_empty(), "{} of {} cases:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
}
