//! The zapora service as a program of its own.

fn main() -> std::io::Result<()> {
    zapora::run()
}
