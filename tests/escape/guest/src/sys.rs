//! System calls as attackers make them: by number, past every library.

#![expect(unsafe_code, reason = "attackers do not use safe functions")]

/// Any system call. Errors are negative, as the kernel gives them.
pub(crate) fn call(number: i64, arguments: &[u64]) -> i64 {
    let argument = |index: usize| arguments.get(index).copied().unwrap_or(0);
    let result: i64;
    // SAFETY: The callers pass memory of their own that outlives the call, or addresses that the kernel refuses; what a call does
    // to this process otherwise harms nobody else.
    unsafe {
        std::arch::asm!("syscall", inlateout("rax") number => result, in("rdi") argument(0), in("rsi") argument(1),
            in("rdx") argument(2), in("r10") argument(3), in("r8") argument(4), in("r9") argument(5),
            lateout("rcx") _, lateout("r11") _);
    }
    result
}

/// A call through the convention of 32 bits.
pub(crate) fn interrupt(number: u32, first: u32) -> i64 {
    let result: u64;
    // SAFETY: The interrupt clobbers r8 to r11 at most, and those are declared; rbx, which compilers keep, is put back.
    unsafe {
        std::arch::asm!("xchg rbx, {first}", "int 0x80", "xchg rbx, {first}", first = inout(reg) u64::from(first) => _,
            inlateout("rax") u64::from(number) => result, in("rcx") 0_u64, in("rdx") 0_u64,
            lateout("r8") _, lateout("r9") _, lateout("r10") _, lateout("r11") _);
    }
    i64::from(u32::try_from(result & 0xFFFF_FFFF).unwrap_or(0).cast_signed())
}

/// The address of something that lives through the call.
pub(crate) fn at<T: ?Sized>(value: &T) -> u64 {
    std::ptr::from_ref(value).cast::<u8>().addr() as u64
}

/// The same for something that the kernel writes to.
pub(crate) fn at_mut<T: ?Sized>(value: &mut T) -> u64 {
    std::ptr::from_mut(value).cast::<u8>().addr() as u64
}

/// What a child process does.
pub(crate) fn in_child(result: i64, child: impl FnOnce()) -> i64 {
    if result == 0 {
        child();
        call(libc::SYS_exit_group, &[0]);
    }
    result
}

/// A copy of the bytes at an address of this process, if it is there.
pub(crate) fn copy(address: u64, bytes: usize) -> Vec<u8> {
    let start = std::ptr::with_exposed_provenance::<u8>(usize::try_from(address).unwrap_or(0));
    // SAFETY: The callers pass addresses of mappings that they made or were told of by the kernel, at least that long.
    (0..bytes).map(|index| unsafe { start.add(index).read_volatile() }).collect()
}

/// Puts bytes at an address of this process.
pub(crate) fn put(address: u64, bytes: &[u8]) {
    let start = std::ptr::with_exposed_provenance_mut::<u8>(usize::try_from(address).unwrap_or(0));
    for (index, byte) in bytes.iter().enumerate() {
        // SAFETY: The callers pass addresses of writable mappings that they made, at least that long.
        unsafe { start.add(index).write_volatile(*byte) };
    }
}

/// Runs the function that the bytes at an address are.
pub(crate) fn run(address: u64) -> i64 {
    // SAFETY: The callers have written a function without arguments there, and made it executable.
    let function: extern "C" fn() -> i64 =
        unsafe { std::mem::transmute(usize::try_from(address).unwrap_or(0)) };
    function()
}

/// Has a function called for a signal. For attempts only: it fails without a word where that is refused.
pub(crate) fn on_signal(number: i32, handler: extern "C" fn(i32)) -> bool {
    // SAFETY: The handlers of this program only change atomics.
    unsafe { libc::signal(number, handler as *const () as libc::sighandler_t) != libc::SIG_ERR }
}

/// A descriptor by its number.
pub(crate) fn descriptor(number: i32) -> std::os::fd::BorrowedFd<'static> {
    // SAFETY: The launcher opened it, and nothing here closes it.
    unsafe { std::os::fd::BorrowedFd::borrow_raw(number) }
}

/// A bad memory access.
pub(crate) fn crash() {
    // SAFETY: None; the fault is the point. The address is not null, which the compiler could see.
    unsafe { std::ptr::without_provenance_mut::<u8>(0xDEAD_0000).write_volatile(1) };
}

/// Where this program's stack ends: the kernel put the program's name into its last page.
pub(crate) fn top_of_stack() -> u64 {
    // SAFETY: getauxval looks a number up in what the kernel left for this program.
    let name = unsafe { libc::getauxval(libc::AT_EXECFN) };
    (name & !4095) + 4096
}
