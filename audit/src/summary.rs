//! What the source of one package says, independent of features and platform: the result of scanning, and what is cached.
//!
//! Nothing here is resolved: paths are as they are written, with the scope in which they stand.

use serde::{Deserialize, Serialize};

use crate::predicate::Predicate;

/// An index into [`Summary::texts`].
pub(crate) type Text = u32;

/// An index into [`TargetSummary::scopes`].
pub(crate) type ScopeIndex = u32;

/// An index into [`Summary::conditions`]; 0 is "always".
pub(crate) type Condition = u32;

/// A package.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
pub(crate) struct Summary {
    /// Every text, once.
    pub(crate) texts: Vec<String>,
    /// Conjunctions of predicates. The first is empty.
    pub(crate) conditions: Vec<Vec<Predicate>>,
    /// The source files, relative to the package.
    pub(crate) files: Vec<String>,
    /// What could not be analysed.
    pub(crate) unknowns: Vec<Unknown>,
    /// The targets in the order in which they were given.
    pub(crate) targets: Vec<TargetSummary>,
    /// Bytes of source read.
    pub(crate) bytes: u64,
    /// Lines of source read.
    pub(crate) lines: u64,
    /// Files that the parser refused and that were read token by token.
    pub(crate) by_token: u32,
}

impl Summary {
    /// Whether every index is within what it indexes: what a file says is checked before it is used.
    pub(crate) fn is_sound(&self) -> bool {
        let text = |text: &Text| (*text as usize) < self.texts.len();
        let condition = |one: Condition| (one as usize) < self.conditions.len();
        let target_is_sound = |target: &TargetSummary| {
            let scope = |scope: ScopeIndex| (scope as usize) < target.scopes.len();
            let path = |path: u32| (path as usize) < target.paths.len();
            // A scope's parent comes before it, so that going up ends.
            let scopes = target.scopes.iter().enumerate().all(|(index, one)| {
                text(&one.name) && condition(one.condition) && (one.parent as usize) < index.max(1)
            });
            let items = target.items.iter().all(|item| {
                let owned = match item.owner {
                    Owner::Scope => true,
                    Owner::Impl(one) => (one as usize) < target.impls.len(),
                    Owner::Trait(one) => (one as usize) < target.items.len(),
                };
                let symbol = match item.kind {
                    ItemKind::Foreign(symbol) => text(&symbol),
                    _ => true,
                };
                let references = item.references.iter().all(|one| {
                    let to = match one.to {
                        Referent::Path(to) | Referent::Macro(to) => path(to),
                        Referent::Capability(name) => text(&name),
                        Referent::Item(to) => (to as usize) < target.items.len(),
                    };
                    to && scope(one.scope) && condition(one.condition) && one.argument.iter().all(text)
                });
                let calls = item.calls.iter().all(|call| text(&call.name) && condition(call.condition));
                let tags = item.unsafes.iter().all(|site| site.tags.iter().all(text));
                let own = text(&item.name) && scope(item.scope) && condition(item.condition);
                owned && symbol && references && calls && tags && own
            });
            let imports = target.imports.iter().all(|one| {
                scope(one.scope) && path(one.path) && condition(one.condition) && one.name.iter().all(text)
            });
            let impls = target.impls.iter().all(|one| {
                scope(one.scope)
                    && condition(one.condition)
                    && one.of.iter().chain(&one.of_trait).chain(&one.arguments).all(|of| path(*of))
            });
            let paths = target.paths.iter().all(|path| path.segments.iter().all(text));
            let files = target.files.iter().all(|file| (*file as usize) < self.files.len());
            !target.scopes.is_empty() && files && scopes && items && imports && impls && paths
        };
        condition(0)
            && self.unknowns.iter().all(|one| condition(one.condition))
            && self.targets.iter().all(target_is_sound)
    }
}

/// A part of a package that could not be analysed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Unknown {
    /// The file, relative to the package.
    pub(crate) file: String,
    /// Where it was asked for, when that is another file.
    pub(crate) line: u32,
    /// Under which condition.
    pub(crate) condition: Condition,
    /// Why.
    pub(crate) why: String,
    /// It is made by the package's own build script, whose code is judged by itself.
    pub(crate) generated: bool,
}

/// One target: library, program, build script.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
pub(crate) struct TargetSummary {
    /// Modules, and blocks with items of their own. The first is the crate's root.
    pub(crate) scopes: Vec<Scope>,
    /// Everything that has a body or a name.
    pub(crate) items: Vec<Item>,
    /// `use` declarations.
    pub(crate) imports: Vec<Import>,
    /// `impl` blocks.
    pub(crate) impls: Vec<Impl>,
    /// Paths, once each.
    pub(crate) paths: Vec<Path>,
    /// The files that it was read from, as indices into [`Summary::files`], sorted.
    pub(crate) files: Vec<u32>,
}

/// A path as it is written.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, Default)]
pub(crate) struct Path {
    /// Begins with `::`.
    pub(crate) global: bool,
    /// Its segments, without generic arguments.
    pub(crate) segments: Vec<Text>,
}

/// A module or block.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Scope {
    /// The scope around it; itself for the root.
    pub(crate) parent: ScopeIndex,
    /// A block sees what the scope around it sees; a module does not.
    pub(crate) block: bool,
    /// Its name; empty for blocks and the root.
    pub(crate) name: Text,
    /// Under which condition it exists.
    pub(crate) condition: Condition,
}

/// What an item is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum ItemKind {
    /// A function or method.
    Function,
    /// A struct, enum or union.
    Type,
    /// A trait.
    Trait,
    /// A constant or static.
    Value,
    /// A macro by example.
    Macro,
    /// A function or static of foreign code; the text is its symbol.
    Foreign(Text),
    /// `type A = B`.
    Alias,
    /// What happens because the crate is linked.
    Linked,
}

/// An item.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Item {
    /// Where it is declared.
    pub(crate) scope: ScopeIndex,
    /// Its name.
    pub(crate) name: Text,
    /// What it is.
    pub(crate) kind: ItemKind,
    /// Under which condition it exists.
    pub(crate) condition: Condition,
    /// An index into [`Summary::files`].
    pub(crate) file: u32,
    /// Its line, from 1.
    pub(crate) line: u32,
    /// The `impl` or (for a trait's own functions) the trait that it belongs to.
    pub(crate) owner: Owner,
    /// What it refers to.
    pub(crate) references: Vec<Reference>,
    /// Names of methods that it calls.
    pub(crate) calls: Vec<Call>,
    /// Its unsafe code.
    pub(crate) unsafes: Vec<UnsafeSite>,
}

/// What an item is a part of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Owner {
    /// A scope.
    Scope,
    /// An index into [`TargetSummary::impls`].
    Impl(u32),
    /// An index into [`TargetSummary::items`]: a trait.
    Trait(u32),
}

/// One reference.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) struct Reference {
    /// What is referred to.
    pub(crate) to: Referent,
    /// The scope in which it is looked up.
    pub(crate) scope: ScopeIndex,
    /// Under which condition, the item's own included.
    pub(crate) condition: Condition,
    /// Its line, from 1.
    pub(crate) line: u32,
    /// The first argument, when it is a literal text.
    pub(crate) argument: Option<Text>,
}

/// What is referred to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) enum Referent {
    /// An index into [`TargetSummary::paths`].
    Path(u32),
    /// The same, as the name of a macro.
    Macro(u32),
    /// A capability by its name, where the form itself is the use of it: `asm!`, `#[no_mangle]`.
    Capability(Text),
    /// An index into [`TargetSummary::items`]: what runs, or is called, without being named.
    Item(u32),
}

/// A method call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Call {
    /// The method's name.
    pub(crate) name: Text,
    /// Under which condition.
    pub(crate) condition: Condition,
    /// Its line, from 1.
    pub(crate) line: u32,
}

/// `use path as name`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Import {
    /// Where it stands.
    pub(crate) scope: ScopeIndex,
    /// The name that it brings; `None` for `*`.
    pub(crate) name: Option<Text>,
    /// What it names.
    pub(crate) path: u32,
    /// Under which condition.
    pub(crate) condition: Condition,
}

/// An `impl` block.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Impl {
    /// Where it stands.
    pub(crate) scope: ScopeIndex,
    /// The type, when it is a plain path.
    pub(crate) of: Option<u32>,
    /// The trait.
    pub(crate) of_trait: Option<u32>,
    /// Types among the trait's generic arguments.
    pub(crate) arguments: Vec<u32>,
    /// Under which condition.
    pub(crate) condition: Condition,
}

/// An unsafe block, function or impl.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct UnsafeSite {
    /// First line.
    pub(crate) line: u32,
    /// Last line.
    pub(crate) end: u32,
    /// Capabilities that a comment above or beside it names.
    pub(crate) tags: Vec<Text>,
}
