//! Tokens, before and beside the parser: whether a file is shallow enough to be parsed, and the paths in what is no Rust yet.

use proc_macro2::{Delimiter, TokenStream, TokenTree};

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
    /// `.name(`.
    Call { name: String, line: usize },
    /// `use ... ;`.
    Use { tokens: TokenStream },
    /// `unsafe {`.
    Unsafe { line: usize },
}

/// Every path, macro, method call and import in tokens that no parser understands. Over-reports: a name that a macro
/// introduces looks like one that it uses.
pub(crate) fn walk(tokens: TokenStream, seen: &mut Vec<Seen>) {
    let mut pending = vec![tokens];
    while let Some(tokens) = pending.pop() {
        let list: Vec<TokenTree> = tokens.into_iter().collect();
        let mut at = 0;
        while at < list.len() {
            at = step(&list, at, seen, &mut pending);
        }
    }
}

fn punct(list: &[TokenTree], at: usize) -> Option<char> {
    match list.get(at) {
        Some(TokenTree::Punct(punct)) => Some(punct.as_char()),
        _ => None,
    }
}

fn ident(list: &[TokenTree], at: usize) -> Option<String> {
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

fn step(list: &[TokenTree], at: usize, seen: &mut Vec<Seen>, pending: &mut Vec<TokenStream>) -> usize {
    match &list[at] {
        TokenTree::Group(group) => {
            pending.push(group.stream());
            at + 1
        }
        TokenTree::Punct(first) if first.as_char() == '.' => {
            let is_range = punct(list, at + 1) == Some('.');
            match ident(list, at + 1) {
                Some(name) if !is_range => {
                    seen.push(Seen::Call { name, line: list[at + 1].span().start().line });
                    at + 2
                }
                _ => at + 1,
            }
        }
        TokenTree::Punct(first) if first.as_char() == '\'' => at + 2,
        TokenTree::Punct(first) if first.as_char() == ':' => {
            if punct(list, at + 1) == Some(':') && ident(list, at + 2).is_some() {
                path(list, at + 2, true, seen, pending)
            } else {
                at + 1
            }
        }
        TokenTree::Punct(_) | TokenTree::Literal(_) => at + 1,
        TokenTree::Ident(first) if *first == "use" => {
            let end = (at..list.len()).find(|at| punct(list, *at) == Some(';'));
            match end {
                Some(end) => {
                    seen.push(Seen::Use { tokens: list[at..=end].iter().cloned().collect() });
                    end + 1
                }
                None => at + 1,
            }
        }
        TokenTree::Ident(first) if *first == "unsafe" => {
            if let Some(TokenTree::Group(group)) = list.get(at + 1)
                && group.delimiter() == Delimiter::Brace
            {
                seen.push(Seen::Unsafe { line: first.span().start().line });
            }
            at + 1
        }
        TokenTree::Ident(_) => path(list, at, false, seen, pending),
    }
}

/// A path that begins at an identifier; returns the place behind it.
fn path(
    list: &[TokenTree],
    start: usize,
    global: bool,
    seen: &mut Vec<Seen>,
    pending: &mut Vec<TokenStream>,
) -> usize {
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
                pending.push(list[at + 3..end - 1].iter().cloned().collect());
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
            seen.push(Seen::Macro { global, segments, line, input });
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
    seen.push(Seen::Path { global, segments, line, argument });
    at
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
        let mut seen = Vec::new();
        walk(tokens("std::fs::read(\"x\") ; $crate::a::<std::env::Args>::b ; y.open(1) ; m!(q)"), &mut seen);
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
}
