//! Pictures with orders for a decoder that somebody has taken over, and whether any of them was carried out.

use std::error::Error;
use std::fmt::Write as _;
use std::io::BufWriter;
use std::net::TcpListener;
use std::path::{Path, PathBuf};

/// Pixels of such a picture, in both directions.
const SIDE: u32 = 64;

/// The bait.
pub(crate) struct Orders {
    /// The pictures.
    pub(crate) pictures: Vec<PathBuf>,
    key: PathBuf,
    text: String,
    listener: TcpListener,
}

impl Orders {
    /// Writes a picture for each order, and what the orders are about: a key, and a place to send it to.
    pub(crate) fn write(folder: &Path) -> Result<Self, Box<dyn Error>> {
        std::fs::create_dir_all(folder)?;
        let key = std::path::absolute(folder)?.join("id_ed25519");
        let text = format!("a key that only its owner reads {}\n", std::process::id());
        std::fs::write(&key, &text)?;
        let listener = TcpListener::bind("127.0.0.1:0")?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let orders = [
            ("read-a-key", format!("read {}", key.display())),
            ("send-it-away", format!("send {address}")),
            ("spawn-a-shell", "spawn /bin/sh".to_owned()),
            ("fill-memory", "fill".to_owned()),
            ("hang", "hang".to_owned()),
        ];
        let mut pictures = Vec::new();
        for (name, order) in &orders {
            let path = folder.join(format!("{name}.png"));
            write(&path, order)?;
            pictures.push(path);
        }
        Ok(Self { pictures, key, text, listener })
    }

    /// What can be seen from here of what was tried.
    pub(crate) fn report(&self) -> Result<String, Box<dyn Error>> {
        let mut report = String::from("after the decoder's attempts:\n");
        let untouched = std::fs::read_to_string(&self.key)? == self.text;
        let _ = writeln!(report, "  the key is {}", if untouched { "as it was" } else { "changed" });
        let mut came = 0;
        while self.listener.accept().is_ok() {
            came += 1;
        }
        let _ = write!(report, "  {came} connections came to the place where the key was to be sent");
        Ok(report)
    }
}

/// A picture that looks harmless.
fn write(path: &Path, order: &str) -> Result<(), Box<dyn Error>> {
    let mut encoder = png::Encoder::new(BufWriter::new(std::fs::File::create(path)?), SIDE, SIDE);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    encoder.add_text_chunk("orders".to_owned(), order.to_owned())?;
    let mut writer = encoder.write_header()?;
    writer.write_image_data(&vec![200; (SIDE * SIDE * 3) as usize])?;
    writer.finish()?;
    Ok(())
}
