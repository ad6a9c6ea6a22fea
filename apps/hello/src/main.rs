//! The `hello` service as a program of its own.

fn main() -> std::io::Result<()> {
    hello::run()
}
