//! A guest that reaches for things itself, or has another guest do it over an edge of its own.

#[cfg(cofferdam_guest)]
mod guest {
    use std::io::Write as _;
    use std::sync::atomic::{AtomicU32, Ordering};

    use wasip2::io::streams::StreamError;
    use wasip2::sockets::instance_network::instance_network;
    use wasip2::sockets::network::{ErrorCode, IpAddressFamily, IpSocketAddress, Ipv4SocketAddress};
    use wasip2::sockets::tcp_create_socket::create_tcp_socket;

    wit_bindgen::generate!({ world: "relay", path: "wit" });

    struct Relay;

    static LIVES: AtomicU32 = AtomicU32::new(0);

    fn code(error: ErrorCode) -> String {
        error.name().to_owned()
    }

    impl Guest for Relay {
        fn own_read(path: String) -> Result<String, String> {
            std::fs::read_to_string(path).map_err(|error| error.to_string())
        }

        fn own_write(path: String, text: String) -> Result<(), String> {
            std::fs::write(path, text).map_err(|error| error.to_string())
        }

        fn own_talk(address: String, port: u16, text: String) -> Result<String, String> {
            let v4: std::net::Ipv4Addr = address.parse().map_err(|_| "an address of IPv4".to_owned())?;
            let [a, b, c, d] = v4.octets();
            let to = IpSocketAddress::Ipv4(Ipv4SocketAddress { port, address: (a, b, c, d) });
            let socket = create_tcp_socket(IpAddressFamily::Ipv4).map_err(code)?;
            socket.start_connect(&instance_network(), to).map_err(code)?;
            let (input, output) = loop {
                match socket.finish_connect() {
                    Ok(streams) => break streams,
                    Err(ErrorCode::WouldBlock) => socket.subscribe().block(),
                    Err(error) => return Err(code(error)),
                }
            };
            output.blocking_write_and_flush(text.as_bytes()).map_err(|error| format!("{error:?}"))?;
            let _ = socket.shutdown(wasip2::sockets::tcp::ShutdownType::Send);
            let mut bytes = Vec::new();
            loop {
                match input.blocking_read(4096) {
                    Ok(more) => bytes.extend(more),
                    Err(StreamError::Closed) => return String::from_utf8(bytes).map_err(|error| error.to_string()),
                    Err(error) => return Err(format!("{error:?}")),
                }
            }
        }

        fn own_variable(name: String) -> Option<String> {
            std::env::var(name).ok()
        }

        fn own_arguments() -> Vec<String> {
            std::env::args().collect()
        }

        fn own_say(text: String) {
            print!("{text}");
            let _ = std::io::stdout().flush();
        }

        fn own_seconds() -> u64 {
            std::time::UNIX_EPOCH.elapsed().map_or(0, |time| time.as_secs())
        }

        fn own_take_memory(mebibytes: u32) -> u32 {
            std::hint::black_box(vec![1_u8; mebibytes as usize * 1024 * 1024]).len() as u32
        }

        fn far_read(path: String) -> Result<String, String> {
            read_text(&path)
        }

        fn far_write(path: String, text: String) -> Result<(), String> {
            write_text(&path, &text, false)
        }

        fn far_talk(address: String, port: u16, text: String) -> Result<String, String> {
            talk(&address, port, &text)
        }

        fn far_look_up(name: String) -> Result<Vec<String>, String> {
            look_up(&name)
        }

        fn far_get(scheme: String, authority: String, path: String) -> Result<String, String> {
            get(&scheme, &authority, &path)
        }

        fn far_variable(name: String) -> Option<String> {
            variable(&name)
        }

        fn far_arguments() -> Vec<String> {
            arguments()
        }

        fn far_say(text: String) {
            say(&text);
        }

        fn far_seconds() -> u64 {
            seconds()
        }

        fn far_take_memory(mebibytes: u32) -> u32 {
            take_memory(mebibytes)
        }

        fn far_crash() {
            crash();
        }

        fn far_leave() {
            leave();
        }

        fn lives() -> u32 {
            LIVES.fetch_add(1, Ordering::Relaxed) + 1
        }
    }

    export!(Relay);
}
