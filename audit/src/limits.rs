//! Bounds on everything that the source of a package controls. What is past one is reported as not analysed, never skipped.

/// Largest source file that is read, bytes. The largest in wide use (generated bindings) have about 4 MiB.
pub const FILE_BYTES_MAX: u64 = 16 << 20;

/// Most source read of one package, bytes. `windows` has about 60 MiB.
pub const PACKAGE_BYTES_MAX: u64 = 256 << 20;

/// Most source files of one package.
pub const PACKAGE_FILES_MAX: usize = 20_000;

/// Deepest nesting of brackets in a file. The compiler's own recursion limit is 128.
pub const NESTING_MAX: usize = 512;

/// Most tokens on the way to any token without an end of a statement between, summed over the brackets around it. The parser
/// and the walk recurse once for each operator, so this bounds their stack; [`STACK_BYTES`] is what that many take, with room.
pub const CHAIN_TOKENS_MAX: usize = 16_384;

/// Stack of each thread that parses. Only what is used is ever backed by memory.
pub const STACK_BYTES: usize = 512 << 20;

/// Deepest nesting of modules, and of macros whose input is source again.
pub const MODULE_DEPTH_MAX: usize = 128;

/// Most places of one target in which the files are read that the rules of macros name. Such a macro has a few uses.
pub const MACRO_PLACES_MAX: usize = 256;

/// Most uses of other macros, in the rules of the macros to which the use of one may lead, that are followed.
pub const MACROS_BEHIND_MAX: usize = 1_024;

/// Most items of one package.
pub const ITEMS_MAX: usize = 2_000_000;

/// Most places in which a path is looked up before it counts as unresolved: imports can go round in circles.
pub const LOOKUPS_MAX: usize = 256;

/// Most different arguments (names of variables, paths of files) that are told apart in one graph.
pub const ARGUMENTS_MAX: usize = 960;

/// Longest literal that is kept as an argument, bytes.
pub const ARGUMENT_BYTES_MAX: usize = 200;

/// Most bytes that are kept in the cache's folder; the oldest go first. A workspace of 400 packages takes about 15 MiB.
pub const CACHE_TOTAL_BYTES_MAX: u64 = 512 << 20;

/// Largest cached summary that is read, bytes.
pub const CACHE_BYTES_MAX: u64 = 256 << 20;

/// Deepest nesting in the name of a compiled function. Combinators nest types deeply, and none in wide use has come near this.
pub const MANGLED_DEPTH_MAX: usize = 300;

/// Most parts of one name that are looked at: a name can repeat itself by references, and grow without end.
pub const MANGLED_STEPS_MAX: usize = 50_000;

/// Largest file of compiled code that is read, bytes. Debug builds of large programs have some hundred MiB.
pub const COMPILED_BYTES_MAX: u64 = 4 << 30;

/// Most functions and pieces of data of one program.
pub const NODES_MAX: usize = 50_000_000;

/// Most instructions that are decoded to confirm a system call in one function.
pub const INSTRUCTIONS_MAX: usize = 4_000_000;
