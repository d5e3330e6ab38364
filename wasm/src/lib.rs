//! Skylark for browsers and JavaScript runtimes: the core's machines, driven by promises.
//!
//! [`driver`] runs one machine over [`link`]s; `client` is the machine of the npm package, `hub` the NameServer and
//! broker of a tab cluster, each behind its feature; `convert` is where values change language. What programs see
//! is the TypeScript in `wasm/npm`; this crate is the small contract beneath it.
//!
//! Must stay true: no rule of RocketMQ is here; bad input is an error and never a panic; JavaScript is called only
//! while nothing is borrowed.

#![allow(clippy::cast_precision_loss, reason = "JavaScript's numbers are f64, and what becomes one is far below 2^53")]

#[cfg(feature = "client")]
mod admin;
#[cfg(feature = "client")]
mod client;
mod convert;
mod driver;
#[cfg(feature = "broker")]
mod hub;
mod link;
mod panic;
