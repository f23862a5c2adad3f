//! A file's text before the parser sees it: without comments, without modules that are only for tests, and without the numbers of
//! tables. The parser makes several tokens and as many allocations of each line of documentation.
//!
//! Only whole tokens are left out and every line stays where it is, so what the parser says of the rest is the same. What this
//! does not understand it leaves alone.

use crate::limits::{CHAIN_TOKENS_MAX, NESTING_MAX};

/// A text for the parser.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Plain {
    /// The text.
    pub(crate) text: String,
    /// It is within both bounds of [`super::tokens::check_depth`] for sure.
    pub(crate) shallow: bool,
    /// The compiler and the parser read it differently: what this program sees of it is not what is compiled.
    pub(crate) ambiguous: bool,
}

/// Leaves out what the parser need not see.
pub(crate) fn plain(text: &str) -> Plain {
    let mut lexer = Lexer::new(text);
    match lexer.run() {
        Some(()) => Plain { text: lexer.out, shallow: lexer.shallow, ambiguous: lexer.ambiguous },
        None => Plain { text: text.to_owned(), shallow: false, ambiguous: lexer.ambiguous },
    }
}

/// What stands before a module that is only for tests, as everybody writes it.
const TEST_ONLY: &str = "#[cfg(test)]";

/// A bracket that is open, counted as [`super::tokens::check_depth`] counts.
#[derive(Debug, Clone, Copy, Default)]
struct Level {
    chain: usize,
    around: usize,
    after_block: bool,
    closes: u8,
    /// It holds the items of a module, and so does every bracket around it.
    module: bool,
    /// It holds numbers and characters alone so far.
    data: bool,
    /// Where it opens, how long the output was then, and from where on the rest was still to come.
    opens: (usize, usize, usize),
}

#[derive(Debug)]
struct Lexer<'t> {
    text: &'t str,
    bytes: &'t [u8],
    at: usize,
    out: String,
    /// What is not in `out` yet begins here.
    kept: usize,
    levels: Vec<Level>,
    shallow: bool,
    ambiguous: bool,
    /// The last three tokens: first bytes, or for words what they are to a module's head.
    before: [u8; 3],
}

/// Stands for the word `mod`, for any other, for a number and for a character in [`Lexer::before`].
const MOD: u8 = b'm';
const WORD: u8 = b'w';
const NUMBER: u8 = b'0';
const CHARACTER: u8 = b'c';

/// Tables shorter than this stay, bytes: leaving one out costs more than parsing it.
const TABLE_BYTES_MIN: usize = 64;

impl<'t> Lexer<'t> {
    fn new(text: &'t str) -> Self {
        let bottom = Level { module: true, ..Level::default() };
        Self {
            text,
            bytes: text.as_bytes(),
            at: 0,
            out: String::with_capacity(text.len()),
            kept: 0,
            levels: vec![bottom],
            shallow: true,
            ambiguous: false,
            before: [b';'; 3],
        }
    }

    fn byte(&self, ahead: usize) -> u8 {
        self.bytes.get(self.at + ahead).copied().unwrap_or(0)
    }

    /// `None` when the text is no sequence of tokens with matching brackets.
    fn run(&mut self) -> Option<()> {
        while self.at < self.bytes.len() {
            let first = self.byte(0);
            match first {
                b' ' | b'\t' | b'\r' | b'\n' => self.at += 1,
                b'/' if matches!(self.byte(1), b'/' | b'*') => {
                    let from = self.at;
                    self.comment()?;
                    self.leave_out(from);
                }
                b'#' if self.is_test_module() => {
                    let from = self.at;
                    self.skip_module()?;
                    self.leave_out(from);
                    self.before = [b'}'; 3];
                }
                b'(' | b'[' | b'{' => self.open(first),
                b')' | b']' | b'}' => self.close(first)?,
                b'"' => {
                    self.string()?;
                    self.token(b'"', false);
                }
                b'\'' => self.quote()?,
                _ if is_word(first) => self.word()?,
                _ => {
                    self.at += 1;
                    self.token(first, first != b'#');
                }
            }
        }
        self.out.push_str(&self.text[self.kept..]);
        (self.levels.len() == 1).then_some(())
    }

    /// Keeps of what was passed since `from` nothing but its lines.
    fn leave_out(&mut self, from: usize) {
        self.out.push_str(&self.text[self.kept..from]);
        self.out.push(' ');
        let lines = self.bytes[from..self.at].iter().filter(|byte| **byte == b'\n').count();
        self.out.extend(std::iter::repeat_n('\n', lines));
        self.kept = self.at;
    }

    /// Keeps of a table its brackets, one number and its lines.
    fn leave_table_out(&mut self, table: Level) {
        let (opens, length, kept) = table.opens;
        self.out.truncate(length);
        self.out.push_str(&self.text[kept..=opens]);
        self.out.push('0');
        let lines = self.bytes[opens..self.at].iter().filter(|byte| **byte == b'\n').count();
        self.out.extend(std::iter::repeat_n('\n', lines));
        self.kept = self.at;
    }

    /// Counts a token. `continues`: an expression goes on with it behind a block.
    fn token(&mut self, kind: u8, continues: bool) {
        self.before = [self.before[1], self.before[2], kind];
        let level = self.levels.last_mut().expect("the bottom stays");
        if level.after_block && !continues {
            level.chain = 0;
        }
        level.after_block = false;
        level.chain += 1;
        level.data &= matches!(kind, NUMBER | CHARACTER | b',' | b'-' | b'.' | b'(' | b'[');
        if matches!(kind, b';' | b',') {
            level.chain = 0;
        }
        self.shallow &= level.around + level.chain <= CHAIN_TOKENS_MAX;
    }

    fn open(&mut self, bracket: u8) {
        // `mod name {`
        let opens_module = bracket == b'{' && self.before[1] == MOD && self.before[2] == WORD;
        self.token(bracket, false);
        self.shallow &= self.levels.len() < NESTING_MAX;
        let level = self.levels.last_mut().expect("the bottom stays");
        level.after_block = bracket == b'{';
        let inner = Level {
            around: level.around + level.chain,
            closes: if bracket == b'(' { b')' } else { bracket + 2 },
            module: level.module && opens_module,
            data: bracket != b'{',
            opens: (self.at, self.out.len(), self.kept),
            ..Level::default()
        };
        self.levels.push(inner);
        self.at += 1;
    }

    fn close(&mut self, bracket: u8) -> Option<()> {
        let level = self.levels.pop()?;
        if level.closes != bracket {
            return None;
        }
        let around = self.levels.last_mut()?;
        let is_table = level.data && bracket == b']' && self.at - level.opens.0 >= TABLE_BYTES_MIN;
        if is_table && !around.data {
            self.leave_table_out(level);
        } else {
            around.data &= level.data;
        }
        self.at += 1;
        self.before = [self.before[1], self.before[2], bracket];
        Some(())
    }

    fn comment(&mut self) -> Option<()> {
        if self.byte(1) == b'/' {
            let rest = &self.bytes[self.at..];
            self.at += rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len());
            return Some(());
        }
        let mut depth = 0_usize;
        loop {
            match (self.byte(0), self.byte(1)) {
                (b'/', b'*') => {
                    depth += 1;
                    self.at += 2;
                }
                (b'*', b'/') => {
                    depth -= 1;
                    self.at += 2;
                    if depth == 0 {
                        return Some(());
                    }
                }
                _ if self.at >= self.bytes.len() => return None,
                _ => self.at += 1,
            }
        }
    }

    /// Passes a string with escapes, from its first quote.
    fn string(&mut self) -> Option<()> {
        self.at += 1;
        loop {
            match self.bytes.get(self.at)? {
                b'\\' => self.at += 2,
                b'"' => {
                    self.at += 1;
                    return Some(());
                }
                _ => self.at += 1,
            }
        }
    }

    /// Passes a raw string from its first `#` or quote. `Some(false)` when there is none.
    fn raw_string(&mut self) -> Option<bool> {
        let hashes = self.bytes[self.at..].iter().take_while(|byte| **byte == b'#').count();
        if self.byte(hashes) != b'"' {
            return Some(false);
        }
        self.at += hashes + 1;
        loop {
            let quote = self.bytes[self.at..].iter().position(|byte| *byte == b'"')?;
            self.at += quote + 1;
            if self.bytes[self.at..].iter().take(hashes).filter(|byte| **byte == b'#').count() == hashes {
                self.at += hashes;
                return Some(true);
            }
        }
    }

    /// A character, or the mark of a lifetime.
    fn quote(&mut self) -> Option<()> {
        if self.byte(1) == b'\\' {
            self.at += 3;
            while *self.bytes.get(self.at)? != b'\'' {
                self.at += 1;
            }
            self.at += 1;
            self.token(CHARACTER, false);
            return Some(());
        }
        let length = self.text[self.at + 1..].chars().next()?.len_utf8();
        if self.byte(1 + length) == b'\'' {
            self.at += length + 2;
            self.token(CHARACTER, false);
        } else {
            self.at += 1;
            self.token(b'\'', true);
            // A lifetime `'r` and a string to the compiler, a quote and a raw string to the parser.
            let rest = &self.bytes[self.at..];
            let raw = [&b"r"[..], b"br", b"cr"].into_iter().find_map(|prefix| rest.strip_prefix(prefix));
            let quoted = raw.is_some_and(|raw| raw.iter().find(|byte| **byte != b'#') == Some(&b'"'));
            self.ambiguous |= quoted;
        }
        Some(())
    }

    /// A name, a keyword, a number, or what begins a raw string.
    fn word(&mut self) -> Option<()> {
        let from = self.at;
        let rest = &self.bytes[from..];
        self.at += rest.iter().position(|byte| !is_word(*byte)).unwrap_or(rest.len());
        let word = &self.text[from..self.at];
        // What is no letter may be a space, and then what is behind it is a word of its own.
        if !word.is_ascii() && !word.chars().all(|letter| letter.is_alphanumeric() || letter == '_') {
            return None;
        }
        if matches!(word, "r" | "br" | "cr") && self.raw_string()? {
            self.token(b'"', false);
            return Some(());
        }
        let kind = match word.as_bytes() {
            b"mod" => MOD,
            [b'0'..=b'9', ..] => NUMBER,
            _ => WORD,
        };
        self.token(kind, matches!(word, "else" | "as"));
        Some(())
    }

    /// Whether a module that is only for tests begins here, with nothing before it that would be left without its item.
    fn is_test_module(&self) -> bool {
        let is_item =
            matches!(self.before[2], b';' | b'{' | b'}') && self.levels.last().is_some_and(|one| one.module);
        if !is_item || !self.text[self.at..].starts_with(TEST_ONLY) {
            return false;
        }
        let mut ahead = Self { at: self.at + TEST_ONLY.len(), ..Self::new(self.text) };
        ahead.head_of_module().is_some()
    }

    /// Passes what may stand before a module, `mod`, its name and its bracket.
    fn head_of_module(&mut self) -> Option<()> {
        loop {
            match self.byte(0) {
                b' ' | b'\t' | b'\r' | b'\n' => self.at += 1,
                b'/' if matches!(self.byte(1), b'/' | b'*') => self.comment()?,
                b'#' if self.byte(1) == b'[' => {
                    self.at += 1;
                    self.group()?;
                }
                first if is_word(first) => self.word()?,
                b'{' if self.before[1] == MOD && self.before[2] == WORD => return Some(()),
                _ => return None,
            }
            // `mod` or its name, or nothing yet: any other word begins another item.
            let [.., before, last] = self.before;
            if last == WORD && before != MOD {
                return None;
            }
        }
    }

    /// Passes a bracket with all that is in it.
    fn group(&mut self) -> Option<()> {
        let mut inner = Self { at: self.at, ..Self::new(self.text) };
        inner.levels[0].module = false;
        loop {
            let first = inner.byte(0);
            match first {
                b'/' if matches!(inner.byte(1), b'/' | b'*') => inner.comment()?,
                b'(' | b'[' | b'{' => inner.open(first),
                b')' | b']' | b'}' => inner.close(first)?,
                b'"' => inner.string()?,
                b'\'' => inner.quote()?,
                _ if is_word(first) => inner.word()?,
                _ if inner.at >= inner.bytes.len() => return None,
                _ => inner.at += 1,
            }
            if inner.levels.len() == 1 {
                self.at = inner.at;
                return Some(());
            }
        }
    }

    fn skip_module(&mut self) -> Option<()> {
        let mut ahead = Self { at: self.at + TEST_ONLY.len(), ..Self::new(self.text) };
        ahead.head_of_module()?;
        ahead.group()?;
        self.at = ahead.at;
        Some(())
    }
}

/// Bytes of names and numbers. All that is not ASCII may be part of a name.
fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte >= 0x80
}

#[cfg(test)]
mod tests {
    use proc_macro2::TokenStream;

    use super::super::tokens::check_depth;
    use super::*;

    /// The tokens of a text, and the line of each.
    fn tokens(text: &str) -> Vec<(String, usize)> {
        fn flat(tokens: TokenStream, into: &mut Vec<(String, usize)>) {
            for token in tokens {
                let line = token.span().start().line;
                match token {
                    proc_macro2::TokenTree::Group(group) => {
                        into.push((format!("{:?}", group.delimiter()), line));
                        flat(group.stream(), into);
                        into.push(("end".to_owned(), group.span_close().start().line));
                    }
                    other => into.push((other.to_string(), line)),
                }
            }
        }
        let mut all = Vec::new();
        flat(text.parse().expect("tokens"), &mut all);
        all
    }

    #[test]
    fn comments_go_and_lines_stay() {
        for (written, plain_text) in [
            ("/// a\nfn f() {} // b", "\nfn f() {}"),
            ("//! a\n/*! b\n c */ fn/**/f() {}", "\n\n fn f() {}"),
            ("/* a /* b */ \" c */ fn f() {}", "fn f() {}"),
            (r##"const A: &str = r#"// no " comment"#; // a"##, r##"const A: &str = r#"// no " comment"#;"##),
            (r#"const A: &str = "\" // no"; /* a */"#, r#"const A: &str = "\" // no";"#),
            (r"const A: char = '\''; // '", r"const A: char = '\'';"),
            (r#"const A: char = '"'; // ""#, r#"const A: char = '"';"#),
            ("fn f<'a>(x: &'a str) {} // '", "fn f<'a>(x: &'a str) {}"),
            (r#"const A: &[u8] = br"\"; // ""#, r#"const A: &[u8] = br"\";"#),
            ("fn f() { r#fn(); } // r#\"", "fn f() { r#fn(); }"),
        ] {
            let found = plain(written);
            assert_eq!(tokens(&found.text), tokens(plain_text), "{written} became {}", found.text);
            assert!(found.shallow);
        }
    }

    #[test]
    fn a_module_for_tests_goes_and_nothing_else_does() {
        let gone = "use a; #[cfg(test)] #[allow(x)] mod tests { fn f() { \"}\" } }\nfn g() {}";
        assert_eq!(tokens(&plain(gone).text), tokens("use a; \nfn g() {}"));
        let inside = "mod a { fn f() {} #[cfg(test)] mod tests { fn g() {} } }";
        assert_eq!(tokens(&plain(inside).text), tokens("mod a { fn f() {} }"));
        for stays in [
            "#[cfg(test)] mod tests;",
            "#[cfg(test)] fn mod_x() {}",
            "#[cfg(test)] use a::{mod_b};",
            "#[allow(x)] #[cfg(test)] mod tests { fn f() {} }",
            "m! { #[cfg(test)] mod tests { fn f() {} } }",
            "m! { mod a { ; #[cfg(test)] mod tests { fn f() {} } } }",
            "fn f() { ; #[cfg(test)] mod tests { fn f() {} } }",
            "#[cfg(tests)] mod tests { fn f() {} }",
        ] {
            assert_eq!(tokens(&plain(stays).text), tokens(stays));
        }
    }

    #[test]
    fn tables_are_emptied() {
        let numbers = "1, -2.5, 0x1F_u8, 'a',\n".repeat(20);
        let table = format!("static A: [u8; 3] = [(1, [{numbers}]), // a\n];\nfn f() {{}}");
        let lines = "\n".repeat(21);
        assert_eq!(
            tokens(&plain(&table).text),
            tokens(&format!("static A: [u8; 3] = [0{lines}];\nfn f() {{}}"))
        );
        let code = format!("static A: [u8; 3] = [{numbers} f(), [{numbers}]];");
        let kept = format!("static A: [u8; 3] = [{numbers} f(), [0{}]];", "\n".repeat(20));
        assert_eq!(tokens(&plain(&code).text), tokens(&kept));
    }

    #[test]
    fn what_is_not_understood_is_left_alone() {
        // A space that is not ASCII ends a word, so this string is raw and ends at the second quote.
        let odd = "const A: &str =\u{2028}r\"\\\" ; f() ; \" // \";";
        for text in [odd, "fn f( {} // a", "/* a", "\"a // b", "fn f() } // a"] {
            assert_eq!(plain(text), Plain { text: text.to_owned(), shallow: false, ambiguous: false });
        }
    }

    #[test]
    fn what_is_called_shallow_is() {
        let nested = |depth: usize| format!("{}{}", "(".repeat(depth), ")".repeat(depth));
        assert!(plain(&nested(NESTING_MAX - 1)).shallow);
        assert!(!plain(&nested(NESTING_MAX)).shallow);
        for unit in ["x !", "if a {} else ", "a . b ( c ) +", "{ a } =", "1.5 + 'a' +", "\"a\" & 'a: "] {
            let deep = unit.repeat(CHAIN_TOKENS_MAX);
            assert!(check_depth(deep.parse().expect("tokens")).is_err());
            assert!(!plain(&deep).shallow, "{unit}");
        }
        assert!(plain(&"fn a() {} ".repeat(CHAIN_TOKENS_MAX)).shallow);
    }

    #[test]
    fn what_the_compiler_reads_otherwise_is_told() {
        for text in ["m!('r\"\\\" /*\");", "m!('br\"a\");", "m!('cr#\"a\"#);"] {
            assert!(plain(text).ambiguous, "{text}");
        }
        for text in
            ["fn f<'r>(a: &'r str) {}", "m!('r'); m!(r\"a\");", "fn f<'r#async>() {}", "m!('a \"b\");"]
        {
            assert!(!plain(text).ambiguous, "{text}");
        }
    }
}
