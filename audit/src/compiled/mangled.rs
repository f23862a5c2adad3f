//! Names of compiled functions, taken apart: which crate defines a function, its path, and the functions that are handed to it as
//! generic arguments. The form is Rust's v0 mangling (RFC 2603); what is only printed goes through `rustc-demangle` instead.

use crate::limits::{MANGLED_DEPTH_MAX, MANGLED_STEPS_MAX};

/// A crate as names of functions mean it: two versions of one crate have different numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct CrateName<'a> {
    pub(crate) name: &'a str,
    pub(crate) number: u64,
}

/// The path of an item, without generic arguments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ItemPath<'a> {
    /// The crate that has the code: for an `impl` the one that it stands in.
    pub(crate) krate: CrateName<'a>,
    /// As it would be written: of a method the type's path and the method. The first word is a crate.
    pub(crate) words: Vec<&'a str>,
    /// Of a trait's method the trait's path, and the method.
    pub(crate) in_trait: Option<Vec<&'a str>>,
    form: Form,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// A function or constant.
    Value,
    Type,
    /// A closure, or a shim of the compiler.
    Inner,
}

/// The name of a function, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Symbol<'a> {
    pub(crate) path: ItemPath<'a>,
    /// Functions of std among the generic arguments, at any depth: what is called may call them.
    pub(crate) handed: Vec<ItemPath<'a>>,
    /// The crate for which a copy was compiled.
    pub(crate) copied_for: Option<CrateName<'a>>,
}

/// A type.
enum Kind<'a> {
    /// One that has a path.
    Named(ItemPath<'a>),
    /// One of the language's own, or made of others.
    Nameless,
}

/// Takes a name apart; `None` when it is no such name.
pub(crate) fn parse(name: &str) -> Option<Symbol<'_>> {
    let text = name.strip_prefix("_R")?;
    // What LLVM or the linker adds comes after these.
    let end = text.find(['.', '$', '@']).unwrap_or(text.len());
    let text = &text[..end];
    // A digit here would be a version of the encoding; there is none yet.
    if !text.is_ascii() || !text.starts_with(|first: char| first.is_ascii_uppercase()) {
        return None;
    }
    let mut parser = Parser { text, at: 0, handed: Vec::new(), depth: 0, steps: 0, lifted: 0 };
    let path = parser.path()?;
    let handed = std::mem::take(&mut parser.handed);
    let copied_for = if parser.at < text.len() { Some(parser.path()?.krate) } else { None };
    (parser.at == text.len()).then_some(Symbol { path, handed, copied_for })
}

/// Room for the words of most paths.
const WORDS_USUAL: usize = 8;

struct Parser<'a> {
    text: &'a str,
    at: usize,
    handed: Vec<ItemPath<'a>>,
    depth: usize,
    /// References back can be made to repeat each other, so the work is bounded too.
    steps: usize,
    /// Above 0 where a path says where code stands, so that its arguments are handed to nobody.
    lifted: usize,
}

impl<'a> Parser<'a> {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn next(&mut self) -> Option<u8> {
        let byte = self.peek()?;
        self.at += 1;
        Some(byte)
    }

    fn eat(&mut self, byte: u8) -> bool {
        let is = self.peek() == Some(byte);
        self.at += usize::from(is);
        is
    }

    fn enter(&mut self) -> Option<()> {
        self.depth += 1;
        self.steps += 1;
        (self.depth < MANGLED_DEPTH_MAX && self.steps < MANGLED_STEPS_MAX).then_some(())
    }

    fn base_62(&mut self) -> Option<u64> {
        if self.eat(b'_') {
            return Some(0);
        }
        let mut value: u64 = 0;
        loop {
            let digit = match self.next()? {
                b'_' => return value.checked_add(1),
                byte @ b'0'..=b'9' => byte - b'0',
                byte @ b'a'..=b'z' => byte - b'a' + 10,
                byte @ b'A'..=b'Z' => byte - b'A' + 36,
                _ => return None,
            };
            value = value.checked_mul(62)?.checked_add(u64::from(digit))?;
        }
    }

    fn disambiguator(&mut self) -> Option<u64> {
        if self.eat(b's') { self.base_62()?.checked_add(1) } else { Some(0) }
    }

    fn decimal(&mut self) -> Option<usize> {
        // A number has no zero in front, so a zero is a word of no letters.
        if self.eat(b'0') {
            return Some(0);
        }
        let mut value: usize = 0;
        let start = self.at;
        while let Some(byte @ b'0'..=b'9') = self.peek() {
            value = value.checked_mul(10)?.checked_add(usize::from(byte - b'0'))?;
            self.at += 1;
        }
        (self.at > start).then_some(value)
    }

    fn word(&mut self) -> Option<&'a str> {
        // Words that are no ASCII are in Punycode; no item of std is.
        self.eat(b'u');
        let length = self.decimal()?;
        self.eat(b'_');
        let word = self.text.get(self.at..self.at.checked_add(length)?)?;
        self.at += length;
        Some(word)
    }

    /// Reads what was at an earlier place once more.
    fn again<T>(&mut self, read: impl FnOnce(&mut Self) -> Option<T>) -> Option<T> {
        let place = self.at - 1;
        let target = usize::try_from(self.base_62()?).ok()?;
        if target >= place {
            return None;
        }
        let after = std::mem::replace(&mut self.at, target);
        let found = read(self);
        self.at = after;
        found
    }

    fn path(&mut self) -> Option<ItemPath<'a>> {
        self.enter()?;
        let found = self.path_here();
        self.depth -= 1;
        found
    }

    fn path_here(&mut self) -> Option<ItemPath<'a>> {
        match self.next()? {
            b'C' => {
                let number = self.disambiguator()?;
                let name = self.word()?;
                let krate = CrateName { name, number };
                let mut words = Vec::with_capacity(WORDS_USUAL);
                words.push(name);
                Some(ItemPath { krate, words, in_trait: None, form: Form::Type })
            }
            b'N' => {
                let space = self.next()?;
                let mut path = self.path()?;
                self.disambiguator()?;
                let word = self.word()?;
                match space {
                    b'v' => {
                        path.form = Form::Value;
                        path.push(word);
                    }
                    b't' => {
                        path.form = Form::Type;
                        path.push(word);
                    }
                    b'A'..=b'Z' => path.form = Form::Inner,
                    _ => path.push(word),
                }
                Some(path)
            }
            b'M' => {
                let krate = self.place()?;
                let of = self.of_type()?;
                Some(ItemPath { krate, words: of, in_trait: None, form: Form::Type })
            }
            b'X' => {
                let krate = self.place()?;
                let of = self.of_type()?;
                let of_trait = self.path()?.words;
                Some(ItemPath { krate, words: of, in_trait: Some(of_trait), form: Form::Type })
            }
            b'Y' => {
                let of = self.of_type()?;
                let of_trait = self.path()?;
                Some(ItemPath {
                    krate: of_trait.krate,
                    words: of,
                    in_trait: Some(of_trait.words),
                    form: Form::Type,
                })
            }
            b'I' => {
                let path = self.path()?;
                while !self.eat(b'E') {
                    self.argument()?;
                }
                Some(path)
            }
            b'B' => self.again(Self::path),
            _ => None,
        }
    }

    /// Where an `impl` stands.
    fn place(&mut self) -> Option<CrateName<'a>> {
        self.disambiguator()?;
        self.lifted += 1;
        let path = self.path();
        self.lifted -= 1;
        Some(path?.krate)
    }

    /// The words of the type that an `impl` is of. A type without a name has a word that is no name.
    fn of_type(&mut self) -> Option<Vec<&'a str>> {
        Some(match self.kind()? {
            Kind::Named(path) => path.words,
            Kind::Nameless => vec!["_"],
        })
    }

    fn argument(&mut self) -> Option<()> {
        if self.eat(b'L') {
            self.base_62().map(|_| ())
        } else if self.eat(b'K') {
            self.constant()
        } else {
            self.kind().map(|_| ())
        }
    }

    /// A type; its path, when it has one.
    fn kind(&mut self) -> Option<Kind<'a>> {
        self.enter()?;
        let found = self.kind_here();
        self.depth -= 1;
        found
    }

    fn kind_here(&mut self) -> Option<Kind<'a>> {
        match self.next()? {
            b'A' => {
                self.kind()?;
                self.constant()?;
            }
            b'S' | b'P' | b'O' => {
                self.kind()?;
            }
            b'R' | b'Q' => {
                if self.eat(b'L') {
                    self.base_62()?;
                }
                return self.kind();
            }
            b'T' => {
                while !self.eat(b'E') {
                    self.kind()?;
                }
            }
            b'F' => self.signature()?,
            b'D' => self.trait_object()?,
            b'W' => {
                // A pattern type: the type, and what it is limited to.
                self.kind()?;
                self.pattern()?;
            }
            b'B' => return self.again(Self::kind),
            // A type of the language: `u8`, `str`.
            b'a'..=b'z' => {}
            _ => {
                self.at -= 1;
                let path = self.path()?;
                // Only those of std are looked up by anybody.
                let is_std = matches!(path.krate.name, "std" | "core" | "alloc");
                if path.form == Form::Value && self.lifted == 0 && is_std {
                    self.handed.push(path.clone());
                }
                return Some(Kind::Named(path));
            }
        }
        Some(Kind::Nameless)
    }

    fn pattern(&mut self) -> Option<()> {
        match self.next()? {
            b'R' => {
                self.constant()?;
                self.constant()
            }
            b'O' => {
                while !self.eat(b'E') {
                    self.pattern()?;
                }
                Some(())
            }
            b'N' => Some(()),
            _ => None,
        }
    }

    fn binder(&mut self) -> Option<()> {
        if self.eat(b'G') {
            self.base_62()?;
        }
        Some(())
    }

    fn signature(&mut self) -> Option<()> {
        self.binder()?;
        self.eat(b'U');
        if self.eat(b'K') && !self.eat(b'C') {
            self.word()?;
        }
        while !self.eat(b'E') {
            self.kind()?;
        }
        self.kind().map(|_| ())
    }

    fn trait_object(&mut self) -> Option<()> {
        self.binder()?;
        while !self.eat(b'E') {
            self.path()?;
            while self.eat(b'p') {
                self.word()?;
                if self.eat(b'K') { self.constant()? } else { self.kind().map(|_| ())? }
            }
        }
        if self.eat(b'L') { self.base_62().map(|_| ()) } else { None }
    }

    fn constant(&mut self) -> Option<()> {
        self.enter()?;
        let found = self.constant_here();
        self.depth -= 1;
        found
    }

    fn constant_here(&mut self) -> Option<()> {
        match self.next()? {
            b'p' => Some(()),
            b'B' => self.again(Self::constant),
            b'R' | b'Q' => self.constant(),
            b'A' | b'T' => {
                while !self.eat(b'E') {
                    self.constant()?;
                }
                Some(())
            }
            b'V' => {
                self.path()?;
                match self.next()? {
                    b'U' => {}
                    b'T' => {
                        while !self.eat(b'E') {
                            self.constant()?;
                        }
                    }
                    b'S' => {
                        while !self.eat(b'E') {
                            self.disambiguator()?;
                            self.word()?;
                            self.constant()?;
                        }
                    }
                    _ => return None,
                }
                Some(())
            }
            // The type, and the value in hexadecimal digits.
            b'a'..=b'z' => {
                self.eat(b'n');
                while !self.eat(b'_') {
                    self.next().filter(u8::is_ascii_hexdigit)?;
                }
                Some(())
            }
            _ => None,
        }
    }
}

impl<'a> ItemPath<'a> {
    /// Whether it is written in source as such, and not made inside of what is.
    pub(crate) fn is_item(&self) -> bool {
        self.form != Form::Inner
    }

    fn push(&mut self, word: &'a str) {
        self.words.push(word);
        if let Some(words) = &mut self.in_trait {
            words.push(word);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(name: &str) -> String {
        parse(name).expect("a name").path.words.join("::")
    }

    #[test]
    fn names_of_functions_are_taken_apart() {
        assert_eq!(words("_RNvCs6zhng0wDwMP_2rg4main"), "rg::main");
        let open = "_RINvMs2_NtCsjrHSEGnQ3l9_3std2fsNtB6_4File4openRNtNtB8_4path4PathECslsb9ETE8384_6ignore";
        let symbol = parse(open).expect("a name");
        assert_eq!(symbol.path.words, ["std", "fs", "File", "open"]);
        assert_eq!(symbol.path.krate.name, "std");
        assert_eq!(symbol.copied_for.expect("a copy").name, "ignore");
        assert!(symbol.handed.is_empty(), "a type is not a function: {:?}", symbol.handed);
        let closure = "_RNCNvMNtCseKPAf3pxBj2_7memmap22osNtB4_9MmapInner8map_anon0B6_";
        assert_eq!(words(closure), "memmap2::os::MmapInner::map_anon");
        assert_eq!(
            words("_RNvNCNvNtCsjrHSEGnQ3l9_3std6thread15spawn_unchecked03MIN"),
            "std::thread::spawn_unchecked::MIN"
        );
        let drop = "_RNvXs1_NtNtNtCsjrHSEGnQ3l9_3std2io5error14repr_bitpackedNtB5_4ReprNtNtNtCsgEmfK2I1SDS_4core3ops4drop4Drop4dropCseKPAf3pxBj2_7memmap2";
        let symbol = parse(drop).expect("a name");
        assert_eq!(symbol.path.in_trait.expect("of a trait"), ["core", "ops", "drop", "Drop", "drop"]);
        assert_eq!(symbol.path.krate.name, "std");
    }

    #[test]
    fn functions_among_the_arguments_are_found() {
        let shim = "_RNvYNvYeNtNtCslNYArtu3iFV_5alloc6borrow7ToOwned8to_ownedINtNtNtCsgEmfK2I1SDS_4core3ops8function6FnOnceTReEE9call_onceCseKPAf3pxBj2_7memmap2";
        let symbol = parse(shim).expect("a name");
        let handed = symbol.handed[0].in_trait.as_ref().expect("of a trait");
        assert_eq!(handed, &["alloc", "borrow", "ToOwned", "to_owned"]);
        assert_eq!(symbol.path.krate.name, "core");
    }

    #[test]
    fn what_is_no_name_is_refused_and_work_is_bounded() {
        for name in
            ["", "_R", "main", "_RNvC", "_RB_", "_RNvCs_", "_ZN3std2fs4File4open17h0123E", "_RINvC1aC1bB_E"]
        {
            assert_eq!(
                parse(name).map(|symbol| symbol.path.words.len()).filter(|_| name != "_RINvC1aC1bB_E"),
                None,
                "{name}"
            );
        }
        let deep = format!("_R{}C1a", "Nv".repeat(5_000));
        assert_eq!(parse(&deep), None);
        // Each part repeats the one before twice.
        let mut bomb = "_RINvC1a1fTuuE".to_owned();
        let mut place = 9;
        for _ in 0..60 {
            let next = bomb.len() - 2;
            let back = base_62(place);
            bomb.extend(["TB", &back, "B", &back, "E"]);
            place = next;
        }
        bomb.push('E');
        assert_eq!(parse(&bomb), None);
    }

    fn base_62(mut value: usize) -> String {
        const DIGITS: &[u8] = b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
        if value == 0 {
            return "_".to_owned();
        }
        value -= 1;
        let mut digits = vec!['_'];
        loop {
            digits.push(char::from(DIGITS[value % 62]));
            value /= 62;
            if value == 0 {
                break;
            }
        }
        digits.iter().rev().collect()
    }
}
