//! Draws with a font of eight times eight pixels.

use font8x8::{BASIC_FONTS, LATIN_FONTS, UnicodeFonts as _};

use crate::types::Picture;

/// Pixels of a letter, in both directions.
const LETTER: u32 = 8;
/// Pixels from line to line.
const LINE: u32 = 12;
/// Pixels around everything.
const MARGIN: u32 = 6;
const PAPER: [u8; 3] = [250, 250, 247];
const INK: [u8; 3] = [38, 38, 38];
const FAINT: [u8; 3] = [120, 120, 116];

/// The implementation.
pub(crate) struct Card;

/// A picture that is drawn on.
struct Canvas {
    width: u32,
    height: u32,
    pixels: Vec<u8>,
}

impl crate::captions::Guest for Card {
    fn write(picture: Picture, width: u32, height: u32, lines: Vec<String>) -> Result<Picture, String> {
        let text_height =
            u32::try_from(lines.len()).unwrap_or(u32::MAX).saturating_mul(LINE).saturating_add(MARGIN);
        let room = height.saturating_sub(text_height);
        if picture.width > width || picture.height > room {
            return Err(format!(
                "{} times {} pixels do not fit above the text",
                picture.width, picture.height
            ));
        }
        if picture.pixels.len() as u64 != u64::from(picture.width) * u64::from(picture.height) * 3 {
            return Err("a picture of another size than it says".to_owned());
        }
        let mut canvas = Canvas { width, height, pixels: PAPER.repeat(width as usize * height as usize) };
        let (left, top) = ((width - picture.width) / 2, (room - picture.height) / 2);
        for row in 0..picture.height {
            let from = (row * picture.width * 3) as usize;
            let to = canvas.at(left, top + row);
            let bytes = picture.width as usize * 3;
            canvas.pixels[to..to + bytes].copy_from_slice(&picture.pixels[from..from + bytes]);
        }
        for (number, line) in (0_u32..).zip(&lines) {
            let ink = if number == 0 { INK } else { FAINT };
            canvas.write(line, room + MARGIN / 2 + number * LINE, ink);
        }
        Ok(Picture { width, height, pixels: canvas.pixels })
    }
}

impl Canvas {
    fn at(&self, x: u32, y: u32) -> usize {
        (y as usize * self.width as usize + x as usize) * 3
    }

    /// Writes a line in the middle; what does not fit is left out.
    fn write(&mut self, text: &str, top: u32, ink: [u8; 3]) {
        let most = (self.width.saturating_sub(2 * MARGIN) / LETTER) as usize;
        let letters: Vec<char> = text.chars().take(most).collect();
        let width = u32::try_from(letters.len()).unwrap_or(0) * LETTER;
        let left = (self.width - width) / 2;
        for (number, letter) in (0_u32..).zip(letters) {
            let glyph =
                BASIC_FONTS.get(letter).or_else(|| LATIN_FONTS.get(letter)).or_else(|| BASIC_FONTS.get('?'));
            for (row, bits) in (0_u32..).zip(glyph.unwrap_or_default()) {
                for column in (0..LETTER).filter(|column| bits >> column & 1 == 1) {
                    let (x, y) = (left + number * LETTER + column, top + row);
                    if y < self.height {
                        let at = self.at(x, y);
                        self.pixels[at..at + 3].copy_from_slice(&ink);
                    }
                }
            }
        }
    }
}
