//! The program `skylark`.
fn main() {}
