//! The text of a manifest, and places in it.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use crate::limits::MANIFEST_BYTES_MAX;
use crate::scope::is_deceptive;

/// A file's number among the files of one project.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileId(pub(crate) u32);

/// The text of one manifest, with the name under which messages show it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ManifestText {
    name: Arc<str>,
    text: Arc<str>,
}

/// Why bytes are no manifest's text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TextError {
    /// Larger than [`MANIFEST_BYTES_MAX`].
    #[error("`{name}` has more than the {MANIFEST_BYTES_MAX} bytes that are read")]
    TooLarge {
        /// The file.
        name: String,
        /// Its size, or what was read of it.
        bytes: usize,
    },
    /// Not UTF-8.
    #[error("`{name}` is not UTF-8: line {line}, byte {offset} of the file")]
    NotUtf8 {
        /// The file.
        name: String,
        /// Line of the first wrong byte, from 1.
        line: usize,
        /// Its offset, from 0.
        offset: usize,
    },
}

impl ManifestText {
    /// Checks size and encoding. `name` is what messages call the file.
    pub fn from_bytes(name: &str, bytes: Vec<u8>) -> Result<Self, TextError> {
        // File names reach terminals and documents; what could deceive a reader there is left out.
        let name: String = name.chars().map(|c| if is_deceptive(c) { '\u{fffd}' } else { c }).collect();
        let name = name.as_str();
        if bytes.len() > MANIFEST_BYTES_MAX {
            return Err(TextError::TooLarge { name: name.to_owned(), bytes: bytes.len() });
        }
        let text = String::from_utf8(bytes).map_err(|error| {
            let offset = error.utf8_error().valid_up_to();
            let line = 1 + error.as_bytes()[..offset].iter().filter(|byte| **byte == b'\n').count();
            TextError::NotUtf8 { name: name.to_owned(), line, offset }
        })?;
        Ok(Self { name: name.into(), text: text.into() })
    }

    /// The file's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Line and column, both from 1; columns count characters.
    pub fn line_column(&self, offset: usize) -> (usize, usize) {
        let offset = self.text.floor_char_boundary(offset.min(self.text.len()));
        let before = &self.text[..offset];
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        (1 + before.bytes().filter(|byte| *byte == b'\n').count(), 1 + before[line_start..].chars().count())
    }
}

/// A stretch of bytes in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Location {
    /// Which file.
    pub file: FileId,
    /// First byte.
    pub start: u32,
    /// The byte after the last.
    pub end: u32,
}

impl Location {
    /// A location in `file`. Offsets fit in 32 bits, since texts are at most [`MANIFEST_BYTES_MAX`] long.
    pub(crate) fn new(file: FileId, span: &Range<usize>) -> Self {
        let offset = |byte: usize| u32::try_from(byte).unwrap_or(u32::MAX);
        Self { file, start: offset(span.start), end: offset(span.end) }
    }

    /// The bytes.
    pub fn range(self) -> Range<usize> {
        self.start as usize..self.end as usize
    }
}

/// A value, and where it is written.
#[derive(Debug, Clone)]
pub struct Located<T> {
    /// The value.
    pub value: T,
    /// Where.
    pub at: Location,
}

/// Equality is of what is said, not of where.
impl<T: PartialEq> PartialEq for Located<T> {
    fn eq(&self, other: &Self) -> bool {
        self.value == other.value
    }
}

/// The files of a project.
#[derive(Debug, Clone, Default)]
pub struct Files(Vec<ManifestText>);

impl Files {
    /// Adds a file.
    pub fn add(&mut self, text: ManifestText) -> FileId {
        let id = FileId(u32::try_from(self.0.len()).expect("fewer files than crates, which are bounded"));
        self.0.push(text);
        id
    }

    /// The file with that number.
    pub fn get(&self, id: FileId) -> &ManifestText {
        &self.0[id.0 as usize]
    }

    /// Every file with its number.
    pub fn iter(&self) -> impl Iterator<Item = (FileId, &ManifestText)> {
        self.0.iter().enumerate().map(|(index, text)| (FileId(index as u32), text))
    }

    /// `name:line:column` of a location's first byte.
    pub fn describe(&self, at: Location) -> String {
        let text = self.get(at.file);
        let (line, column) = text.line_column(at.start as usize);
        format!("{}:{line}:{column}", text.name())
    }
}

impl fmt::Display for ManifestText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}
