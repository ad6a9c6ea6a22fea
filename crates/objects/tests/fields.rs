//! What holds of all field sets and merges, whatever they are of.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed test is to say where it failed")]

use std::borrow::Cow;

use jiff::Timestamp;
use objects::{
    fields::{self, Element, Keep, Managed, Set, Shape, Updater, Versions, Writer},
    schema,
};
use proptest::prelude::*;
use serde_json::{Value, json};

/// Deployments, in their one version.
struct Deployments;

impl Versions for Deployments {
    fn shape(&self, api_version: &str) -> Option<Shape<'_>> {
        if api_version == "apps/v1" { schema::shape("apps", "v1", "Deployment") } else { None }
    }

    fn convert<'v>(&self, object: &'v Value, from: &str, to: &str) -> Option<Cow<'v, Value>> {
        (from == to).then_some(Cow::Borrowed(object))
    }

    fn are_fixed(&self) -> bool {
        true
    }
}

/// The same, but sets may be of an older schema: every one of them is read again at each write.
struct Changing;

impl Versions for Changing {
    fn shape(&self, api_version: &str) -> Option<Shape<'_>> {
        Deployments.shape(api_version)
    }

    fn convert<'v>(&self, object: &'v Value, from: &str, to: &str) -> Option<Cow<'v, Value>> {
        Deployments.convert(object, from, to)
    }

    fn are_fixed(&self) -> bool {
        false
    }
}

fn shape() -> Shape<'static> {
    schema::shape("apps", "v1", "Deployment").unwrap()
}

fn writer(manager: &str) -> Writer<'_> {
    Writer { manager, api_version: "apps/v1", subresource: "", now: Timestamp::UNIX_EPOCH }
}

type Written = (Value, Option<Value>);

fn apply(live: Option<&Written>, manager: &str, applied: &Value, force: bool) -> Result<Written, fields::ApplyError> {
    let updater = Updater { versions: &Deployments, keep: &Keep::All };
    let (object, held) = live.map_or((None, None), |(object, held)| (Some(object), held.as_ref()));
    fields::apply(&updater, object, applied, held, &writer(manager), force)
}

fn update(live: &Written, manager: &str, new: &Value) -> Written {
    let updater = Updater { versions: &Deployments, keep: &Keep::All };
    let managed = fields::update(&updater, Some(&live.0), new, live.1.as_ref(), None, &writer(manager));
    (new.clone(), managed)
}

fn element() -> impl Strategy<Value = Element> {
    let key = |(name, number, text): (String, i64, String)| {
        Element::Key(vec![(name.into(), json!(number)), ("z".into(), json!(text))].into_boxed_slice())
    };
    prop_oneof![
        "[a-c.]{1,2}".prop_map(|name| Element::field(&name)),
        ("[a-c]", 0..3_i64, "[a\"b]{0,2}").prop_map(key),
        (0..3_i64).prop_map(|number| Element::Item(Box::new(json!(number)))),
        "[ab]".prop_map(|text| Element::Item(Box::new(json!(text)))),
        (0..3_i64).prop_map(Element::Index),
    ]
}

fn set() -> impl Strategy<Value = Set> {
    let paths = prop::collection::vec(prop::collection::vec(element(), 1..4), 0..12);
    paths.prop_map(|paths| Set::of(paths.iter().map(Vec::as_slice)))
}

fn deployment() -> impl Strategy<Value = Value> {
    let names = proptest::sample::subsequence(vec!["a", "b", "c"], 0..=3).prop_shuffle();
    let labels = prop::collection::btree_map("[xyz]", "[12]", 1..3);
    let ports = prop::collection::btree_set((80..82_i32, prop::bool::ANY), 0..3);
    (names, labels, 0..3_i32, ports).prop_map(|(names, labels, replicas, ports)| {
        let ports = ports.iter().map(|(port, udp)| {
            let mut port = json!({"containerPort": port});
            if *udp {
                port["protocol"] = json!("UDP");
            }
            port
        });
        let ports: Vec<Value> = ports.collect();
        let container = |name: &&str| json!({"name": name, "image": name, "ports": ports, "args": [name]});
        let containers: Vec<Value> = names.iter().map(container).collect();
        json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "labels": labels, "finalizers": names},
            "spec": {"replicas": replicas, "template": {"spec": {"containers": containers, "nodeSelector": labels}}}})
    })
}

/// Whatever JSON can say where Deployments say something else.
fn anything() -> impl Strategy<Value = Value> {
    let scalar = prop_oneof![
        Just(Value::Null),
        prop::bool::ANY.prop_map(Value::from),
        (0..3_i64).prop_map(Value::from),
        Just(json!(1.5)),
        "[a-c]{0,2}".prop_map(Value::from),
    ];
    let names = [
        "metadata",
        "labels",
        "finalizers",
        "ownerReferences",
        "uid",
        "spec",
        "template",
        "containers",
        "name",
        "ports",
        "containerPort",
        "protocol",
        "env",
        "replicas",
        "status",
        "conditions",
        "type",
        "x",
    ];
    scalar.prop_recursive(6, 40, 4, move |inner| {
        let name = proptest::sample::select(names.to_vec()).prop_map(str::to_owned);
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(name, inner, 0..4).prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn no_object_and_no_configuration_is_too_odd(live in anything(), applied in anything(), forced in prop::bool::ANY) {
        let made = update(&(json!({}), None), "me", &live);
        let _ = apply(Some(&made), "other", &applied, forced);
        if let Ok(made) = apply(None, "me", &applied, forced) {
            let next = update(&made, "other", &live);
            prop_assert!(Managed::read(next.1.as_ref()).is_ok());
            let _ = apply(Some(&next), "me", &applied, forced);
        }
    }

    #[test]
    fn two_sets_meet_where_their_intersection_is_not_empty(a in set(), b in set()) {
        prop_assert_eq!(a.meets(&b), !a.intersection(&b).is_empty());
    }

    #[test]
    fn a_set_is_the_same_after_a_round_trip_through_its_json(set in set()) {
        prop_assert_eq!(Set::from_json(&set.to_json()).unwrap(), set);
    }

    #[test]
    fn sets_obey_the_laws_of_sets(a in set(), b in set()) {
        let (union, both, left) = (a.union(&b), a.intersection(&b), a.difference(&b));
        prop_assert_eq!(&union, &b.union(&a));
        prop_assert_eq!(&both, &b.intersection(&a));
        prop_assert_eq!(left.union(&both), a.clone());
        prop_assert!(left.intersection(&b).is_empty());
        prop_assert_eq!(union.len() + both.len(), a.len() + b.len());
        prop_assert!(a.difference_below(&b).difference(&left).is_empty());
        for path in a.paths() {
            prop_assert!(a.has(&path) && union.has(&path));
            prop_assert_eq!(both.has(&path), b.has(&path));
        }
    }

    #[test]
    fn nothing_differs_between_an_object_and_itself(object in deployment()) {
        prop_assert!(fields::compare(shape(), Some(&object), &object).unwrap().is_empty());
        prop_assert_eq!(fields::merge(shape(), &object, &object).unwrap(), object);
    }

    #[test]
    fn merging_twice_is_merging_once(live in deployment(), applied in deployment()) {
        let once = fields::merge(shape(), &live, &applied).unwrap();
        prop_assert_eq!(fields::merge(shape(), &once, &applied).unwrap(), once);
    }

    #[test]
    fn what_was_extracted_is_what_was_applied(live in deployment(), applied in deployment()) {
        let merged = fields::merge(shape(), &live, &applied).unwrap();
        let said = fields::to_set(shape(), &applied);
        let extracted = fields::extract(shape(), &merged, &said);
        prop_assert_eq!(fields::to_set(shape(), &extracted), said);
    }

    #[test]
    fn applying_ones_own_fields_again_never_conflicts_and_changes_nothing(
        other in deployment(), mine in deployment(), forced in prop::bool::ANY,
    ) {
        let before = apply(None, "other", &other, false).unwrap();
        let Ok(after) = apply(Some(&before), "me", &mine, forced) else { return Ok(()) };
        prop_assert_eq!(apply(Some(&after), "me", &mine, false).unwrap(), after);
    }

    #[test]
    fn what_one_manager_alone_applied_goes_when_it_applies_nothing(first in deployment(), second in deployment()) {
        let before = apply(None, "me", &first, false).unwrap();
        let after = apply(Some(&before), "me", &second, false).unwrap();
        prop_assert_eq!(fields::to_set(shape(), &after.0), fields::to_set(shape(), &second));
    }

    #[test]
    fn a_forced_apply_leaves_no_two_owners_of_different_values(one in deployment(), two in deployment()) {
        let before = apply(None, "one", &one, false).unwrap();
        let after = apply(Some(&before), "two", &two, true).unwrap();
        prop_assert!(apply(Some(&after), "two", &two, false).is_ok());
        let said = fields::to_set(shape(), &two);
        let merged = fields::extract(shape(), &after.0, &said);
        prop_assert!(fields::compare(shape(), Some(&merged), &two).unwrap().modified.is_empty());
    }

    #[test]
    fn updates_own_what_they_changed_and_the_entries_stay_few(objects in prop::collection::vec(deployment(), 1..20)) {
        let mut written = apply(None, "applier", &objects[0], false).unwrap();
        for (at, object) in objects.iter().enumerate() {
            let next = update(&written, &format!("manager-{at}"), object);
            let managed = Managed::read(next.1.as_ref()).unwrap();
            prop_assert!(managed.entries().iter().all(|entry| !entry.fields().is_empty()));
            prop_assert!(managed.entries().len() <= 11);
            written = next;
        }
    }

    #[test]
    fn what_an_update_leaves_is_the_same_whether_or_not_the_sets_had_to_be_read(
        writes in prop::collection::vec((deployment(), 0..3_usize, "[12]?", prop::bool::ANY), 2..12),
    ) {
        let writers = [("one", ""), ("two", ""), ("one", "status")];
        let mut live = apply(None, "applier", &writes[0].0, false).unwrap();
        for (at, (object, writer, label, is_applied_then)) in writes.iter().enumerate() {
            // Half of the writes give another value to a field that is there already, and do nothing else.
            let mut new = if label.is_empty() { object.clone() } else { live.0.clone() };
            if !label.is_empty() {
                new["metadata"]["labels"]["x"] = json!(label);
            }
            // The server's, of which nobody is noted.
            new["metadata"]["generation"] = json!(at);
            let (manager, subresource) = writers[*writer];
            let now = Timestamp::from_second(100 - at as i64 % 3).unwrap();
            let writer = Writer { manager, api_version: "apps/v1", subresource, now };
            let by = |versions: &dyn Versions| {
                let updater = Updater { versions, keep: &Keep::All };
                fields::update(&updater, Some(&live.0), &new, live.1.as_ref(), None, &writer)
            };
            let managed = by(&Deployments);
            prop_assert_eq!(&managed, &by(&Changing));
            live = (new, managed);
            if *is_applied_then {
                // What it says has two owners now.
                live = apply(Some(&live), "applier", &live.0.clone(), true).unwrap();
            }
        }
    }
}

#[test]
fn an_update_of_values_alone_changes_no_more_than_the_time_of_who_has_them() {
    let object = |replicas: i32, label: &str| {
        json!({"apiVersion": "apps/v1", "kind": "Deployment",
               "metadata": {"name": "web", "labels": {"x": label}}, "spec": {"replicas": replicas}})
    };
    let at = |second, manager| Writer { now: Timestamp::from_second(second).unwrap(), ..writer(manager) };
    let updater = Updater { versions: &Deployments, keep: &Keep::All };
    let made = fields::update(&updater, None, &object(1, "a"), None, None, &at(0, "z"));
    let both =
        fields::update(&updater, Some(&object(1, "a")), &object(1, "b"), made.as_ref(), None, &at(1, "a")).unwrap();
    let (first, second) = (&both[0], &both[1]);
    assert_eq!((&first["manager"], &second["manager"]), (&json!("z"), &json!("a")));
    let later =
        fields::update(&updater, Some(&object(1, "b")), &object(2, "b"), Some(&both), None, &at(2, "z")).unwrap();
    let mut dated = first.clone();
    dated["time"] = json!("1970-01-01T00:00:02Z");
    // By their times, the latest last.
    assert_eq!(later, json!([second, dated]));
}
