//! The launcher as a program of its own, for the tests of this crate. In production it is a hidden subcommand.

fn main() -> std::process::ExitCode {
    engine::launcher::main(std::env::args_os().skip(1))
}
