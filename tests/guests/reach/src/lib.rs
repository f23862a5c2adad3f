//! A guest that reaches for whatever its caller names, and says what came of it.

#[cfg(cofferdam_guest)]
mod guest {
    use std::io::{Read as _, Write as _};

    use wasip2::http::outgoing_handler;
    use wasip2::http::types::{Fields, OutgoingRequest, Scheme};
    use wasip2::io::streams::{InputStream, StreamError};
    use wasip2::sockets::instance_network::instance_network;
    use wasip2::sockets::ip_name_lookup::resolve_addresses;
    use wasip2::sockets::network::{
        ErrorCode, IpAddress, IpAddressFamily, IpSocketAddress, Ipv4SocketAddress, Ipv6SocketAddress,
    };
    use wasip2::sockets::tcp_create_socket::create_tcp_socket;
    use wasip2::sockets::udp_create_socket::create_udp_socket;

    wit_bindgen::generate!({ world: "reach", path: "wit" });

    struct Reach;

    fn code(error: ErrorCode) -> String {
        error.name().to_owned()
    }

    fn family(address: &str) -> IpAddressFamily {
        if address.contains(':') { IpAddressFamily::Ipv6 } else { IpAddressFamily::Ipv4 }
    }

    fn socket_address(address: &str, port: u16) -> Result<IpSocketAddress, String> {
        match address.parse::<std::net::IpAddr>().map_err(|error| error.to_string())? {
            std::net::IpAddr::V4(v4) => {
                let [a, b, c, d] = v4.octets();
                Ok(IpSocketAddress::Ipv4(Ipv4SocketAddress { port, address: (a, b, c, d) }))
            }
            std::net::IpAddr::V6(v6) => {
                let [a, b, c, d, e, f, g, h] = v6.segments();
                let address = (a, b, c, d, e, f, g, h);
                Ok(IpSocketAddress::Ipv6(Ipv6SocketAddress { port, flow_info: 0, address, scope_id: 0 }))
            }
        }
    }

    fn text_of(address: IpAddress) -> String {
        match address {
            IpAddress::Ipv4((a, b, c, d)) => std::net::Ipv4Addr::new(a, b, c, d).to_string(),
            IpAddress::Ipv6((a, b, c, d, e, f, g, h)) => {
                std::net::Ipv6Addr::new(a, b, c, d, e, f, g, h).to_string()
            }
        }
    }

    fn read_all(stream: &InputStream) -> Result<String, String> {
        let mut bytes = Vec::new();
        loop {
            match stream.blocking_read(4096) {
                Ok(more) => bytes.extend(more),
                Err(StreamError::Closed) => break,
                Err(StreamError::LastOperationFailed(error)) => return Err(error.to_debug_string()),
            }
        }
        String::from_utf8(bytes).map_err(|error| error.to_string())
    }

    impl Guest for Reach {
        fn look_up(name: String) -> Result<Vec<String>, String> {
            let lookup = resolve_addresses(&instance_network(), &name).map_err(code)?;
            let mut found = Vec::new();
            loop {
                match lookup.resolve_next_address() {
                    Ok(Some(address)) => found.push(text_of(address)),
                    Ok(None) => return Ok(found),
                    Err(ErrorCode::WouldBlock) => lookup.subscribe().block(),
                    Err(error) => return Err(code(error)),
                }
            }
        }

        fn talk(address: String, port: u16, text: String) -> Result<String, String> {
            let socket = create_tcp_socket(family(&address)).map_err(code)?;
            socket.start_connect(&instance_network(), socket_address(&address, port)?).map_err(code)?;
            let (input, output) = loop {
                match socket.finish_connect() {
                    Ok(streams) => break streams,
                    Err(ErrorCode::WouldBlock) => socket.subscribe().block(),
                    Err(error) => return Err(code(error)),
                }
            };
            output.blocking_write_and_flush(text.as_bytes()).map_err(|error| format!("{error:?}"))?;
            let _ = socket.shutdown(wasip2::sockets::tcp::ShutdownType::Send);
            read_all(&input)
        }

        fn send_datagram(address: String, port: u16, text: String) -> Result<(), String> {
            let socket = create_udp_socket(family(&address)).map_err(code)?;
            let any = if address.contains(':') { "::" } else { "0.0.0.0" };
            socket.start_bind(&instance_network(), socket_address(any, 0)?).map_err(code)?;
            socket.finish_bind().map_err(code)?;
            let (_, outgoing) = socket.stream(None).map_err(code)?;
            outgoing.subscribe().block();
            outgoing.check_send().map_err(code)?;
            let datagram = wasip2::sockets::udp::OutgoingDatagram {
                data: text.into_bytes(),
                remote_address: Some(socket_address(&address, port)?),
            };
            match outgoing.send(&[datagram]).map_err(code)? {
                1 => Ok(()),
                _ => Err("not sent".to_owned()),
            }
        }

        fn listen_at(address: String, port: u16) -> Result<String, String> {
            let socket = create_tcp_socket(family(&address)).map_err(code)?;
            socket.start_bind(&instance_network(), socket_address(&address, port)?).map_err(code)?;
            socket.finish_bind().map_err(code)?;
            socket.start_listen().map_err(code)?;
            socket.finish_listen().map_err(code)?;
            loop {
                match socket.accept() {
                    Ok((_connection, input, _output)) => return read_all(&input),
                    Err(ErrorCode::WouldBlock) => socket.subscribe().block(),
                    Err(error) => return Err(code(error)),
                }
            }
        }

        fn get(scheme: String, authority: String, path: String) -> Result<String, String> {
            let request = OutgoingRequest::new(Fields::new());
            let scheme = if scheme == "https" { Scheme::Https } else { Scheme::Http };
            request.set_scheme(Some(&scheme)).map_err(|()| "scheme")?;
            request.set_authority(Some(&authority)).map_err(|()| "authority")?;
            request.set_path_with_query(Some(&path)).map_err(|()| "path")?;
            let answer = outgoing_handler::handle(request, None).map_err(|error| format!("{error:?}"))?;
            let response = loop {
                match answer.get() {
                    Some(response) => break response.map_err(|()| "taken twice")?,
                    None => answer.subscribe().block(),
                }
            };
            let response = response.map_err(|error| format!("{error:?}"))?;
            let status = response.status();
            let body = response.consume().map_err(|()| "body")?;
            let text = read_all(&body.stream().map_err(|()| "stream")?)?;
            Ok(format!("{status} {text}"))
        }

        fn read_text(path: String) -> Result<String, String> {
            std::fs::read_to_string(path).map_err(|error| error.to_string())
        }

        fn names(path: String) -> Result<Vec<String>, String> {
            let entries = std::fs::read_dir(path).map_err(|error| error.to_string())?;
            entries
                .map(|entry| Ok(entry.map_err(|error| error.to_string())?.file_name().to_string_lossy().into_owned()))
                .collect()
        }

        fn write_text(path: String, text: String, append: bool) -> Result<(), String> {
            let mut options = std::fs::OpenOptions::new();
            options.create(true).write(true).append(append).truncate(!append);
            let mut file = options.open(path).map_err(|error| error.to_string())?;
            file.write_all(text.as_bytes()).and_then(|()| file.flush()).map_err(|error| error.to_string())
        }

        fn resize(path: String, bytes: u64) -> Result<(), String> {
            let file = std::fs::OpenOptions::new().write(true).open(path).map_err(|error| error.to_string())?;
            file.set_len(bytes).map_err(|error| error.to_string())
        }

        fn litter(path: String, files: u32) -> u32 {
            (0..files).take_while(|number| std::fs::File::create(format!("{path}/{number}")).is_ok()).count() as u32
        }

        fn input() -> Result<String, String> {
            let mut text = String::new();
            std::io::stdin().read_to_string(&mut text).map_err(|error| error.to_string())?;
            Ok(text)
        }

        fn arguments() -> Vec<String> {
            std::env::args().collect()
        }

        fn say(text: String) {
            print!("{text}");
            let _ = std::io::stdout().flush();
        }

        fn variable(name: String) -> Option<String> {
            std::env::var(name).ok()
        }

        fn seconds() -> u64 {
            std::time::UNIX_EPOCH.elapsed().map_or(0, |time| time.as_secs())
        }

        fn take_memory(mebibytes: u32) -> u32 {
            std::hint::black_box(vec![1_u8; mebibytes as usize * 1024 * 1024]).len() as u32
        }

        fn crash() {
            panic!("as it was asked to");
        }

        fn leave() {
            std::process::exit(3);
        }
    }

    export!(Reach);
}
