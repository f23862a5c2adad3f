//! One request over HTTP: through WASI's interface in a component, which has no other, and over a socket elsewhere.

/// The implementation.
pub(crate) struct Http;

impl crate::download::Guest for Http {
    fn get(address: String, bytes_most: u32) -> Result<Vec<u8>, String> {
        let rest = address.strip_prefix("http://").ok_or("only `http:` addresses")?;
        let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
        request(host, &format!("/{path}"), bytes_most as usize)
    }
}

#[cfg(target_family = "wasm")]
fn request(host: &str, path: &str, most: usize) -> Result<Vec<u8>, String> {
    use wasip2::http::outgoing_handler::handle;
    use wasip2::http::types::{Fields, OutgoingRequest, Scheme};
    use wasip2::io::streams::StreamError;

    let request = OutgoingRequest::new(Fields::new());
    request.set_scheme(Some(&Scheme::Http)).map_err(|()| "a scheme that is none")?;
    request.set_authority(Some(host)).map_err(|()| "a host that is none")?;
    request.set_path_with_query(Some(path)).map_err(|()| "a path that is none")?;
    let answer = handle(request, None).map_err(|error| format!("{error:?}"))?;
    answer.subscribe().block();
    let answer = answer.get().ok_or("no answer")?.map_err(|()| "no answer")?;
    let answer = answer.map_err(|error| format!("{error:?}"))?;
    if answer.status() != 200 {
        return Err(format!("the host answers {}", answer.status()));
    }
    let body = answer.consume().map_err(|()| "no body")?;
    let stream = body.stream().map_err(|()| "no body")?;
    let mut bytes = Vec::new();
    loop {
        match stream.blocking_read(1 << 16) {
            Ok(more) if bytes.len() + more.len() > most => return Err(format!("more than {most} bytes")),
            Ok(more) => bytes.extend(more),
            Err(StreamError::Closed) => return Ok(bytes),
            Err(StreamError::LastOperationFailed(error)) => return Err(error.to_debug_string()),
        }
    }
}

#[cfg(not(target_family = "wasm"))]
fn request(host: &str, path: &str, most: usize) -> Result<Vec<u8>, String> {
    use std::io::{Read as _, Write as _};

    let told = |error: std::io::Error| error.to_string();
    let mut stream = std::net::TcpStream::connect(host).map_err(told)?;
    let head = format!("GET {path} HTTP/1.0\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).map_err(told)?;
    let mut answer = Vec::new();
    // The head of an answer is small beside a picture.
    let bound = most as u64 + (16 << 10);
    stream.take(bound).read_to_end(&mut answer).map_err(told)?;
    let end = answer
        .windows(4)
        .position(|window| window == b"\r\n\r\n")
        .ok_or("an answer without an end of its head")?;
    let head = String::from_utf8_lossy(&answer[..end]).into_owned();
    let status = head.split(' ').nth(1).unwrap_or_default();
    if status != "200" {
        return Err(format!("the host answers {status}"));
    }
    let body = answer.split_off(end + 4);
    if body.len() > most { Err(format!("more than {most} bytes")) } else { Ok(body) }
}
