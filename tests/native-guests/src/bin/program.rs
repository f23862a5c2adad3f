//! A program that a guest starts: says its arguments, or tries what nobody granted.

fn main() -> std::io::Result<()> {
    use std::io::Write;
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.first().is_some_and(|first| first == "connect") {
        let connected = std::net::TcpStream::connect("127.0.0.1:1").map(drop);
        return writeln!(std::io::stdout(), "{connected:?}");
    }
    writeln!(std::io::stdout(), "started with {}", arguments.join(" "))
}
