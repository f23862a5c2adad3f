//! Calls of wasm compartments: from the host, and over an edge.

use cofferdam_hot_paths::{Empty, Ends, ManyEmpty, Opened};

pub(crate) fn called() -> Box<dyn FnMut()> {
    let empty = Opened::<Empty>::new("guest", "", "isolated");
    Box::new(move || empty.call(()))
}

pub(crate) fn called_with_64_kib() -> Box<dyn FnMut()> {
    let ends = Opened::<Ends>::new("guest", "", "isolated");
    let data = vec![7; 64 << 10];
    Box::new(move || {
        ends.call((&data,));
    })
}

/// One call of the caller makes ten of the guest.
pub(crate) fn called_over_an_edge() -> Box<dyn FnMut()> {
    let many = Opened::<ManyEmpty>::new("caller", "", "isolated");
    Box::new(move || many.call((10,)))
}
