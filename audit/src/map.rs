//! Maps whose keys are numbers that we gave out ourselves. Texts of a package never go in here as keys: who writes them could
//! choose ones that collide.

use rustc_hash::FxBuildHasher;

/// A map with a fast hash.
pub(crate) type Map<K, V> = std::collections::HashMap<K, V, FxBuildHasher>;

/// A set with a fast hash.
pub(crate) type Set<T> = std::collections::HashSet<T, FxBuildHasher>;
