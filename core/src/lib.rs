//! Skylark's core: every rule of the system, and no I/O.
#![no_std]
#![forbid(unsafe_code)]
extern crate alloc;
