#![feature(x)]
extern crate core as k;
#[path = "lib.rs"]
mod again;
mod inner { pub use super::*; pub(crate) fn f() { let _ = std::fs::read(r#"x"#); } }
macro_rules! m { ($n:ident) => { fn $n() { inner::f() } } }
m!(g);
#[cfg(all(unix, not(feature = "a")))]
unsafe extern "C" { fn connect(s: i32) -> i32; }
include!(concat!(env!("OUT_DIR"), "/made.rs"));
// cofferdam: network.connect
pub fn h() { unsafe { connect('a' as i32); core::arch::asm!("syscall") } }
impl<'a> Drop for S<'a> { fn drop(&mut self) { std::process::exit(1) } }
