//! Skylark for browsers and JavaScript runtimes.
