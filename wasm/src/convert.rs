//! Between the core's words and JavaScript's: options in, errors and values out. Every conversion is here.
//!
//! Offsets are `BigInt`, times are numbers of ms, errors are plain objects of the shape `Failure` that
//! `wasm/npm/src/errors.ts` turns into classes.

use serde::Serialize;
#[cfg(feature = "broker")]
use serde::de::DeserializeOwned;
use serde_wasm_bindgen::Serializer;
use wasm_bindgen::prelude::*;

/// An error on its way to JavaScript.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Failure<'a> {
    /// Which class it becomes.
    pub(crate) kind: &'static str,
    pub(crate) code: i32,
    pub(crate) code_name: &'a str,
    pub(crate) message: &'a str,
    pub(crate) retryable: bool,
}

impl Failure<'_> {
    /// A caller's mistake.
    pub(crate) fn usage(message: &str) -> JsValue {
        to_js(&Failure { kind: "usage", code: -1, code_name: "USAGE", message, retryable: false })
    }
}

/// Options from JavaScript. What the types of the package forbid and came all the same is a usage failure.
#[cfg(feature = "broker")]
pub(crate) fn from_js<T: DeserializeOwned>(value: JsValue) -> Result<T, JsValue> {
    serde_wasm_bindgen::from_value(value).map_err(|error| {
        let why = error.to_string();
        Failure::usage(&why)
    })
}

/// A value for JavaScript: maps as objects, 64-bit integers as BigInt, nothing as undefined.
pub(crate) fn to_js<T: Serialize>(value: &T) -> JsValue {
    let serializer = Serializer::new().serialize_maps_as_objects(true).serialize_large_number_types_as_bigints(true);
    value.serialize(&serializer).unwrap_or_default()
}

/// The text of what JavaScript threw.
pub(crate) fn thrown(error: &JsValue) -> String {
    js_sys::Reflect::get(error, &"message".into())
        .ok()
        .and_then(|message| message.as_string())
        .or_else(|| error.as_string())
        .unwrap_or_else(|| "it failed without a reason".into())
}
