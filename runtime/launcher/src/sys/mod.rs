//! System calls that rustix has no safe function for. All of this crate's `unsafe` is here.

#![expect(unsafe_code, reason = "each block is one system call on checked values")]

use std::ffi::CString;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::ptr;

use rustix::io::Errno;
use rustix::process::Pid;
use rustix::thread::UnshareFlags;

use crate::report::{Done, Failure};

/// The kernel's error, where a call says that there is one.
fn check(result: libc::c_long) -> Result<libc::c_long, Errno> {
    if result >= 0 {
        return Ok(result);
    }
    Err(Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO))
}

/// Leaves namespaces for new ones.
pub(crate) fn unshare(flags: UnshareFlags) -> Result<(), Errno> {
    // SAFETY: The one flag with a condition is FILES, for programs with threads: no caller passes it, and there is one thread.
    unsafe { rustix::thread::unshare_unsafe(flags) }
}

/// Goes on in two processes; the new one is told `None`.
pub(crate) fn fork() -> Result<Option<Pid>, Errno> {
    // capability: process.spawn
    // SAFETY: This process has one thread, so the child finds no lock held by a thread that it does not have.
    let child = check(unsafe { libc::fork() }.into())?;
    Ok(i32::try_from(child).ok().and_then(Pid::from_raw))
}

/// Goes on in two processes, the new one as process 1 of new namespaces; it is told `None`, and this one its number and a descriptor
/// of it.
pub(crate) fn fork_into(namespaces: UnshareFlags) -> Result<Option<(Pid, OwnedFd)>, Errno> {
    let flags = u64::from(namespaces.bits() | (libc::CLONE_PIDFD | libc::SIGCHLD).cast_unsigned());
    let mut descriptor: libc::c_int = -1;
    let nothing = ptr::null_mut::<libc::c_void>();
    // capability: raw-syscall
    // SAFETY: Without a stack and without CLONE_VM this is a fork: the child goes on with a copy of everything. This process has one
    // thread, so the child finds no lock held by a thread that it does not have; nobody registered handlers for forks, which are
    // not run. The kernel writes one number to `descriptor`, which lives through the call.
    let child = check(unsafe {
        libc::syscall(libc::SYS_clone, flags, nothing, &raw mut descriptor, nothing, nothing)
    })?;
    let Some(child) = i32::try_from(child).ok().and_then(Pid::from_raw) else { return Ok(None) };
    // capability: handle-forge
    // SAFETY: With CLONE_PIDFD the call makes a new descriptor and writes its number; nobody else owns it.
    Ok(Some((child, unsafe { OwnedFd::from_raw_fd(descriptor) })))
}

/// Ends at once, without running anything that was registered for the end.
pub(crate) fn exit_now() -> ! {
    // capability: process.exit
    // SAFETY: _exit has no conditions, and does not return.
    unsafe { libc::_exit(1) }
}

/// A descriptor that [`place`] put at this number.
pub(crate) fn borrowed(number: i32) -> BorrowedFd<'static> {
    assert!((0..=PLACED_MAX).contains(&number), "placed descriptors stay open until the program is replaced");
    // capability: handle-forge
    // SAFETY: The caller has placed its descriptors, and nothing here closes them again.
    unsafe { BorrowedFd::borrow_raw(number) }
}

/// The last number that [`place`] fills.
const PLACED_MAX: i32 = 5;

/// Gives descriptors the numbers 0 to 5 and closes every other. The last is closed when a program is run.
pub(crate) fn place(descriptors: [OwnedFd; 6]) -> Result<(), Errno> {
    // Out of the way first, so that no number is overwritten before it was copied.
    let mut high = Vec::new();
    for descriptor in descriptors {
        high.push(rustix::io::fcntl_dupfd_cloexec(&descriptor, PLACED_MAX + 1)?);
        std::mem::forget(descriptor);
    }
    for (number, descriptor) in (0..).zip(&high) {
        let flags = if number == PLACED_MAX { libc::O_CLOEXEC } else { 0 };
        // capability: handle-forge
        // SAFETY: dup3 works on numbers. What it closes at `number` is owned by nobody any more: the descriptors that were given
        // are forgotten, and standard input to error belong to the process.
        check(unsafe { libc::dup3(descriptor.as_raw_fd(), number, flags) }.into())?;
    }
    drop(high);
    close_from(PLACED_MAX + 1)
}

/// Closes everything but these descriptors. Ends this process if that fails.
pub(crate) fn keep_only<const N: usize>(descriptors: [&dyn AsFd; N]) {
    let mut kept = descriptors.map(|one| one.as_fd().as_raw_fd().cast_unsigned());
    kept.sort_unstable();
    let mut from = 0;
    for end in kept.into_iter().chain([u32::MAX]) {
        let close = || {
            // capability: raw-syscall
            // SAFETY: close_range works on numbers. Whoever owns one of them here uses none from now on.
            unsafe { libc::syscall(libc::SYS_close_range, from, end - u32::from(end != u32::MAX), 0_u32) }
        };
        if from < end && close() != 0 {
            exit_now();
        }
        from = end.saturating_add(1);
    }
}

fn close_from(number: i32) -> Result<(), Errno> {
    // capability: raw-syscall
    // SAFETY: close_range works on numbers, and the caller owns no descriptor from `number` on.
    check(unsafe { libc::syscall(libc::SYS_close_range, number.cast_unsigned(), u32::MAX, 0_u32) }).map(drop)
}

/// Sets a resource limit, soft and hard.
pub(crate) fn limit(resource: u32, value: u64) -> Result<(), Errno> {
    let limit = libc::rlimit64 { rlim_cur: value, rlim_max: value };
    // capability: privilege
    // SAFETY: prlimit64 reads one `rlimit64`, which lives through the call, and writes nothing, since the last argument is null.
    check(unsafe { libc::prlimit64(0, resource, &raw const limit, ptr::null_mut()) }.into()).map(drop)
}

/// Empties the capability bounding set.
pub(crate) fn empty_bounding_set() -> Result<(), Errno> {
    for capability in 0..64 {
        // capability: privilege
        // SAFETY: PR_CAPBSET_DROP takes a number and has no other conditions.
        match check(unsafe { libc::prctl(libc::PR_CAPBSET_DROP, capability, 0, 0, 0) }.into()) {
            Ok(_) => {}
            // The first number that this kernel does not have.
            Err(Errno::INVAL) if capability > 0 => return Ok(()),
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Memory that was writable can never become executable, nor both at once.
pub(crate) fn deny_write_execute() -> Result<(), Errno> {
    const PR_SET_MDWE: i32 = 65;
    const PR_MDWE_REFUSE_EXEC_GAIN: libc::c_ulong = 1;
    // capability: privilege
    // SAFETY: PR_SET_MDWE takes flags and has no other conditions.
    check(unsafe { libc::prctl(PR_SET_MDWE, PR_MDWE_REFUSE_EXEC_GAIN, 0_u64, 0_u64, 0_u64) }.into()).map(drop)
}

/// Switches off speculation that one program can use to read another's memory.
pub(crate) fn control_speculation() -> Result<Done, Failure> {
    const PR_SET_SPECULATION_CTRL: i32 = 53;
    const FORCE_DISABLE: libc::c_ulong = 1 << 3;
    let mut none = Vec::new();
    for (misfeature, name) in [(0_u64, "store bypass"), (1, "indirect branches")] {
        // capability: privilege
        // SAFETY: PR_SET_SPECULATION_CTRL takes numbers and has no other conditions.
        let result = unsafe { libc::prctl(PR_SET_SPECULATION_CTRL, misfeature, FORCE_DISABLE, 0_u64, 0_u64) };
        match check(result.into()) {
            Ok(_) => {}
            // Not affected, without control, or decided for the whole machine already.
            Err(Errno::NXIO | Errno::NODEV | Errno::INVAL | Errno::PERM) => none.push(name),
            Err(errno) => {
                return Err(Failure { what: format!("switching off speculation of {name}"), errno });
            }
        }
    }
    Ok(match none.len() {
        0 => Done::plain(),
        1 => Done::Enforced(format!("no control of {}", none[0])),
        _ => Done::NotApplicable("no control on this machine".to_owned()),
    })
}

/// Restricts a mount, or with `below` also every mount below it: no devices, no set-user-ID, no programs unless `executable`, and
/// no writing unless `writable`.
pub(crate) fn restrict_mount(
    mount: &OwnedFd,
    writable: bool,
    executable: bool,
    below: bool,
) -> Result<(), Errno> {
    let read_only = if writable { 0 } else { libc::MOUNT_ATTR_RDONLY };
    let no_programs = if executable { 0 } else { libc::MOUNT_ATTR_NOEXEC };
    let attributes = libc::mount_attr {
        attr_set: read_only | no_programs | libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NODEV,
        attr_clr: 0,
        propagation: 0,
        userns_fd: 0,
    };
    let recursive = if below { libc::AT_RECURSIVE } else { 0 };
    let flags = libc::AT_EMPTY_PATH | recursive;
    // capability: raw-syscall
    // SAFETY: mount_setattr reads an empty path and one `mount_attr` of the size that is given; both live through the call.
    check(unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_raw_fd(),
            c"".as_ptr(),
            flags,
            &raw const attributes,
            size_of::<libc::mount_attr>(),
        )
    })
    .map(drop)
}

/// Puts a filter on this process that can never be taken off, and gives the end that is told of what it notifies.
pub(crate) fn install_filter(filter: &[u8]) -> Result<OwnedFd, Errno> {
    // With it, a call that the host has seen is not interrupted by signals. Kernels before 5.19 do not have it.
    const WAIT_KILLABLE: libc::c_ulong = 1 << 5;
    let (instructions, rest) = filter.as_chunks::<8>();
    let length = u16::try_from(instructions.len()).map_err(|_| Errno::INVAL)?;
    if !rest.is_empty() || length == 0 {
        return Err(Errno::INVAL);
    }
    let program: Vec<libc::sock_filter> = instructions
        .iter()
        .map(|bytes| libc::sock_filter {
            code: u16::from_le_bytes([bytes[0], bytes[1]]),
            jt: bytes[2],
            jf: bytes[3],
            k: u32::from_le_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]),
        })
        .collect();
    let header = libc::sock_fprog { len: length, filter: program.as_ptr().cast_mut() };
    let install = |flags: libc::c_ulong| {
        // capability: raw-syscall
        // SAFETY: seccomp(2) reads `header`, and `len` instructions from `filter`, during the call only. Both outlive it, and
        // `len` is the length of `program`.
        check(unsafe {
            libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, flags, &raw const header)
        })
    };
    let listener = libc::SECCOMP_FILTER_FLAG_NEW_LISTENER;
    let number = match install(listener | WAIT_KILLABLE) {
        Err(Errno::INVAL) => install(listener)?,
        other => other?,
    };
    let number = i32::try_from(number).map_err(|_| Errno::BADF)?;
    // capability: handle-forge
    // SAFETY: With this flag the call makes a new descriptor and returns its number; nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// Becomes the program that is open at a number, with no arguments but its name. Returns only if that failed.
pub(crate) fn execute(program: i32, environment: &[CString]) -> Errno {
    let arguments = [c"guest".as_ptr(), ptr::null()];
    let mut variables: Vec<*const libc::c_char> = environment.iter().map(|one| one.as_ptr()).collect();
    variables.push(ptr::null());
    // capability: raw-syscall
    // SAFETY: execveat reads an empty path and two arrays of C strings that end in null; all of them live through the call.
    let result = unsafe {
        libc::syscall(
            libc::SYS_execveat,
            program,
            c"".as_ptr(),
            arguments.as_ptr(),
            variables.as_ptr(),
            libc::AT_EMPTY_PATH,
        )
    };
    check(result).err().unwrap_or(Errno::IO)
}
