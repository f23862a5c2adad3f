//! Typed access to a TOML tree that collects errors instead of stopping at the first.

use toml::Spanned;
use toml::de::{DeString, DeTable, DeValue};

use super::error::{ManifestError, ManifestErrorKind};
use crate::limits::{FINDINGS_MAX, LIST_ENTRIES_MAX, NAME_BYTES_MAX, REASON_BYTES_MAX};
use crate::scope::is_deceptive;
use crate::suggest::nearest;
use crate::text::{FileId, Location};

pub(super) type Key<'i> = Spanned<DeString<'i>>;
pub(super) type Value<'i> = Spanned<DeValue<'i>>;

/// Reads one file's tree.
pub(super) struct Reader {
    file: FileId,
    errors: Vec<ManifestError>,
    unlisted: usize,
}

impl Reader {
    pub(super) fn new(file: FileId) -> Self {
        Self { file, errors: Vec::new(), unlisted: 0 }
    }

    pub(super) fn at<T>(&self, spanned: &Spanned<T>) -> Location {
        Location::new(self.file, &spanned.span())
    }

    pub(super) fn error(&mut self, at: Location, kind: ManifestErrorKind) {
        if self.errors.len() < FINDINGS_MAX {
            self.errors.push(ManifestError { kind, at });
        } else {
            self.unlisted += 1;
        }
    }

    /// The errors, in the order of the text.
    pub(super) fn into_errors(mut self) -> Vec<ManifestError> {
        self.errors.sort_by_key(|error| error.at);
        if self.unlisted > 0 {
            let kind = ManifestErrorKind::More { count: self.unlisted };
            self.errors.push(ManifestError { kind, at: Location { file: self.file, start: 0, end: 0 } });
        }
        self.errors
    }

    pub(super) fn wrong_type(&mut self, value: &Value<'_>, what: impl Into<String>, expected: &'static str) {
        let kind =
            ManifestErrorKind::WrongType { what: what.into(), expected, found: type_name(value.get_ref()) };
        self.error(self.at(value), kind);
    }

    pub(super) fn table<'v, 'i>(&mut self, value: &'v Value<'i>, what: &str) -> Option<&'v DeTable<'i>> {
        match value.get_ref() {
            DeValue::Table(table) => Some(table),
            _ => {
                self.wrong_type(value, what, "a table");
                None
            }
        }
    }

    /// A string without characters that deceive, of at most `max` bytes.
    pub(super) fn string<'v>(
        &mut self,
        value: &'v Value<'_>,
        what: &'static str,
        max: usize,
    ) -> Option<&'v str> {
        let DeValue::String(text) = value.get_ref() else {
            self.wrong_type(value, what, "a string");
            return None;
        };
        if text.len() > max {
            self.error(self.at(value), ManifestErrorKind::TooLong { what, found: text.len(), max });
            return None;
        }
        if text.chars().any(|c| is_deceptive(c) && c != '\n') {
            self.error(self.at(value), ManifestErrorKind::Deceptive { what });
            return None;
        }
        Some(text)
    }

    pub(super) fn name<'v>(&mut self, value: &'v Value<'_>, what: &'static str) -> Option<&'v str> {
        self.string(value, what, NAME_BYTES_MAX)
    }

    /// A reason: a string that is not blank.
    pub(super) fn reason(&mut self, value: &Value<'_>, of: &str) -> Option<String> {
        let text = self.string(value, "a reason", REASON_BYTES_MAX)?;
        if text.trim().is_empty() {
            self.error(self.at(value), ManifestErrorKind::ReasonMissing { what: format!("`{of}`") });
            return None;
        }
        Some(text.to_owned())
    }

    /// The entries of a list that is neither empty nor too long.
    pub(super) fn list<'v, 'i>(&mut self, value: &'v Value<'i>, what: &str) -> Option<&'v [Value<'i>]> {
        let DeValue::Array(entries) = value.get_ref() else {
            self.wrong_type(value, what, "a list");
            return None;
        };
        if entries.is_empty() {
            self.error(self.at(value), ManifestErrorKind::EmptyList { what: what.to_owned() });
            return None;
        }
        if entries.len() > LIST_ENTRIES_MAX {
            let kind = ManifestErrorKind::TooMany {
                what: "entries in one list",
                found: entries.len(),
                max: LIST_ENTRIES_MAX,
            };
            self.error(self.at(value), kind);
            return None;
        }
        Some(entries)
    }

    pub(super) fn boolean(&mut self, value: &Value<'_>, what: &str) -> Option<bool> {
        match value.get_ref() {
            DeValue::Boolean(flag) => Some(*flag),
            _ => {
                self.wrong_type(value, what, "`true` or `false`");
                None
            }
        }
    }

    /// A whole number from 1 to `max`.
    pub(super) fn count(&mut self, value: &Value<'_>, what: &'static str, max: u64) -> Option<u64> {
        let count = match value.get_ref() {
            DeValue::Integer(integer) => u64::from_str_radix(integer.as_str(), integer.radix()).ok(),
            _ => None,
        };
        let count = count.filter(|count| (1..=max).contains(count));
        if count.is_none() {
            self.error(self.at(value), ManifestErrorKind::BadCount { what, max });
        }
        count
    }

    /// Refuses every key that is not known, with the nearest one that is.
    pub(super) fn only_keys(
        &mut self,
        table: &DeTable<'_>,
        of: &'static str,
        known: &'static [&'static str],
    ) {
        for key in table.keys() {
            if !known.contains(&key.get_ref().as_ref()) {
                self.unknown_key(key, of, known);
            }
        }
    }

    pub(super) fn unknown_key(&mut self, key: &Key<'_>, table: &'static str, known: &'static [&'static str]) {
        let word = printable(key.get_ref());
        let suggestion = nearest(&word, known.iter().copied()).map(str::to_owned);
        self.error(self.at(key), ManifestErrorKind::UnknownKey { key: word, table, suggestion, known });
    }

    pub(super) fn too_many(&mut self, at: Location, what: &'static str, found: usize, max: usize) -> bool {
        if found > max {
            self.error(at, ManifestErrorKind::TooMany { what, found, max });
        }
        found > max
    }
}

/// The text without what a terminal would obey, cut to a name's length.
pub(super) fn printable(text: &str) -> String {
    let mut printable: String =
        text.chars().take(NAME_BYTES_MAX).map(|c| if is_deceptive(c) { '\u{fffd}' } else { c }).collect();
    if text.chars().nth(NAME_BYTES_MAX).is_some() {
        printable.push('…');
    }
    printable
}

fn type_name(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "an integer",
        DeValue::Float(_) => "a float",
        DeValue::Boolean(_) => "a boolean",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}
