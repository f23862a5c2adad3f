//! Of each body what it refers to: paths, calls and unsafe code, also in tokens that no parser takes.

use std::cmp::Ordering;

use proc_macro2::TokenStream;
use syn::spanned::Spanned as _;
use syn::visit::{self, Visit};
use syn::{Attribute, Expr, Item as Syntax, Stmt};

use super::macros::without_dollars;
use super::tokens::{self, Seen, Walked};
use super::walk::{first_literal, line, type_path};
use super::{Scanner, line_number, modules};
use crate::limits::{MODULE_DEPTH_MAX, PACKAGE_FILES_MAX};
use crate::summary::{Call, Referent, Text, UnsafeSite};

impl Scanner<'_> {
    /// Reads what no parser understands, token by token.
    pub(super) fn tokens(&mut self, input: TokenStream, depth: usize) {
        self.read_tokens(&tokens::walk(input), depth, false);
    }

    /// The same for all of a file: what it imports is seen from elsewhere.
    pub(super) fn file_tokens(&mut self, input: TokenStream) {
        let conditions = modules::conditions_of_file(&input);
        let mut walked = tokens::walk(input);
        walked.around[0].attributes = conditions;
        self.read_tokens(&walked, 0, true);
    }

    fn read_tokens(&mut self, walked: &Walked, depth: usize, whole: bool) {
        let outer = (self.scope, self.also);
        let modules_of = self.modules_of;
        let scopes = self.scopes_in_tokens(walked, whole);
        if walked.seen.iter().any(|(_, one)| matches!(one, Seen::Use { .. })) {
            self.scope = self.add_scope("", true);
        }
        let shared = self.scope;
        for (around, one) in &walked.seen {
            if let Seen::Use { tokens } = one {
                (self.scope, self.also) = match scopes[*around] {
                    Some(scope) => (scope, Some(shared)),
                    None if whole => (outer.0, Some(shared)),
                    None => (shared, outer.1),
                };
                match syn::parse2::<syn::ItemUse>(without_dollars(tokens.clone())) {
                    Ok(it) => self.use_tree(&it.tree, it.leading_colon.is_some(), &mut Vec::new()),
                    Err(_) => {
                        tokens::walk_use(tokens.clone(), &mut |segments| self.import(&segments, false, None));
                    }
                }
            }
        }
        // Which of its macros the word is about is not looked at.
        let exports = walked.seen.iter().any(|(_, one)| {
            matches!(one, Seen::Path { segments, .. } if segments.iter().any(|word| word == "macro_export"))
        });
        let declares = walked.seen.iter().any(|(_, one)| matches!(one, Seen::Module(_)));
        let mut declared = 0;
        for (around, one) in &walked.seen {
            (self.scope, self.also) = match scopes[*around] {
                Some(scope) => (scope, Some(shared)),
                // An import of some block must not hide a module.
                None if whole || declares => (outer.0, Some(shared)),
                None => (shared, outer.1),
            };
            match one {
                Seen::Path { global, segments, line, argument } => {
                    let segments = self.texts(segments);
                    let (global, segments) = self.with_self(*global, segments);
                    let to = Referent::Path(self.path_number(global, &segments));
                    self.refer(to, *line, argument.as_deref());
                }
                Seen::Macro { global, segments, line, input } => {
                    if depth < MODULE_DEPTH_MAX && self.depth < MODULE_DEPTH_MAX {
                        self.modules_of = scopes[*around].or(modules_of).or(Some(outer.0));
                        self.depth += 1;
                        self.macro_in_tokens(walked, *around, (*global, segments), *line, input);
                        self.depth -= 1;
                        self.modules_of = modules_of;
                    } else {
                        self.unknown_syntax(*line);
                    }
                }
                Seen::Rules { name, rules } => {
                    self.in_tokens(walked, *around, |scanner| scanner.rules_in_tokens(name, rules));
                    if exports {
                        let at =
                            rules.clone().into_iter().next().map_or(0, |first| first.span().start().line);
                        self.note_export(name, at);
                    }
                }
                Seen::Apart { apart, line } => {
                    if self.handed_to.is_some() && self.is_compiled(walked, *around, &[]) {
                        self.note_apart(*apart, *line);
                    }
                }
                Seen::Call { name, line } => {
                    let name = self.text(name);
                    self.call(name, *line);
                }
                Seen::Unsafe { line } => {
                    let tags = self.tags_at(*line);
                    let site = UnsafeSite { line: line_number(*line), end: line_number(*line), tags };
                    self.target.items[self.item].unsafes.push(site);
                }
                Seen::Module(of) => {
                    declared += 1;
                    match declared.cmp(&PACKAGE_FILES_MAX) {
                        Ordering::Less => {
                            // A module's name is bound where the code around can see it, not in a block of imports.
                            self.scope = scopes[*around].or(modules_of).unwrap_or(outer.0);
                            self.also = None;
                            self.module_in_tokens(walked, *around, of);
                        }
                        Ordering::Equal => self.unknown_syntax(of.line),
                        Ordering::Greater => {}
                    }
                }
                Seen::Use { .. } => {}
            }
        }
        (self.scope, self.also) = outer;
    }

    fn macro_in_tokens(
        &mut self,
        walked: &Walked,
        around: usize,
        (global, path): (bool, &[String]),
        at: usize,
        input: &TokenStream,
    ) {
        let name = path.last().map_or("", String::as_str);
        if walked.is_in_module(around) {
            self.in_tokens(walked, around, |scanner| {
                scanner.macro_use(path, global, at, input.clone(), None);
            });
        } else {
            self.macro_use(path, global, at, input.clone(), None);
        }
        if name == "include" && !modules::is_written(input) && !self.is_left_out(walked, around) {
            self.in_tokens(walked, around, |scanner| scanner.include(input, at, true));
        }
        let is_written = self.names_files(name) || self.plain_macros.contains_key(name);
        if input.is_empty() && is_written && !self.is_left_out(walked, around) {
            self.in_tokens(walked, around, |scanner| scanner.write_out(name, at));
        }
    }

    fn call(&mut self, name: Text, at: usize) {
        let call = Call { name, condition: self.here(), line: line_number(at) };
        let calls = &mut self.target.items[self.item].calls;
        if !calls
            .iter()
            .rev()
            .take(64)
            .any(|known| known.name == call.name && known.condition == call.condition)
        {
            calls.push(call);
        }
    }

    /// `Self::x` by the name of what `Self` is.
    fn with_self(&self, global: bool, path: Vec<Text>) -> (bool, Vec<Text>) {
        match &self.self_path {
            Some((of_global, of)) if path.first() == Some(&self.self_word) => {
                (*of_global, of.iter().chain(&path[1..]).copied().collect())
            }
            _ => (global, path),
        }
    }

    pub(super) fn path_reference(&mut self, path: &syn::Path, argument: Option<&str>) {
        let Some(first) = path.segments.first() else { return };
        let at = line(first.ident.span());
        let words = self.words(path);
        let (global, segments) = self.with_self(path.leading_colon.is_some(), words);
        if let [only] = segments.as_slice()
            && is_primitive(&self.summary.texts[*only as usize])
        {
            return;
        }
        let to = Referent::Path(self.path_number(global, &segments));
        self.refer(to, at, argument);
    }

    /// A path's words, without generic arguments.
    pub(super) fn words(&mut self, path: &syn::Path) -> Vec<Text> {
        path.segments.iter().map(|segment| self.ident(&segment.ident)).collect()
    }

    /// `<T as Trait>::f` and `<T>::f`.
    fn qualified(&mut self, qself: &syn::QSelf, path: &syn::Path, argument: Option<&str>) {
        self.visit_type(&qself.ty);
        let all = self.words(path);
        let at = path.segments.first().map_or(0, |first| line(first.ident.span()));
        let rest = &all[qself.position.min(all.len())..];
        if let Some(of) = type_path(&qself.ty) {
            let mut joined = self.words(&of.path);
            joined.extend(rest);
            let (global, joined) = self.with_self(of.path.leading_colon.is_some(), joined);
            let to = Referent::Path(self.path_number(global, &joined));
            self.refer(to, at, argument);
        }
        if qself.position > 0 {
            let to = Referent::Path(self.path_number(path.leading_colon.is_some(), &all));
            self.refer(to, at, argument);
        }
        if let Some(last) = rest.last() {
            self.call(*last, at);
        }
        for segment in &path.segments {
            self.visit_path_arguments(&segment.arguments);
        }
    }

    pub(super) fn statements(&mut self, statements: &[Stmt]) {
        let outer = self.scope;
        if statements.iter().any(|statement| matches!(statement, Stmt::Item(_))) {
            self.scope = self.add_scope("", true);
        }
        for statement in statements {
            if let Stmt::Item(item) = statement {
                // What an item of a block needs, the block needs too: it may be called there, or be a trait's.
                self.one(item);
            }
        }
        for statement in statements {
            match statement {
                Stmt::Item(_) => {}
                Stmt::Macro(it) => self.under(&it.attrs, |scanner| scanner.expression_macro(&it.mac)),
                other => self.visit_stmt(other),
            }
        }
        self.scope = outer;
    }
}

impl<'ast> Visit<'ast> for Scanner<'_> {
    fn visit_attribute(&mut self, attribute: &'ast Attribute) {
        self.meta(&attribute.meta, line(attribute.span()));
    }

    fn visit_visibility(&mut self, _: &'ast syn::Visibility) {}

    fn visit_path(&mut self, path: &'ast syn::Path) {
        self.path_reference(path, None);
        for segment in &path.segments {
            self.visit_path_arguments(&segment.arguments);
        }
    }

    fn visit_type_path(&mut self, path: &'ast syn::TypePath) {
        match &path.qself {
            Some(qself) => self.qualified(qself, &path.path, None),
            None => self.visit_path(&path.path),
        }
    }

    fn visit_expr_path(&mut self, path: &'ast syn::ExprPath) {
        match &path.qself {
            Some(qself) => self.qualified(qself, &path.path, None),
            None => self.visit_path(&path.path),
        }
    }

    fn visit_expr_call(&mut self, call: &'ast syn::ExprCall) {
        let argument = first_literal(call.args.iter());
        match (&*call.func, argument) {
            (Expr::Path(path), Some(argument)) => {
                match &path.qself {
                    Some(qself) => self.qualified(qself, &path.path, Some(&argument)),
                    None => {
                        self.path_reference(&path.path, Some(&argument));
                        for segment in &path.path.segments {
                            self.visit_path_arguments(&segment.arguments);
                        }
                    }
                }
                for argument in &call.args {
                    self.visit_expr(argument);
                }
            }
            _ => visit::visit_expr_call(self, call),
        }
    }

    fn visit_expr_method_call(&mut self, call: &'ast syn::ExprMethodCall) {
        let name = self.ident(&call.method);
        self.call(name, line(call.method.span()));
        visit::visit_expr_method_call(self, call);
    }

    fn visit_expr_unsafe(&mut self, it: &'ast syn::ExprUnsafe) {
        self.unsafe_site(it.unsafe_token.span, it.block.span());
        self.visit_block(&it.block);
    }

    fn visit_macro(&mut self, it: &'ast syn::Macro) {
        self.expression_macro(it);
    }

    fn visit_block(&mut self, block: &'ast syn::Block) {
        self.statements(&block.stmts);
    }

    fn visit_item(&mut self, item: &'ast Syntax) {
        self.one(item);
    }

    fn visit_expr(&mut self, expression: &'ast Expr) {
        let attributes = attributes_of(expression);
        if attributes.is_empty() {
            if let Expr::Verbatim(tokens) = expression {
                return self.tokens(tokens.clone(), 0);
            }
            visit::visit_expr(self, expression);
        } else {
            self.under(attributes, |scanner| visit::visit_expr(scanner, expression));
        }
    }

    fn visit_local(&mut self, local: &'ast syn::Local) {
        self.under(&local.attrs, |scanner| visit::visit_local(scanner, local));
    }

    fn visit_arm(&mut self, arm: &'ast syn::Arm) {
        self.under(&arm.attrs, |scanner| visit::visit_arm(scanner, arm));
    }

    fn visit_field_value(&mut self, field: &'ast syn::FieldValue) {
        self.under(&field.attrs, |scanner| visit::visit_field_value(scanner, field));
    }

    fn visit_field(&mut self, field: &'ast syn::Field) {
        self.under(&field.attrs, |scanner| visit::visit_field(scanner, field));
    }

    fn visit_variant(&mut self, variant: &'ast syn::Variant) {
        self.under(&variant.attrs, |scanner| visit::visit_variant(scanner, variant));
    }
}

fn is_primitive(name: &str) -> bool {
    matches!(
        name,
        "self"
            | "Self"
            | "u8"
            | "u16"
            | "u32"
            | "u64"
            | "u128"
            | "usize"
            | "i8"
            | "i16"
            | "i32"
            | "i64"
            | "i128"
            | "isize"
            | "f32"
            | "f64"
            | "bool"
            | "char"
            | "str"
            | "Some"
            | "None"
            | "Ok"
            | "Err"
            | "Option"
            | "Result"
            | "String"
            | "Vec"
            | "Box"
    )
}

fn attributes_of(expression: &Expr) -> &[Attribute] {
    match expression {
        Expr::Block(it) => &it.attrs,
        Expr::Call(it) => &it.attrs,
        Expr::MethodCall(it) => &it.attrs,
        Expr::If(it) => &it.attrs,
        Expr::Match(it) => &it.attrs,
        Expr::Macro(it) => &it.attrs,
        Expr::Unsafe(it) => &it.attrs,
        Expr::Assign(it) => &it.attrs,
        Expr::Return(it) => &it.attrs,
        Expr::Loop(it) => &it.attrs,
        Expr::While(it) => &it.attrs,
        Expr::ForLoop(it) => &it.attrs,
        Expr::Path(it) => &it.attrs,
        Expr::Try(it) => &it.attrs,
        Expr::Let(it) => &it.attrs,
        Expr::Struct(it) => &it.attrs,
        Expr::Tuple(it) => &it.attrs,
        Expr::Array(it) => &it.attrs,
        Expr::Closure(it) => &it.attrs,
        Expr::Binary(it) => &it.attrs,
        Expr::Lit(it) => &it.attrs,
        Expr::Reference(it) => &it.attrs,
        _ => &[],
    }
}
