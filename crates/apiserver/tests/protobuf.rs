//! Bodies that kubectl 1.33 sent (`tests/protobuf/*.hex`), and the JSON that they must become (`*.json` beside them). With
//! `UPDATE_GOLDEN=1` the JSON is written instead of compared.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed step of a test is its failure")]

use std::{fs, path::Path};

use serde_json::Value;

fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<u32> = hex.chars().filter_map(|c| c.to_digit(16)).collect();
    digits.chunks(2).map(|pair| u8::try_from(pair[0] * 16 + pair[1]).unwrap()).collect()
}

#[test]
fn every_captured_body_becomes_the_json_beside_it() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/protobuf");
    let mut compared = 0;
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "hex") {
            continue;
        }
        let decoded = apiserver::protobuf::decode(&bytes(&fs::read_to_string(&path).unwrap()));
        let decoded = decoded.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let golden = path.with_extension("json");
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            fs::write(&golden, serde_json::to_string_pretty(&decoded).unwrap() + "\n").unwrap();
        }
        let expected: Value = serde_json::from_str(&fs::read_to_string(&golden).unwrap()).unwrap();
        assert_eq!(decoded, expected, "{}", path.display());
        compared += 1;
    }
    assert!(compared >= 10, "only {compared} bodies were found");
}
