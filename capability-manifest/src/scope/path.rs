//! Paths, compared by their text alone: nothing here asks a file system.
//!
//! A path is absolute, or relative to the workspace's root. `..` is refused, because what it means depends on links;
//! what a link inside a granted folder leads to is the runtime's to confine, not ours to guess.

use std::fmt;

use super::pattern_set::Pattern;
use crate::limits::PATH_BYTES_MAX;

/// A path without `.`, `..`, doubled or trailing slashes. `""` is the workspace's root, `"/"` the file system's.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NormalPath(String);

/// Why a text is no path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PathError {
    /// Nothing written.
    #[error("a path may not be empty; write `.` for the workspace's root")]
    Empty,
    /// Contains `..`.
    #[error("`..` is not allowed in a path: what it means depends on links")]
    Parent,
    /// Contains a NUL, another control character, or a character that reorders text.
    #[error("a path may not contain control or text-direction characters")]
    Control,
    /// Contains `\`.
    #[error("`\\` is not allowed in a path; separate folders with `/`")]
    Backslash,
    /// Begins with `~`, which only a shell expands.
    #[error("`~` is not expanded here; write the whole path")]
    Tilde,
    /// Contains `*`, `?` or `$`, which nothing here expands.
    #[error("`{0}` is not expanded here; a granted folder includes all that is below it")]
    Glob(char),
    /// Longer than [`PATH_BYTES_MAX`].
    #[error("longer than {PATH_BYTES_MAX} bytes")]
    TooLong,
}

impl NormalPath {
    /// Normalises a path by its text.
    pub fn parse(text: &str) -> Result<Self, PathError> {
        if text.is_empty() {
            return Err(PathError::Empty);
        }
        if text.len() >= PATH_BYTES_MAX {
            return Err(PathError::TooLong);
        }
        if text.chars().any(is_deceptive) {
            return Err(PathError::Control);
        }
        if text.contains('\\') {
            return Err(PathError::Backslash);
        }
        if text.starts_with('~') {
            return Err(PathError::Tilde);
        }
        if let Some(glob) = text.chars().find(|c| matches!(c, '*' | '?' | '$')) {
            return Err(PathError::Glob(glob));
        }
        let parts: Vec<&str> = text.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
        if parts.contains(&"..") {
            return Err(PathError::Parent);
        }
        let slash = if text.starts_with('/') { "/" } else { "" };
        Ok(Self(format!("{slash}{}", parts.join("/"))))
    }

    /// The text, `.` for the workspace's root.
    pub fn as_str(&self) -> &str {
        if self.0.is_empty() { "." } else { &self.0 }
    }

    /// Whether it begins at the file system's root.
    pub fn is_absolute(&self) -> bool {
        self.0.starts_with('/')
    }

    /// The rest of `other` below `self`: `Some("")` when equal, `None` when `other` is not at or below `self`.
    pub fn suffix_of<'a>(&self, other: &'a Self) -> Option<&'a str> {
        match self.0.as_str() {
            "" => (!other.is_absolute()).then_some(&*other.0),
            "/" => other.0.strip_prefix('/'),
            mine => match other.0.strip_prefix(mine)? {
                "" => Some(""),
                rest => rest.strip_prefix('/'),
            },
        }
    }

    /// The path `suffix` below this one.
    #[must_use]
    pub fn join(&self, suffix: &str) -> Self {
        if suffix.is_empty() {
            self.clone()
        } else if self.0.is_empty() || self.0 == "/" {
            Self(format!("{}{suffix}", self.0))
        } else {
            Self(format!("{}/{suffix}", self.0))
        }
    }
}

impl fmt::Display for NormalPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Characters that make a name look like another one on a terminal: controls, and the bidirectional and invisible ones
/// (Unicode TR 36, section 3; the set is that of rustc's `text_direction_codepoint` lint, with zero-width characters).
pub fn is_deceptive(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

/// How much a granted path includes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Extent {
    /// That path, and when it is a folder, all that is below it.
    Tree,
    /// One file.
    File,
}

/// A granted file or folder.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PathPattern {
    /// Where, on the host.
    pub path: NormalPath,
    /// How much.
    pub extent: Extent,
}

impl PathPattern {
    /// A path and all below it.
    pub fn tree(path: NormalPath) -> Self {
        Self { path, extent: Extent::Tree }
    }
}

impl Pattern for PathPattern {
    fn covers(&self, other: &Self) -> bool {
        match (self.extent, other.extent) {
            (Extent::Tree, _) => self.path.suffix_of(&other.path).is_some(),
            (Extent::File, Extent::File) => self.path == other.path,
            (Extent::File, Extent::Tree) => false,
        }
    }
}

impl fmt::Display for PathPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.extent {
            Extent::Tree => write!(f, "{}", self.path),
            Extent::File => write!(f, "file {}", self.path),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> NormalPath {
        NormalPath::parse(text).expect(text)
    }

    #[test]
    fn normalises_by_text() {
        for (text, normal) in
            [("a//b/./c/", "a/b/c"), (".", "."), ("./a", "a"), ("/", "/"), ("//x/", "/x"), ("a b", "a b")]
        {
            assert_eq!(path(text).as_str(), normal);
        }
    }

    #[test]
    fn refuses_what_it_cannot_compare() {
        for (text, error) in [
            ("", PathError::Empty),
            ("a/../b", PathError::Parent),
            ("..", PathError::Parent),
            ("a\0b", PathError::Control),
            ("a\u{202e}b", PathError::Control),
            ("a\\b", PathError::Backslash),
            ("~/x", PathError::Tilde),
            ("a/*", PathError::Glob('*')),
        ] {
            assert_eq!(NormalPath::parse(text), Err(error), "{text:?}");
        }
        assert!(NormalPath::parse(&"a".repeat(PATH_BYTES_MAX - 1)).is_ok());
        assert_eq!(NormalPath::parse(&"a".repeat(PATH_BYTES_MAX)), Err(PathError::TooLong));
    }

    #[test]
    fn a_sibling_with_the_same_beginning_is_not_below() {
        let data = PathPattern::tree(path("/data"));
        assert!(data.covers(&PathPattern::tree(path("/data/x"))));
        assert!(!data.covers(&PathPattern::tree(path("/database"))));
        assert!(PathPattern::tree(path(".")).covers(&PathPattern::tree(path("a"))));
        assert!(!PathPattern::tree(path(".")).covers(&PathPattern::tree(path("/a"))));
        assert!(PathPattern::tree(path("/")).covers(&PathPattern::tree(path("/a"))));
    }
}
