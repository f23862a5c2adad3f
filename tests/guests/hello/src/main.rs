//! A guest that is a program.

fn main() {
    println!("Hello from a program!");
}
