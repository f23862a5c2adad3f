//! `kamadak-exif`, bytes in and fields out.

use std::io::Cursor;

use exif::{Error, In, Tag, Value};

use crate::fields::Field;

/// The fields that are looked for.
const WANTED: [(Tag, &str); 5] = [
    (Tag::ImageDescription, "title"),
    (Tag::Artist, "artist"),
    (Tag::DateTime, "time"),
    (Tag::Make, "maker"),
    (Tag::Model, "model"),
];
/// Most characters of a value.
const VALUE_CHARS_MAX: usize = 200;

/// The implementation.
pub(crate) struct Reader;

impl crate::fields::Guest for Reader {
    fn read(file: Vec<u8>) -> Result<Vec<Field>, String> {
        let read = match exif::Reader::new().read_from_container(&mut Cursor::new(file)) {
            Ok(read) => read,
            Err(Error::NotFound(_)) => return Ok(Vec::new()),
            Err(error) => return Err(error.to_string()),
        };
        let found = WANTED.iter().filter_map(|(tag, name)| {
            let value = match &read.get_field(*tag, In::PRIMARY)?.value {
                Value::Ascii(texts) => String::from_utf8_lossy(texts.first()?).into_owned(),
                _ => return None,
            };
            let value: String = value.trim().chars().take(VALUE_CHARS_MAX).collect();
            Some(Field { name: (*name).to_owned(), value })
        });
        Ok(found.collect())
    }
}
