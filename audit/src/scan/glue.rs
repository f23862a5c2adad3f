//! What macros by example may do with what they are handed: make one thing of words that stand apart, and part an attribute from
//! what it is about.

use std::collections::HashMap;

use proc_macro2::{Delimiter, TokenStream, TokenTree};

use super::modules::mention;
use super::tokens::{ident, punct};

/// What some rules do with the words that they are handed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a question of its own about the same rules")]
pub(super) struct Glue {
    /// They put something behind a word that did not stand there.
    pub(super) joins: bool,
    /// They use a macro whose name is handed in.
    pub(super) calls: bool,
    /// They may leave out an attribute, and not what stands behind it.
    pub(super) parts: bool,
    /// They may write what they are handed into another module, or under another path.
    pub(super) moves: bool,
}

impl Glue {
    pub(super) fn join(&mut self, other: Self) {
        self.joins |= other.joins;
        self.calls |= other.calls;
        self.parts |= other.parts;
        self.moves |= other.moves;
    }

    /// Adds a rule.
    pub(super) fn add(&mut self, matcher: &TokenStream, body: &TokenStream) {
        let (words, parts) = words(matcher);
        self.parts |= parts;
        self.moves |= mention(body.clone(), &["mod", "path"]);
        let mut pending = vec![(body.clone(), false)];
        while let Some((tokens, repeated)) = pending.pop() {
            let list: Vec<TokenTree> = tokens.into_iter().collect();
            for at in 0..list.len() {
                if let TokenTree::Group(group) = &list[at] {
                    let repeated = at > 0 && punct(&list, at - 1) == Some('$');
                    // `$($all)*` is what was handed in, as it was.
                    let separated = !matches!(punct(&list, at + 1), Some('*' | '+'));
                    if repeated && !separated && is_run(&group.stream(), &words) {
                        self.joins |= is_joined(&list, at + 2, false);
                        self.calls |= punct(&list, at + 2) == Some('!');
                    } else {
                        self.calls |= repeated && punct(&list, at + 2) == Some('!');
                        pending.push((group.stream(), repeated));
                    }
                }
                let handed_in = punct(&list, at) == Some('$');
                if let Some(name) = ident(&list, at + 1).filter(|_| handed_in)
                    && let Some(word) = words.get(&name)
                {
                    // One by one, and not as it was handed in.
                    self.parts |= *word == Word::Run;
                    self.calls |= punct(&list, at + 2) == Some('!');
                    self.joins |= *word != Word::None && is_joined(&list, at + 2, repeated);
                }
            }
        }
    }
}

/// Whether what stands at a place makes one thing with the word before it.
fn is_joined(list: &[TokenTree], at: usize, repeated: bool) -> bool {
    match list.get(at) {
        Some(TokenTree::Ident(_)) => true,
        Some(TokenTree::Punct(one)) => one.as_char() == '$',
        Some(_) => false,
        None => repeated,
    }
}

/// What a variable of a rule can be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Word {
    /// Neither `mod` nor any other word alone.
    None,
    /// A word.
    Any,
    /// `$($name:tt)*`: one of many that stand beside each other.
    Run,
}

/// The variables in what a rule matches, and whether it takes an attribute apart.
fn words(matcher: &TokenStream) -> (HashMap<String, Word>, bool) {
    let mut found = HashMap::new();
    let mut parts = false;
    let mut pending = vec![(matcher.clone(), false)];
    while let Some((tokens, run)) = pending.pop() {
        let list: Vec<TokenTree> = tokens.into_iter().collect();
        for at in 0..list.len() {
            parts |= punct(&list, at) == Some('#');
            if let TokenTree::Group(group) = &list[at] {
                let repeated = at > 0
                    && punct(&list, at - 1) == Some('$')
                    && group.delimiter() == Delimiter::Parenthesis
                    && matches!(punct(&list, at + 1), Some('*' | '+'));
                pending.push((group.stream(), repeated));
            }
            if punct(&list, at) == Some('$')
                && punct(&list, at + 2) == Some(':')
                && let (Some(name), Some(kind)) = (ident(&list, at + 1), ident(&list, at + 3))
            {
                let word = match kind.as_str() {
                    "tt" if run && list.len() == 4 => Word::Run,
                    "tt" | "ident" => Word::Any,
                    _ => Word::None,
                };
                if kind == "tt" && word == Word::Any {
                    // It may be `#`, when what stands behind it may be the brackets.
                    parts |= match list.get(at + 4) {
                        Some(TokenTree::Group(_)) => true,
                        Some(_) => punct(&list, at + 4) == Some('$'),
                        None => run,
                    };
                }
                found.insert(name, word);
            }
        }
    }
    (found, parts)
}

/// Whether a repetition writes nothing but a run.
fn is_run(tokens: &TokenStream, words: &HashMap<String, Word>) -> bool {
    let list: Vec<TokenTree> = tokens.clone().into_iter().collect();
    let name = ident(&list, 1).filter(|_| list.len() == 2 && punct(&list, 0) == Some('$'));
    name.is_some_and(|name| words.get(&name) == Some(&Word::Run))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(matcher: &str, body: &str) -> Glue {
        let mut glue = Glue::default();
        glue.add(&matcher.parse().expect("tokens"), &body.parse().expect("tokens"));
        glue
    }

    fn glue(matcher: &str, body: &str) -> (bool, bool) {
        let glue = of(matcher, body);
        (glue.joins, glue.calls)
    }

    #[test]
    fn attributes_that_may_be_left_out_are_seen() {
        let parts = |matcher: &str, body: &str| of(matcher, body).parts;
        assert!(parts("$(#[$m:meta])* pub $($t:tt)*", "pub $($t)*"));
        assert!(parts("$a:tt $b:tt $($t:tt)*", "$a $b fn f() {} $($t)*"));
        assert!(parts("$($t:tt)*", "$(const _: () = (); $t)*"));
        assert!(parts("$($t:tt)*", "$($t),*"));
        assert!(parts("$($a:tt $b:tt)*", "$($b)*"));
        assert!(!parts("$($t:tt)*", "mod a { $($t)* } $($t)*"));
        assert!(!parts("$($i:item)*", "$(#[cfg(x)] $i)*"));
        assert!(!parts("$n:ident $b:block $($t:tt)*", "fn $n() $b $($t)*"));
        assert!(!parts("($a:tt) => $b:tt, { $($c:tt)+ }", "$a $b $($c)+"));
    }

    #[test]
    fn what_may_be_written_elsewhere_is_seen() {
        let moves = |matcher: &str, body: &str| of(matcher, body).moves;
        assert!(moves("$($t:tt)*", "mod inner { $($t)* }"));
        assert!(moves("$i:item", "#[path = \"q.rs\"] $i"));
        assert!(!moves("$($i:item)*", "$(#[cfg(x)] $i)*"));
        assert!(!moves("$($t:tt)*", "$($t)* fn f() {}"));
    }

    #[test]
    fn words_that_come_together_are_seen() {
        for (matcher, body) in [
            ("$k:tt, $n:ident", "$k $n;"),
            ("$k:ident", "$k evil;"),
            ("$k:tt | $($r:tt)*", "$k $($r)*"),
            ("$($k:tt |)*", "$($k)*"),
            ("$($k:tt),*", "$($k)*"),
            ("$($k:tt)*; $n:ident", "{ $($k)* $n; }"),
            ("$($k:tt)*; $n:ident", "inner! { $($k)* $n; }"),
        ] {
            assert_eq!(glue(matcher, body), (true, false), "{matcher} => {body}");
        }
        for (matcher, body) in [
            ("$($all:tt)*", "$($all)*"),
            ("$($all:tt)*", "mod a { $($all)* } fn f() {}"),
            ("$($item:item)*", "$(#[cfg(x)] $item)*"),
            ("$name:ident $of:ty", "struct $name($of); fn f() { stringify!($name) }"),
            ("$($key:ident => $value:expr),*", "[$(($key, $value)),*]"),
            ("mod", "$crate::Mod"),
        ] {
            assert_eq!(glue(matcher, body), (false, false), "{matcher} => {body}");
        }
        assert_eq!(glue("$m:ident $f:literal", "$m!($f)"), (false, true));
        assert!(glue("$($m:ident)? $f:literal", "$($m)? !($f)").1);
        assert_eq!(glue("$($m:tt)* ", "$($m)* !(1)"), (false, true));
    }
}
