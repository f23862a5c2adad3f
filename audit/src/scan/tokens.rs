//! Tokens, before and beside the parser: whether a file is shallow enough to be parsed, and the paths in what is no Rust yet.

use proc_macro2::{Delimiter, TokenStream, TokenTree};

use super::modules::{self, Declaration};
use super::uses::Apart;
use crate::limits::{CHAIN_TOKENS_MAX, NESTING_MAX};

/// Why tokens are not given to the parser.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TooDeep {
    /// Brackets within brackets.
    Nesting,
    /// An expression, or a chain of them, without an end.
    Chain,
}

/// Checks both bounds without recursion.
pub(crate) fn check_depth(tokens: TokenStream) -> Result<(), TooDeep> {
    struct Level {
        tokens: proc_macro2::token_stream::IntoIter,
        /// Tokens since the last end of a statement or element.
        chain: usize,
        /// The same of all levels around.
        around: usize,
        after_block: bool,
    }
    let mut levels = vec![Level { tokens: tokens.into_iter(), chain: 0, around: 0, after_block: false }];
    while let Some(level) = levels.last_mut() {
        let Some(token) = level.tokens.next() else {
            levels.pop();
            continue;
        };
        let continues = match &token {
            TokenTree::Punct(punct) => punct.as_char() != '#',
            TokenTree::Ident(ident) => *ident == "else" || *ident == "as",
            _ => false,
        };
        if level.after_block && !continues {
            level.chain = 0;
        }
        level.after_block = false;
        level.chain += 1;
        match token {
            TokenTree::Punct(punct) if matches!(punct.as_char(), ';' | ',') => level.chain = 0,
            TokenTree::Group(group) => {
                level.after_block = group.delimiter() == Delimiter::Brace;
                let around = level.around + level.chain;
                let depth = levels.len();
                if depth >= NESTING_MAX {
                    return Err(TooDeep::Nesting);
                }
                levels.push(Level {
                    tokens: group.stream().into_iter(),
                    chain: 0,
                    around,
                    after_block: false,
                });
            }
            _ => {}
        }
        if levels.last().is_some_and(|level| level.around + level.chain > CHAIN_TOKENS_MAX) {
            return Err(TooDeep::Chain);
        }
    }
    Ok(())
}

/// What a walk over tokens finds.
#[derive(Debug)]
pub(crate) enum Seen {
    /// A path.
    Path { global: bool, segments: Vec<String>, line: usize, argument: Option<String> },
    /// `path!`, with its input.
    Macro { global: bool, segments: Vec<String>, line: usize, input: TokenStream },
    /// `macro_rules! name`, with its rules, which are walked as well.
    Rules { name: String, rules: TokenStream },
    /// `.name(`.
    Call { name: String, line: usize },
    /// `use ... ;`.
    Use { tokens: TokenStream },
    /// `unsafe {`.
    Unsafe { line: usize },
    /// `mod name;`.
    Module(Declaration),
    /// `mod` that declares nothing where it stands.
    Apart { apart: Apart, line: usize },
}

/// What stands around a part of the tokens. Brackets that change nothing have none of their own.
#[derive(Debug, Default)]
pub(crate) struct Around {
    /// The one around this, which comes before it; the first has itself.
    pub(crate) outer: usize,
    /// The module whose body this is.
    pub(crate) module: Option<String>,
    /// The attributes of what this is the body of.
    pub(crate) attributes: Vec<TokenStream>,
    /// The macro by example whose rules these are.
    pub(crate) rules: Option<String>,
    /// It is what a rule matches, and no code.
    pub(crate) pattern: bool,
    /// It is within a module under a computed name.
    computed: bool,
}

/// All that a walk finds, with the number of what stands around it.
#[derive(Debug)]
pub(crate) struct Walked {
    pub(crate) seen: Vec<(usize, Seen)>,
    pub(crate) around: Vec<Around>,
}

/// Every path, macro, method call, import and module in tokens that no parser understands. Over-reports: a name that a macro
/// introduces looks like one that it uses.
pub(crate) fn walk(tokens: TokenStream) -> Walked {
    let mut walk = Walk {
        seen: Vec::new(),
        around: vec![Around::default()],
        pending: vec![(tokens, 0)],
        current: 0,
        attributes: Vec::new(),
        entered: None,
        fresh: true,
    };
    while let Some((tokens, around)) = walk.pending.pop() {
        let list: Vec<TokenTree> = tokens.into_iter().collect();
        walk.current = around;
        walk.end();
        let mut at = 0;
        while at < list.len() {
            at = walk.step(&list, at);
        }
    }
    Walked { seen: walk.seen, around: walk.around }
}

struct Walk {
    seen: Vec<(usize, Seen)>,
    around: Vec<Around>,
    pending: Vec<(TokenStream, usize)>,
    /// The number of what stands around the current place.
    current: usize,
    /// The attributes of what the current place is a part of.
    attributes: Vec<TokenStream>,
    /// The number of what stands around the brackets that these attributes are about: one for all of them.
    entered: Option<usize>,
    /// An item or statement may begin here. Elsewhere an attribute is that of a parameter, and ends nobody knows where.
    fresh: bool,
}

pub(super) fn punct(list: &[TokenTree], at: usize) -> Option<char> {
    match list.get(at) {
        Some(TokenTree::Punct(punct)) => Some(punct.as_char()),
        _ => None,
    }
}

pub(super) fn ident(list: &[TokenTree], at: usize) -> Option<String> {
    match list.get(at) {
        Some(TokenTree::Ident(ident)) => Some(name(&ident.to_string())),
        _ => None,
    }
}

/// An identifier without the mark of a raw one.
pub(crate) fn name(text: &str) -> String {
    text.strip_prefix("r#").unwrap_or(text).to_owned()
}

/// A string literal's text.
pub(crate) fn literal(token: &TokenTree) -> Option<String> {
    match token {
        TokenTree::Literal(literal) => {
            syn::parse_str::<syn::LitStr>(&literal.to_string()).ok().map(|text| text.value())
        }
        _ => None,
    }
}

impl Walk {
    fn see(&mut self, seen: Seen) {
        self.seen.push((self.current, seen));
    }

    /// Another surrounding, within the current one.
    fn enter(&mut self, change: impl FnOnce(&mut Around)) -> usize {
        let outer = &self.around[self.current];
        let mut around = Around {
            outer: self.current,
            pattern: outer.pattern,
            computed: outer.computed,
            attributes: self.attributes.clone(),
            ..Around::default()
        };
        change(&mut around);
        self.around.push(around);
        self.around.len() - 1
    }

    fn group(&mut self, group: &proc_macro2::Group) {
        let around = match self.entered {
            _ if self.attributes.is_empty() => self.current,
            Some(around) => around,
            None => self.enter(|_| {}),
        };
        self.entered = Some(around).filter(|_| !self.attributes.is_empty());
        self.pending.push((group.stream(), around));
    }

    fn step(&mut self, list: &[TokenTree], at: usize) -> usize {
        let fresh = std::mem::replace(&mut self.fresh, false);
        match &list[at] {
            TokenTree::Group(group) => {
                self.group(group);
                if group.delimiter() == Delimiter::Brace {
                    self.end();
                }
                at + 1
            }
            TokenTree::Punct(first) if first.as_char() == '.' => {
                let is_range = punct(list, at + 1) == Some('.');
                match ident(list, at + 1) {
                    Some(name) if !is_range => {
                        self.see(Seen::Call { name, line: list[at + 1].span().start().line });
                        at + 2
                    }
                    _ => at + 1,
                }
            }
            TokenTree::Punct(first) if first.as_char() == '\'' => at + 2,
            TokenTree::Punct(first) if first.as_char() == ':' => {
                if punct(list, at + 1) == Some(':') && ident(list, at + 2).is_some() {
                    self.path(list, at + 2, true)
                } else {
                    at + 1
                }
            }
            TokenTree::Punct(first) if first.as_char() == '#' => {
                let inner = usize::from(punct(list, at + 1) == Some('!'));
                let Some(TokenTree::Group(group)) = list.get(at + 1 + inner) else { return at + 1 };
                if group.delimiter() != Delimiter::Bracket {
                    return at + 1;
                }
                // What it says is walked too: it may name a macro.
                self.pending.push((group.stream(), self.current));
                if fresh && inner == 0 && modules::is_condition(&group.stream()) {
                    self.entered = None;
                    self.attributes.push(group.stream());
                    // Without it more is read, never less.
                    self.attributes.truncate(modules::ATTRIBUTES_MAX);
                }
                self.fresh = fresh;
                at + 2 + inner
            }
            TokenTree::Punct(first) => {
                if matches!(first.as_char(), ';' | ',') {
                    self.end();
                    self.fresh = first.as_char() == ';';
                }
                at + 1
            }
            TokenTree::Literal(_) => at + 1,
            TokenTree::Ident(first) if *first == "use" => {
                let end = (at..list.len()).find(|at| punct(list, *at) == Some(';'));
                match end {
                    Some(end) => {
                        self.see(Seen::Use { tokens: list[at..=end].iter().cloned().collect() });
                        self.end();
                        end + 1
                    }
                    None => at + 1,
                }
            }
            TokenTree::Ident(first) if *first == "unsafe" => {
                if let Some(TokenTree::Group(group)) = list.get(at + 1)
                    && group.delimiter() == Delimiter::Brace
                {
                    self.see(Seen::Unsafe { line: first.span().start().line });
                }
                at + 1
            }
            TokenTree::Ident(first) if *first == "mod" => self.module(list, at),
            TokenTree::Ident(first) if *first == "macro_rules" => self.rules(list, at),
            TokenTree::Ident(_) => self.path(list, at, false),
        }
    }

    /// Behind the end of an item, statement or element.
    fn end(&mut self) {
        self.attributes.clear();
        self.entered = None;
        self.fresh = true;
    }

    fn module(&mut self, list: &[TokenTree], at: usize) -> usize {
        if self.around[self.current].pattern {
            return at + 1;
        }
        let Some(declared) = modules::declared(list, at) else {
            // `Token![mod]`; `mod #name`, as procedural macros write it; `mod $name:ident`, as rules match it.
            let named = matches!(punct(list, at + 1), Some('#' | '$')) && ident(list, at + 2).is_some();
            let apart = if list.len() == 1 || named { Apart::Word } else { Apart::Module };
            self.see(Seen::Apart { apart, line: list[at].span().start().line });
            return at + 1;
        };
        let end = declared.end;
        if let Some(body) = declared.body {
            let around = self.enter(|around| {
                around.computed |= declared.computed;
                around.module = Some(declared.name);
                around.attributes = declared.attributes;
            });
            self.pending.push((body, around));
            self.end();
        } else {
            let computed = declared.computed || self.around[self.current].computed;
            self.see(Seen::Module(Declaration { computed, ..declared }));
        }
        end
    }

    /// `macro_rules! name { ... }`: what a rule matches is no code.
    fn rules(&mut self, list: &[TokenTree], at: usize) -> usize {
        let (Some('!'), Some(name), Some(TokenTree::Group(group))) =
            (punct(list, at + 1), ident(list, at + 2), list.get(at + 3))
        else {
            return self.path(list, at, false);
        };
        let rules = group.stream();
        let body = self.enter(|around| around.rules = Some(name.clone()));
        let pattern = self.enter(|around| around.pattern = true);
        let mut before: Option<TokenTree> = None;
        for token in rules.clone() {
            if let TokenTree::Group(part) = &token {
                let is_body = matches!(&before, Some(TokenTree::Punct(arrow)) if arrow.as_char() == '>');
                self.pending.push((part.stream(), if is_body { body } else { pattern }));
            }
            before = Some(token);
        }
        self.see(Seen::Rules { name, rules });
        if group.delimiter() == Delimiter::Brace {
            self.end();
        }
        at + 4
    }

    /// A path that begins at an identifier; returns the place behind it.
    fn path(&mut self, list: &[TokenTree], start: usize, global: bool) -> usize {
        let line = list[start].span().start().line;
        let mut segments = vec![ident(list, start).unwrap_or_default()];
        let mut at = start + 1;
        while punct(list, at) == Some(':') && punct(list, at + 1) == Some(':') {
            if let Some(next) = ident(list, at + 2) {
                segments.push(next);
                at += 3;
            } else if punct(list, at + 2) == Some('<') {
                // Generic arguments: what is in them is walked as it comes; the path goes on behind them.
                let mut depth = 0_usize;
                let mut end = at + 2;
                while let Some(token) = list.get(end) {
                    match token {
                        TokenTree::Punct(one) if one.as_char() == '<' => depth += 1,
                        TokenTree::Punct(one) if one.as_char() == '>' => depth = depth.saturating_sub(1),
                        _ => {}
                    }
                    end += 1;
                    if depth == 0 {
                        break;
                    }
                }
                if end > at + 3 {
                    self.pending.push((list[at + 3..end - 1].iter().cloned().collect(), self.current));
                }
                at = end;
            } else {
                break;
            }
        }
        if punct(list, at) == Some('!') && punct(list, at + 1) != Some('=') {
            let input = match list.get(at + 1) {
                Some(TokenTree::Group(group)) => Some(group.stream()),
                _ => None,
            };
            let named = ident(list, at + 1).is_some();
            if let Some(input) = input {
                self.see(Seen::Macro { global, segments, line, input });
                if matches!(&list[at + 1], TokenTree::Group(group) if group.delimiter() == Delimiter::Brace) {
                    self.end();
                }
                return at + 2;
            }
            return if named { at + 1 } else { at };
        }
        if segments.len() == 1 && is_keyword(&segments[0]) {
            return at;
        }
        let argument = match list.get(at) {
            Some(TokenTree::Group(group)) if group.delimiter() == Delimiter::Parenthesis => {
                group.stream().into_iter().next().as_ref().and_then(literal)
            }
            _ => None,
        };
        self.see(Seen::Path { global, segments, line, argument });
        at
    }
}

/// The prefixes of paths that a macro's rule ends with a name handed in: `libc::$name`.
pub(crate) fn glue(tokens: TokenStream) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    let mut pending = vec![tokens];
    while let Some(tokens) = pending.pop() {
        let list: Vec<TokenTree> = tokens.into_iter().collect();
        for at in 0..list.len() {
            if let TokenTree::Group(group) = &list[at] {
                pending.push(group.stream());
            }
            let handed_in = punct(&list, at) == Some('$')
                && ident(&list, at + 1).is_some_and(|name| name != "crate")
                && at >= 3
                && punct(&list, at - 1) == Some(':')
                && punct(&list, at - 2) == Some(':');
            if !handed_in {
                continue;
            }
            let mut segments = Vec::new();
            let mut end = at - 2;
            while let Some(name) = end.checked_sub(1).and_then(|before| ident(&list, before)) {
                segments.push(name);
                end -= 1;
                if end >= 2 && punct(&list, end - 1) == Some(':') && punct(&list, end - 2) == Some(':') {
                    end -= 2;
                } else {
                    break;
                }
            }
            segments.reverse();
            if !segments.is_empty() && !found.contains(&segments) {
                found.push(segments);
            }
        }
    }
    found
}

/// Whether a macro's rules write `extern "C" { ... }`, by whatever words: what such a macro is handed declares foreign functions.
pub(crate) fn writes_extern(tokens: TokenStream) -> bool {
    let mut pending = vec![tokens];
    while let Some(tokens) = pending.pop() {
        let list: Vec<TokenTree> = tokens.into_iter().collect();
        for (at, token) in list.iter().enumerate() {
            match token {
                TokenTree::Group(group) => pending.push(group.stream()),
                TokenTree::Ident(word) if *word == "extern" => {
                    // `extern crate` and `extern "C" fn` declare nothing foreign, nor does a rule that only matches the word.
                    let literal = matches!(list.get(at + 1), Some(TokenTree::Literal(_)));
                    let named = punct(&list, at + 1) == Some('$') && ident(&list, at + 2).is_some();
                    let behind = at + 1 + usize::from(literal) + 2 * usize::from(named);
                    let opens = matches!(
                        list.get(behind),
                        Some(TokenTree::Group(group)) if group.delimiter() == Delimiter::Brace
                    );
                    let repeats = literal
                        && punct(&list, behind) == Some('$')
                        && matches!(list.get(behind + 1), Some(TokenTree::Group(_)));
                    if opens || repeats {
                        return true;
                    }
                }
                _ => {}
            }
        }
    }
    false
}

/// The names and lines of the functions and statics that tokens declare: `fn name`, `static name`.
pub(crate) fn declared(tokens: TokenStream) -> Vec<(String, usize)> {
    let mut found = Vec::new();
    let mut pending = vec![tokens];
    while let Some(tokens) = pending.pop() {
        let list: Vec<TokenTree> = tokens.into_iter().collect();
        for at in 0..list.len() {
            match &list[at] {
                TokenTree::Group(group) => pending.push(group.stream()),
                TokenTree::Ident(word) if *word == "fn" || *word == "static" => {
                    let is_mut = ident(&list, at + 1).is_some_and(|word| word == "mut");
                    let of = at + 1 + usize::from(is_mut);
                    if let Some(name) = ident(&list, of) {
                        found.push((name, list[of].span().start().line));
                    }
                }
                _ => {}
            }
        }
    }
    found
}

/// Most names that one use of a macro hands in, as far as they are looked at.
const HANDED_IN_MAX: usize = 256;

/// The names in the input of a macro.
pub(crate) fn handed_in(tokens: TokenStream) -> Vec<String> {
    let mut found = Vec::new();
    let mut pending = vec![tokens];
    while let Some(tokens) = pending.pop() {
        for token in tokens {
            match token {
                TokenTree::Ident(ident) if found.len() < HANDED_IN_MAX => {
                    let word = name(&ident.to_string());
                    if !is_keyword(&word) && !found.contains(&word) {
                        found.push(word);
                    }
                }
                TokenTree::Group(group) => pending.push(group.stream()),
                _ => {}
            }
        }
    }
    found
}

/// The first path of a `use` that does not parse: taken as if all below it were imported.
pub(crate) fn walk_use(tokens: TokenStream, found: &mut dyn FnMut(Vec<String>)) {
    let list: Vec<TokenTree> = tokens.into_iter().collect();
    let mut segments = Vec::new();
    for at in 1..list.len() {
        match &list[at] {
            TokenTree::Ident(ident) if punct(&list, at - 1) != Some('$') => {
                segments.push(name(&ident.to_string()));
            }
            TokenTree::Punct(one) if matches!(one.as_char(), ':' | '$') => {}
            _ => break,
        }
    }
    if !segments.is_empty() {
        found(segments);
    }
}

fn is_keyword(word: &str) -> bool {
    matches!(
        word,
        "as" | "async"
            | "await"
            | "break"
            | "const"
            | "continue"
            | "crate"
            | "dyn"
            | "else"
            | "enum"
            | "extern"
            | "false"
            | "fn"
            | "for"
            | "if"
            | "impl"
            | "in"
            | "let"
            | "loop"
            | "match"
            | "mod"
            | "move"
            | "mut"
            | "pub"
            | "ref"
            | "return"
            | "self"
            | "Self"
            | "static"
            | "struct"
            | "super"
            | "trait"
            | "true"
            | "type"
            | "union"
            | "unsafe"
            | "where"
            | "while"
            | "_"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens(text: &str) -> TokenStream {
        text.parse().expect("tokens")
    }

    #[test]
    fn depth_is_bounded_at_the_limit() {
        let nested = |depth: usize| format!("{}{}", "(".repeat(depth), ")".repeat(depth));
        assert_eq!(check_depth(tokens(&nested(NESTING_MAX - 1))), Ok(()));
        assert_eq!(check_depth(tokens(&nested(NESTING_MAX))), Err(TooDeep::Nesting));
        let chain = |length: usize| format!("x{}", " !".repeat(length - 1));
        assert_eq!(check_depth(tokens(&chain(CHAIN_TOKENS_MAX))), Ok(()));
        assert_eq!(check_depth(tokens(&chain(CHAIN_TOKENS_MAX + 1))), Err(TooDeep::Chain));
    }

    #[test]
    fn an_else_if_chain_is_one_expression() {
        let chain = format!("if a {{}}{}", " else if a {}".repeat(CHAIN_TOKENS_MAX / 4));
        assert_eq!(check_depth(tokens(&chain)), Err(TooDeep::Chain));
        let functions = "fn a() {} ".repeat(CHAIN_TOKENS_MAX);
        assert_eq!(check_depth(tokens(&functions)), Ok(()));
    }

    #[test]
    fn paths_in_tokens_are_seen() {
        let walked =
            walk(tokens("std::fs::read(\"x\") ; $crate::a::<std::env::Args>::b ; y.open(1) ; m!(q)"));
        let seen: Vec<Seen> = walked.seen.into_iter().map(|(_, seen)| seen).collect();
        let paths: Vec<String> = seen
            .iter()
            .filter_map(|one| match one {
                Seen::Path { segments, .. } => Some(segments.join("::")),
                _ => None,
            })
            .collect();
        assert!(paths.contains(&"std::fs::read".to_owned()), "{paths:?}");
        assert!(paths.contains(&"std::env::Args".to_owned()), "{paths:?}");
        assert!(seen.iter().any(|one| matches!(one, Seen::Call { name, .. } if name == "open")));
        assert!(seen.iter().any(|one| matches!(one, Seen::Macro { segments, .. } if segments == &["m"])));
    }

    /// The modules that are declared as files, with whether their names are computed, and how many attributes are about each.
    fn modules(text: &str) -> Vec<(String, bool, usize)> {
        let Walked { seen, around } = walk(tokens(text));
        let declared = seen.into_iter().filter_map(|(at, one)| match one {
            Seen::Module(of) => {
                Some((of.name, of.computed, of.attributes.len() + around[at].attributes.len()))
            }
            _ => None,
        });
        let mut declared: Vec<_> = declared.collect();
        declared.sort();
        declared
    }

    #[test]
    fn brackets_with_the_same_attributes_have_one_surrounding() {
        let text = format!("#[cfg(a)] {} ; #[cfg(b)] () ()", "() ".repeat(1000));
        // The first, and one for each attribute.
        assert_eq!(walk(tokens(&text)).around.len(), 3);
    }

    #[test]
    fn modules_in_tokens_are_seen() {
        let one = |name: &str, computed, attributes| vec![(name.to_owned(), computed, attributes)];
        assert_eq!(modules("mod a;"), one("a", false, 0));
        assert_eq!(modules("#[x] #[path = \"y\"] pub(in crate::b) unsafe mod r#a;"), one("a", false, 2));
        assert_eq!(modules("mod a { fn f() {} mod b; }"), one("b", false, 0));
        assert_eq!(modules("#[cfg(x)] fn f() { mod b; }"), one("b", false, 1));
        // The condition is that of the parameter alone.
        assert_eq!(modules("fn f<#[cfg(x)] 'a>() { mod b; }"), one("b", false, 0));
        assert_eq!(modules("fn f<A, #[cfg(x)] 'a>() { mod b; }"), one("b", false, 0));
        assert_eq!(modules("#[cfg(x)] use a; fn f() { mod b; }"), one("b", false, 0));
        assert_eq!(modules("mod $a;"), one("a", true, 0));
        assert_eq!(modules("$(mod $a $b)*"), one("a", true, 0));
        assert_eq!(modules("mod $a { mod b; }"), one("b", true, 0));
        assert_eq!(modules("#[path = $p] $v mod b;"), one("b", true, 1));
        assert_eq!(modules("#[cfg_attr(x, path = $p)] mod b;"), one("b", true, 1));
        assert_eq!(modules("$(#[$m])* mod b;"), one("b", true, 0));
        assert_eq!(modules("$(#[doc = $d])* #[cfg($c)] mod b;"), one("b", false, 1));
        assert_eq!(modules("mod a { }  mod #a;  macro_rules! m { (mod $a:ident; mod b;) => {} }"), vec![]);
    }
}
