//! The program `skylark`.

use std::process::ExitCode;

fn main() -> ExitCode {
    skylark::cli::main()
}
