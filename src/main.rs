//! The process entry of `tracker`.

fn main() {}
