//! Arguments to exit code.

fn main() {
    std::process::exit(switchover::cli::main());
}
