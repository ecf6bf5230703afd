//! The `dpm` program.

fn main() {
    std::process::exit(dpm::cli::main());
}
