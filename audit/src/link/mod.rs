//! From summaries to reach: names are resolved across crates, what is live is followed from the roots, and what each edge
//! brings is summed up.

pub(crate) mod live;
pub(crate) mod names;
pub(crate) mod sets;
pub(crate) mod stage;
