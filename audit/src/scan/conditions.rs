//! The predicates around the place that is read, as one number.

use std::collections::HashMap;

use crate::predicate::Predicate;
use crate::summary::Condition;

/// The predicates around the current place. Its number is asked for with every reference and changes with few of them.
#[derive(Debug, Default)]
pub(super) struct Conditions {
    around: Vec<Predicate>,
    known: Option<Condition>,
    numbers: HashMap<Vec<Predicate>, Condition>,
}

impl Conditions {
    pub(super) fn list(&self) -> &[Predicate] {
        &self.around
    }

    pub(super) fn len(&self) -> usize {
        self.around.len()
    }

    pub(super) fn push(&mut self, predicate: Predicate) {
        self.around.push(predicate);
        self.known = None;
    }

    pub(super) fn extend(&mut self, predicates: impl IntoIterator<Item = Predicate>) {
        self.around.extend(predicates);
        self.known = None;
    }

    pub(super) fn truncate(&mut self, length: usize) {
        if length < self.around.len() {
            self.around.truncate(length);
            self.known = None;
        }
    }

    pub(super) fn replace(&mut self, with: &[Predicate]) {
        self.truncate(0);
        self.extend(with.iter().cloned());
    }

    /// The number of them all in `conditions`, which has the empty one already.
    pub(super) fn number(&mut self, conditions: &mut Vec<Vec<Predicate>>) -> Condition {
        if let Some(known) = self.known {
            return known;
        }
        let number = if self.around.is_empty() {
            0
        } else if let Some(known) = self.numbers.get(&self.around) {
            *known
        } else {
            let next = Condition::try_from(conditions.len()).expect("the size of a package is bounded");
            conditions.push(self.around.clone());
            self.numbers.insert(self.around.clone(), next);
            next
        };
        self.known = Some(number);
        number
    }
}
