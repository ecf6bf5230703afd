//! The `dpm` program.
fn main() {}
