//! Values that are kept for the length of a call, so that they can be referred to.

use std::cell::OnceCell;

/// A list that only grows, and whose values stay where they are. For generated code.
#[derive(Debug)]
pub struct Kept<T>(OnceCell<Box<(T, Kept<T>)>>);

impl<T> Default for Kept<T> {
    fn default() -> Self {
        Self(OnceCell::new())
    }
}

impl<T> Kept<T> {
    /// Keeps a value.
    pub fn keep(&self, value: T) -> &T {
        let mut last = self;
        while let Some(next) = last.0.get() {
            last = &next.1;
        }
        &last.0.get_or_init(|| Box::new((value, Self::default()))).0
    }
}

impl<T> Drop for Kept<T> {
    fn drop(&mut self) {
        // One after the other: a long list would need a deep stack.
        let mut next = self.0.take();
        while let Some(mut one) = next {
            next = one.1.0.take();
        }
    }
}
