//! A service on this machine with a picture for whoever asks: what a camera or a web site would be.

use std::error::Error;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::path::{Path, PathBuf};

/// The ports that the manifest grants.
const PORTS: std::ops::RangeInclusive<u16> = 18580..=18589;

/// The service, for as long as the program runs.
pub(crate) struct Service {
    /// What it has.
    pub(crate) addresses: Vec<String>,
}

impl Service {
    /// Offers the files of a folder.
    pub(crate) fn start(folder: &Path) -> Result<Self, Box<dyn Error>> {
        let listener =
            PORTS.clone().find_map(|port| TcpListener::bind(("127.0.0.1", port)).ok()).ok_or_else(|| {
                format!("the ports {} to {} of this machine are all taken", PORTS.start(), PORTS.end())
            })?;
        let files = crate::pipeline::files(folder)?;
        let host = listener.local_addr()?;
        let name =
            |file: &PathBuf| file.file_name().and_then(|name| name.to_str()).unwrap_or_default().to_owned();
        let addresses = files.iter().map(|file| format!("http://{host}/{}", name(file))).collect();
        std::thread::spawn(move || {
            for mut connection in listener.incoming().flatten() {
                let mut request = [0; 2048];
                let read = connection.read(&mut request).unwrap_or(0);
                let request = String::from_utf8_lossy(&request[..read]);
                let path = request.split(' ').nth(1).unwrap_or("/").trim_start_matches('/');
                // Only names that it offered itself: nothing of the request becomes a path.
                let found =
                    files.iter().find(|file| name(file) == path).and_then(|file| std::fs::read(file).ok());
                let (status, body) = found.map_or(("404 Not Found", Vec::new()), |body| ("200 OK", body));
                let head = format!(
                    "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
                    body.len()
                );
                let _ = connection.write_all(head.as_bytes()).and_then(|()| connection.write_all(&body));
            }
        });
        Ok(Self { addresses })
    }
}
