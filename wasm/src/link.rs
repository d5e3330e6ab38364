//! One link of a driver: a WebSocket or a MessagePort, whichever JavaScript handed over, as one thing.
//!
//! Both carry pieces of the remoting byte stream in binary messages, any number of frames in each. A WebSocket
//! opens and closes by itself. A MessagePort has no such events, so its acceptor says `null` once it listens,
//! and either side sends a text, which says why, and is gone.
//!
//! Must stay true: a handler that runs finds no Rust value borrowed, since JavaScript starts it from its event
//! loop; after a link was closed or dropped no event comes. What the bytes mean is not known here. Start at [`Link::attach`].

use js_sys::{Array, ArrayBuffer, Function, Reflect, Uint8Array};
use wasm_bindgen::prelude::*;
use web_sys::{BinaryType, MessageEvent, MessagePort, WebSocket};

/// The event with which runtimes report that a port's other end is gone.
const CLOSE: &str = "close";

/// What happens on a link.
pub(crate) enum LinkEvent {
    /// It carries bytes from now on.
    Open,
    /// A piece of the stream came.
    Bytes(Uint8Array),
    /// It is gone, or never opened; why, for people. The last event.
    Closed(String),
}

/// A WebSocket or MessagePort with handlers on it.
pub(crate) struct Link {
    end: End,
    /// Called by JavaScript while the link lives: for what comes, for the end.
    handlers: [Closure<dyn Fn(JsValue)>; 2],
}

/// The JavaScript side of a link. A clone is the same end.
#[derive(Clone)]
pub(crate) enum End {
    Socket(WebSocket),
    Port(MessagePort),
}

impl Link {
    /// Puts handlers on a WebSocket or a MessagePort, told apart by their methods: a supplied WebSocket is of
    /// no known class.
    pub(crate) fn attach(raw: JsValue, on: impl Fn(LinkEvent) + Clone + 'static) -> Result<Self, &'static str> {
        if has(&raw, "postMessage") {
            Ok(Self::port(raw.unchecked_into(), on))
        } else if has(&raw, "send") {
            Ok(Self::socket(raw.unchecked_into(), on))
        } else {
            Err("what was opened is neither a WebSocket nor a MessagePort")
        }
    }

    /// Attaches a port as the one who accepts: tells the peer that the link is open.
    #[cfg(feature = "broker")]
    pub(crate) fn accept(port: MessagePort, on: impl Fn(LinkEvent) + Clone + 'static) -> Self {
        // A port that is closed swallows messages; it does not throw.
        let _ = port.post_message(&JsValue::NULL);
        Self::port(port, on)
    }

    fn port(port: MessagePort, on: impl Fn(LinkEvent) + Clone + 'static) -> Self {
        let gone = on.clone();
        let message = Closure::<dyn Fn(JsValue)>::new(move |event: JsValue| {
            let data = event.unchecked_ref::<MessageEvent>().data();
            match data.dyn_into::<ArrayBuffer>() {
                Ok(buffer) => on(LinkEvent::Bytes(Uint8Array::new(&buffer))),
                Err(data) if data.is_null() => on(LinkEvent::Open),
                Err(data) => on(LinkEvent::Closed(data.as_string().unwrap_or_default())),
            }
        });
        // Runtimes that notice the other end's death say so.
        let closed = Closure::<dyn Fn(JsValue)>::new(move |_| gone(LinkEvent::Closed("the other side is gone".into())));
        port.set_onmessage(Some(message.as_ref().unchecked_ref()));
        let _ = port.add_event_listener_with_callback(CLOSE, closed.as_ref().unchecked_ref());
        Self { end: End::Port(port), handlers: [message, closed] }
    }

    fn socket(socket: WebSocket, on: impl Fn(LinkEvent) + Clone + 'static) -> Self {
        let gone = on.clone();
        let opened_or_came = Closure::<dyn Fn(JsValue)>::new(move |event: JsValue| {
            let data = event.unchecked_ref::<MessageEvent>().data();
            match data.dyn_into::<ArrayBuffer>() {
                Ok(buffer) => on(LinkEvent::Bytes(Uint8Array::new(&buffer))),
                Err(data) if data.is_undefined() => on(LinkEvent::Open),
                Err(_) => on(LinkEvent::Closed("the server sent text where bytes belong".into())),
            }
        });
        // An error is the end too: outside of browsers it says more than the close that follows it.
        let closed = Closure::<dyn Fn(JsValue)>::new(move |event: JsValue| {
            gone(LinkEvent::Closed(text(&event, "message").or_else(|| text(&event, "reason")).unwrap_or_default()));
        });
        socket.set_binary_type(BinaryType::Arraybuffer);
        socket.set_onopen(Some(opened_or_came.as_ref().unchecked_ref()));
        socket.set_onmessage(Some(opened_or_came.as_ref().unchecked_ref()));
        socket.set_onclose(Some(closed.as_ref().unchecked_ref()));
        socket.set_onerror(Some(closed.as_ref().unchecked_ref()));
        Self { end: End::Socket(socket), handlers: [opened_or_came, closed] }
    }

    /// Where to send, usable while the link's owner is not borrowed.
    pub(crate) fn end(&self) -> End {
        self.end.clone()
    }

    /// Closes; what was sent before still arrives.
    pub(crate) fn close(self) {
        drop(self);
    }
}

impl Drop for Link {
    /// Takes the handlers off, whose closures end here, and closes.
    fn drop(&mut self) {
        match &self.end {
            End::Socket(socket) => {
                socket.set_onopen(None);
                socket.set_onmessage(None);
                socket.set_onclose(None);
                // One stays: a WebSocket closed while it connects reports an error, which `ws` throws when nobody listens.
                socket.set_onerror(Some(&ignore()));
                let _ = socket.close();
            }
            End::Port(port) => {
                let _ = port.post_message(&"closed".into());
                port.set_onmessage(None);
                let _ = port.remove_event_listener_with_callback(CLOSE, self.handlers[1].as_ref().unchecked_ref());
                port.close();
            }
        }
    }
}

impl End {
    /// Sends a piece of the stream. A link that cannot send reports its end by itself.
    pub(crate) fn send(&self, bytes: &[u8]) {
        // A copy outside of wasm memory, which may move, and which a WebSocket may read later.
        let copy = Uint8Array::from(bytes);
        let _ = match self {
            Self::Socket(socket) => socket.send_with_array_buffer(&copy.buffer()),
            Self::Port(port) => {
                let buffer = copy.buffer();
                port.post_message_with_transferable(&buffer, &Array::of1(&buffer))
            }
        };
    }
}

/// A function that has no effect and outlives every closure of ours.
fn ignore() -> Function {
    Reflect::get(&js_sys::global(), &"Boolean".into()).unwrap_or_default().unchecked_into()
}

fn text(event: &JsValue, field: &str) -> Option<String> {
    Reflect::get(event, &field.into()).ok()?.as_string().filter(|text| !text.is_empty())
}

fn has(object: &JsValue, method: &str) -> bool {
    Reflect::get(object, &method.into()).is_ok_and(|value| value.is_function())
}
