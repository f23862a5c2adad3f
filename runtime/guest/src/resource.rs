//! Resources of a guest that its host holds: numbers there, values here. For generated code.

use std::any::Any;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use cofferdam_wire::value::Resource;

use crate::Kept;

#[derive(Default)]
/// Ordered, since a hashed map asks the host for random numbers, which is a capability.
struct Table {
    last: u64,
    values: BTreeMap<u64, Rc<dyn Any>>,
}

thread_local! {
    /// Calls are served by one thread.
    static TABLE: RefCell<Table> = RefCell::default();
}

/// Keeps a value until the host drops it or gives it back. Its number is never given twice.
pub fn keep<T: 'static>(value: T) -> Resource {
    TABLE.with_borrow_mut(|table| {
        table.last += 1;
        table.values.insert(table.last, Rc::new(value));
        Resource(table.last)
    })
}

/// The value, for the length of a call; `None` when there is none of that type.
pub fn lend<T: 'static>(kept: &Kept<Rc<dyn Any>>, resource: Resource) -> Option<&T> {
    let value = TABLE.with_borrow(|table| table.values.get(&resource.0).map(Rc::clone))?;
    kept.keep(value).downcast_ref()
}

/// The value, which the table has no more; `None` when there is none of that type, or while it is lent.
pub fn take<T: 'static>(resource: Resource) -> Option<T> {
    let value = TABLE.with_borrow_mut(|table| {
        let value = table.values.get(&resource.0)?;
        let free = value.is::<T>() && Rc::strong_count(value) == 1;
        if free { table.values.remove(&resource.0) } else { None }
    })?;
    Rc::into_inner(value.downcast().ok()?)
}

/// Drops the value; false when there is none.
pub fn drop(resource: Resource) -> bool {
    // The value's own destructor may use the table.
    let value = TABLE.with_borrow_mut(|table| table.values.remove(&resource.0));
    value.is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_stands_for_one_value_until_it_is_taken() {
        let (one, two) = (keep("a".to_owned()), keep(2_u32));
        assert_ne!(one, two);
        let kept = Kept::default();
        assert_eq!(lend::<String>(&kept, one).map(String::as_str), Some("a"));
        assert_eq!(lend::<u32>(&kept, one), None, "of another type");
        assert_eq!(take::<String>(one), None, "it is lent");
        std::mem::drop(kept);
        assert_eq!(take::<String>(one).as_deref(), Some("a"));
        assert_eq!(take::<u32>(two), Some(2));
        assert_eq!(take::<u32>(two), None, "taken");
        assert!(!drop(two));
        let three = keep(3_u32);
        assert!(three.0 > two.0, "numbers are not given again");
        assert!(drop(three) && !drop(three));
    }

    #[test]
    fn many_values_can_be_kept() {
        let kept = Kept::default();
        for value in 0..10_000 {
            assert_eq!(*kept.keep(value), value);
        }
    }
}
