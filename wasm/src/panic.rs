//! What a panic becomes: a sentence that JavaScript is told before the module traps.
//!
//! A module that panicked may hold half-changed state, so the package stops using it. See `load.ts`.

use std::cell::RefCell;

use wasm_bindgen::prelude::*;

thread_local! {
    static LISTENER: RefCell<Option<js_sys::Function>> = const { RefCell::new(None) };
}

/// Says where panics are told.
#[wasm_bindgen(js_name = onPanic)]
pub fn on_panic(listener: js_sys::Function) {
    LISTENER.with(|slot| *slot.borrow_mut() = Some(listener));
    std::panic::set_hook(Box::new(|info| {
        let listener = LISTENER.with(|slot| slot.borrow().clone());
        if let Some(listener) = listener {
            let _ = listener.call1(&JsValue::UNDEFINED, &info.to_string().into());
        }
    }));
}
