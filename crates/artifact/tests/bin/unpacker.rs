//! The unpacker as a program of its own, for tests. In production it is a hidden subcommand.

fn main() -> std::process::ExitCode {
    artifact::rootfs::layers::child::main(std::env::args_os().skip(1))
}
