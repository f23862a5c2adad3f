//! The place's own tests where Miri runs them, and under loom every interleaving of those who take an instance without the lock, give it back, and reclaim it under the lock.
//!
//! `RUSTFLAGS="--cfg loom" cargo test -p cofferdam-wire --release --test hot_model`: here, since the crate that has the place brings an engine,
//! which does not compile under loom.
#![cfg(any(loom, miri))]

#[path = "../runtime/host/src/hot.rs"]
#[allow(dead_code, unreachable_pub, reason = "the model does not use all of it")]
mod hot;

#[cfg(loom)]
mod model {
    use crate::hot::{Found, Hot};
    use loom::cell::Cell;
    use loom::sync::{Arc, Mutex};

    /// What only its owner may touch: loom fails when two do at once, or when one does not see what the other did.
    struct Instance(Cell<u32>);

    impl Instance {
        fn call(&self) {
            self.0.set(self.0.get() + 1);
        }
    }

    /// A place with its lock, beside it what was given back by way of the lock.
    #[derive(Default)]
    struct Pool {
        hot: Hot<Instance>,
        idle: Mutex<Vec<Box<Instance>>>,
    }

    /// One call, by way of the hot place or, when nothing is there, not at all.
    fn call(pool: &Pool) -> u32 {
        let Some(instance) = pool.hot.take() else { return 0 };
        instance.call();
        if let Err(watched) = pool.hot.give(instance) {
            let mut idle = pool.idle.lock().expect("no panic");
            pool.hot.end();
            idle.push(watched);
        }
        1
    }

    /// Whoever needs the instance comes to the lock for it: has it at once, or finds it there when its taker has come.
    fn reclaim(pool: &Pool) -> bool {
        let mut idle = pool.idle.lock().expect("no panic");
        match pool.hot.reclaim() {
            Found::Here(instance) => {
                instance.call();
                idle.push(instance);
                true
            }
            Found::Empty | Found::Out => idle.pop().is_some_and(|instance| {
                instance.call();
                idle.push(instance);
                true
            }),
        }
    }

    #[test]
    fn model_of_two_takers_and_one_who_reclaims() {
        loom::model(|| {
            let pool = Arc::new(Pool::default());
            pool.hot.put(Box::new(Instance(Cell::new(0))));
            let takers = [(); 2].map(|()| {
                let pool = Arc::clone(&pool);
                loom::thread::spawn(move || call(&pool))
            });
            let reclaimed = u32::from(reclaim(&pool));
            let made = takers.map(|taker| taker.join().expect("no panic")).iter().sum::<u32>() + reclaimed;
            // It is in one place, and each call was seen.
            let idle = std::mem::take(&mut *pool.idle.lock().expect("no panic"));
            let left = match pool.hot.reclaim() {
                Found::Here(instance) => vec![instance],
                Found::Empty => Vec::new(),
                Found::Out => panic!("nobody has it any more"),
            };
            let all: Vec<Box<Instance>> = idle.into_iter().chain(left).collect();
            assert_eq!(all.len(), 1, "neither lost nor doubled");
            assert_eq!(all[0].0.get(), made);
        });
    }
}
