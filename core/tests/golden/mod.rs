//! The golden vectors, shared by the tests of frames, bodies and records.
#![allow(dead_code, reason = "each test file uses its part")]

use serde_json::Value;

const WIRE: &str = include_str!("../../../tests/golden/remoting-vectors.json");
const STORE: &str = include_str!("../../../tests/golden/store-vectors.json");

/// The wire vectors of a kind.
pub(crate) fn vectors(kind: &str) -> Vec<Value> {
    let all: Value = serde_json::from_str(WIRE).expect("JSON");
    all["vectors"].as_array().expect("list").iter().filter(|v| v["kind"] == kind).cloned().collect()
}

/// The wire or store vector of that id.
pub(crate) fn vector(id: &str) -> Value {
    for text in [WIRE, STORE] {
        let all: Value = serde_json::from_str(text).expect("JSON");
        let found = all["vectors"].as_array().expect("list").iter().find(|v| v["id"] == id);
        if let Some(found) = found {
            return found.clone();
        }
    }
    panic!("no golden vector '{id}'");
}

/// Bytes from hex.
pub(crate) fn bytes(hex: &Value) -> Vec<u8> {
    let hex = hex.as_str().expect("hex text");
    (0..hex.len()).step_by(2).map(|i| u8::from_str_radix(&hex[i..i + 2], 16).expect("hex")).collect()
}
