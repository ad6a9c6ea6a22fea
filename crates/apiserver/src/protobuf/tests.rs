use proptest::prelude::*;
use serde_json::json;

use super::*;

/// A number on the wire.
fn varint(mut number: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while number > 0x7f {
        bytes.push((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
    bytes
}

fn int(tag: u64, number: i64) -> Vec<u8> {
    [varint(tag << 3), varint(number.cast_unsigned())].concat()
}

fn text(tag: u64, value: impl AsRef<[u8]>) -> Vec<u8> {
    let value = value.as_ref();
    [varint(tag << 3 | 2), varint(value.len() as u64), value.to_vec()].concat()
}

fn body(api_version: &str, kind: &str, raw: &[u8]) -> Vec<u8> {
    let envelope = [text(1, [text(1, api_version), text(2, kind)].concat()), text(2, raw), text(3, ""), text(4, "")];
    [MAGIC.to_vec(), envelope.concat()].concat()
}

/// The object of this message, without its version and kind.
fn object(api_version: &str, kind: &str, raw: &[u8]) -> Result<Value, DecodeError> {
    let mut value = decode(&body(api_version, kind, raw))?;
    let map = value.as_object_mut().unwrap();
    assert_eq!(map.remove("apiVersion"), Some(api_version.into()));
    assert_eq!(map.remove("kind"), Some(kind.into()));
    Ok(value)
}

/// A pod with one container made of these fields.
fn container(fields: &[Vec<u8>]) -> Result<Value, DecodeError> {
    let pod = object("v1", "Pod", &text(2, text(2, fields.concat())))?;
    Ok(pod.pointer("/spec/containers/0").unwrap().clone())
}

#[test]
fn zero_is_absence_in_a_plain_field_and_zero_behind_a_pointer() {
    let spec = [int(1, 0), int(5, 0), int(7, 0)].concat();
    assert_eq!(object("apps/v1", "Deployment", &text(2, spec)), Ok(json!({"spec": {"replicas": 0}})));
}

#[test]
fn an_empty_message_behind_a_pointer_is_kept() {
    let volume = [text(1, "tmp"), text(2, text(2, [text(1, "")].concat()))].concat();
    let spec = text(1, volume);
    let expected = json!({"spec": {"volumes": [{"name": "tmp", "emptyDir": {}}]}});
    assert_eq!(object("v1", "Pod", &text(2, spec)), Ok(expected));
}

#[test]
fn embedded_structs_are_flattened() {
    let get = [text(1, "/ready"), text(2, [int(1, 1), int(2, 0), text(3, "http")].concat())].concat();
    let probe = [text(1, text(2, get)), int(2, 0), int(4, 10)].concat();
    let key = text(3, text(4, [text(1, text(1, "passwords")), text(2, "db"), int(3, 0)].concat()));
    let env = [text(1, "PASSWORD"), text(2, ""), key].concat();
    let expected = json!({
        "name": "web",
        "readinessProbe": {"httpGet": {"path": "/ready", "port": "http"}, "periodSeconds": 10},
        "env": [{
            "name": "PASSWORD",
            "valueFrom": {"secretKeyRef": {"name": "passwords", "key": "db", "optional": false}},
        }],
    });
    assert_eq!(container(&[text(1, "web"), text(11, probe), text(7, env)]), Ok(expected));
}

#[test]
fn maps_are_entries_and_quantities_are_text() {
    let limit = [text(1, "cpu"), text(2, text(1, "250m"))].concat();
    assert_eq!(container(&[text(8, text(1, limit))]), Ok(json!({"resources": {"limits": {"cpu": "250m"}}})));
}

#[test]
fn a_map_entry_without_a_value_has_the_zero_value() {
    assert_eq!(object("v1", "ConfigMap", &text(2, text(1, "empty"))), Ok(json!({"data": {"empty": ""}})));
}

#[test]
fn bytes_become_base64() {
    let entry = [text(1, "key"), text(2, [0u8, 255])].concat();
    assert_eq!(object("v1", "Secret", &text(2, entry)), Ok(json!({"data": {"key": "AP8="}})));
}

#[test]
fn times_have_whole_seconds_and_micro_times_six_digits() {
    let spec = [text(4, [int(1, 1), int(2, 1_500)].concat()), text(1, "me"), int(2, 15)].concat();
    let metadata = [text(8, ""), text(9, [int(1, 0), int(2, 999)].concat())].concat();
    let expected = json!({
        "metadata": {"deletionTimestamp": "1970-01-01T00:00:00Z"},
        "spec": {"renewTime": "1970-01-01T00:00:01.000001Z", "holderIdentity": "me", "leaseDurationSeconds": 15},
    });
    assert_eq!(object("coordination.k8s.io/v1", "Lease", &[text(1, metadata), text(2, spec)].concat()), Ok(expected));
}

#[test]
fn the_fields_of_managers_are_json_inside_bytes() {
    let entry = [text(1, "kubectl"), text(7, text(1, r#"{"f:data":{}}"#))].concat();
    let expected = json!({"metadata": {"managedFields": [{"manager": "kubectl", "fieldsV1": {"f:data": {}}}]}});
    assert_eq!(object("v1", "ConfigMap", &text(1, text(17, entry))), Ok(expected));
}

#[test]
fn numbers_may_be_negative_and_packed() {
    let security = [int(2, -1), text(4, [varint(1), varint(2)].concat()), int(4, 3)].concat();
    let expected = json!({"spec": {"securityContext": {"runAsUser": -1, "supplementalGroups": [1, 2, 3]}}});
    assert_eq!(object("v1", "Pod", &text(2, text(14, security))), Ok(expected));
}

#[test]
fn delete_options_are_read_in_any_group() {
    let expected = Ok(json!({"gracePeriodSeconds": 0, "propagationPolicy": "Background"}));
    assert_eq!(object("apps/v1", "DeleteOptions", &[int(1, 0), text(4, "Background")].concat()), expected);
}

#[test]
fn what_is_not_known_is_an_error_that_names_it() {
    assert_eq!(decode(b"{}"), Err(DecodeError::NoMagic));
    assert_eq!(container(&[int(999, 1)]), Err(DecodeError::UnknownField { message: "Container", tag: 999 }));
    let error = object("example.com/v1", "Thing", b"").unwrap_err();
    assert!(error.to_string().contains("Thing"), "{error}");
    let twice = object("v1", "Pod", &text(2, [text(10, "a"), text(10, "b")].concat()));
    assert_eq!(twice, Err(DecodeError::Twice { message: "PodSpec", field: "nodeName" }));
    let wrong = object("v1", "Pod", &text(2, int(10, 1)));
    assert_eq!(wrong, Err(DecodeError::Value { message: "PodSpec", field: "nodeName" }));
}

#[test]
fn a_body_that_breaks_off_never_yields_half_an_object() {
    let whole = body("v1", "ConfigMap", &text(2, [text(1, "key"), text(2, "value")].concat()));
    let full = decode(&whole);
    for length in 0..whole.len() {
        // Between the fields of the envelope it is well-formed: all of the object, or nothing but its kind.
        if let Ok(value) = decode(&whole[..length])
            && full.as_ref() != Ok(&value)
        {
            assert_eq!(value, json!({"apiVersion": "v1", "kind": "ConfigMap"}));
        }
    }
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = decode(&bytes);
        let _ = decode(&[MAGIC, &bytes].concat());
        for (api_version, kind, _) in tables::KINDS {
            let _ = decode(&body(api_version, kind, &bytes));
        }
    }

    #[test]
    fn data_survives(data in prop::collection::btree_map(".*", ".*", 0..8)) {
        let raw: Vec<u8> = data.iter().flat_map(|(k, v)| text(2, [text(1, k), text(2, v)].concat())).collect();
        let read = object("v1", "ConfigMap", &raw).unwrap();
        let expected = if data.is_empty() { json!({}) } else { json!({"data": data}) };
        prop_assert_eq!(read, expected);
    }

    /// Well-formed fields with any tags and contents reach deeper into the tables than plain noise.
    #[test]
    fn any_fields_are_read_or_refused(fields in prop::collection::vec((1u64..20, prop::collection::vec(0u64..24, 0..20)), 0..6)) {
        let raw: Vec<u8> = fields
            .iter()
            .flat_map(|(tag, path)| path.iter().fold(int(*tag, 1), |inner, tag| text(tag + 1, inner)))
            .collect();
        for (api_version, kind, _) in tables::KINDS {
            let _ = decode(&body(api_version, kind, &raw));
        }
    }
}
