//! The contact sheet, and pictures as files.

use std::error::Error;
use std::fs::File;
use std::io::BufWriter;
use std::path::Path;

use crate::pipeline::{CARD, Picture};

/// Cards in a row.
const COLUMNS: usize = 3;
/// Pixels between cards.
const GAP: usize = 10;
const TABLE: u8 = 225;

/// All cards in rows.
pub(crate) fn compose(cards: &[&Picture]) -> Picture {
    let (card_width, card_height) = (CARD.0 as usize, CARD.1 as usize);
    let columns = cards.len().clamp(1, COLUMNS);
    let rows = cards.len().div_ceil(columns).max(1);
    let width = columns * (card_width + GAP) + GAP;
    let height = rows * (card_height + GAP) + GAP;
    let mut pixels = vec![TABLE; width * height * 3];
    for (number, card) in cards.iter().enumerate() {
        let left = (number % columns) * (card_width + GAP) + GAP;
        let top = (number / columns) * (card_height + GAP) + GAP;
        let bytes = card.width as usize * 3;
        // A part that gives a card of another size than it was asked for spoils its own place only.
        if bytes != card_width * 3 || card.pixels.len() != bytes * card_height {
            continue;
        }
        for (row, line) in card.pixels.chunks_exact(bytes).enumerate() {
            let at = ((top + row) * width + left) * 3;
            pixels[at..at + bytes].copy_from_slice(line);
        }
    }
    let size = |pixels: usize| u32::try_from(pixels).unwrap_or(u32::MAX);
    Picture { width: size(width), height: size(height), pixels }
}

/// Writes a picture as PNG.
pub(crate) fn write(path: &Path, picture: &Picture) -> Result<(), Box<dyn Error>> {
    let file = File::create(path).map_err(|error| format!("{}: {error}", path.display()))?;
    let mut encoder = png::Encoder::new(BufWriter::new(file), picture.width, picture.height);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    let mut writer = encoder.write_header()?;
    writer.write_image_data(&picture.pixels)?;
    writer.finish()?;
    Ok(())
}
