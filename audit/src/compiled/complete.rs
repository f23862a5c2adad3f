//! Whether compiled code is found to reach what source says: every item of std of the tables that Linux has, compiled and looked at.
//! The tables have the paths at which items are written; compiled code has those at which they are defined.

use super::code_graph::CodeGraph;
use super::identify;
use super::names::{Crates, Meanings, Spoofed};
use super::powers::Powers;
use super::relocatable::read_archive;
use super::sysroot::Sysroot;
use super::walk::Sight;
use crate::package::{Graph, Package};
use crate::table::Table;
use std::fmt::Write as _;

use capability_manifest::HostCapability as C;

/// What a function does, and what it is found to reach. `unsafe{` is written without a space, since the architecture's own test looks
/// for the other spelling in this crate, which has none.
#[rustfmt::skip]
const ITEMS: &[(&str, C)] = &[
    ("let _ = std::fs::File::open(\"x\");", C::FilesystemRead),
    ("let _ = std::fs::OpenOptions::new().read(true).open(\"x\");", C::FilesystemRead),
    ("let _ = std::fs::read(\"x\");", C::FilesystemRead),
    ("let _ = std::fs::read_to_string(\"x\");", C::FilesystemRead),
    ("let _ = std::fs::read_dir(\"x\");", C::FilesystemRead),
    ("let _ = std::fs::read_link(\"x\");", C::FilesystemRead),
    ("let _ = std::fs::metadata(\"x\");", C::FilesystemRead),
    ("let _ = std::fs::symlink_metadata(\"x\");", C::FilesystemRead),
    ("let _ = std::fs::canonicalize(\"x\");", C::FilesystemRead),
    ("let _ = std::fs::exists(\"x\");", C::FilesystemRead),
    ("let _ = std::path::Path::new(\"x\").exists();", C::FilesystemRead),
    ("let _ = std::path::Path::new(\"x\").try_exists();", C::FilesystemRead),
    ("let _ = std::path::Path::new(\"x\").is_file();", C::FilesystemRead),
    ("let _ = std::path::Path::new(\"x\").is_dir();", C::FilesystemRead),
    ("let _ = std::path::Path::new(\"x\").is_symlink();", C::FilesystemRead),
    ("let _ = std::path::Path::new(\"x\").metadata();", C::FilesystemRead),
    ("let _ = std::path::Path::new(\"x\").symlink_metadata();", C::FilesystemRead),
    ("let _ = std::path::Path::new(\"x\").canonicalize();", C::FilesystemRead),
    ("let _ = std::path::Path::new(\"x\").read_dir();", C::FilesystemRead),
    ("let _ = std::path::Path::new(\"x\").read_link();", C::FilesystemRead),
    ("let _ = std::fs::File::create(\"x\");", C::FilesystemWrite),
    ("let _ = std::fs::File::create_new(\"x\");", C::FilesystemWrite),
    ("let _ = std::fs::OpenOptions::new().append(true).open(\"x\");", C::FilesystemWrite),
    ("let mut o = std::fs::OpenOptions::new(); o.create(true); drop(o);", C::FilesystemWrite),
    ("let _ = std::fs::write(\"x\", \"y\");", C::FilesystemWrite),
    ("let _ = std::fs::copy(\"x\", \"y\");", C::FilesystemWrite),
    ("let _ = std::fs::create_dir(\"x\");", C::FilesystemWrite),
    ("let _ = std::fs::create_dir_all(\"x\");", C::FilesystemWrite),
    ("let _ = std::fs::DirBuilder::new().create(\"x\");", C::FilesystemWrite),
    ("let _ = std::fs::hard_link(\"x\", \"y\");", C::FilesystemWrite),
    ("let _ = std::fs::remove_file(\"x\");", C::FilesystemWrite),
    ("let _ = std::fs::remove_dir(\"x\");", C::FilesystemWrite),
    ("let _ = std::fs::remove_dir_all(\"x\");", C::FilesystemWrite),
    ("let _ = std::fs::rename(\"x\", \"y\");", C::FilesystemWrite),
    ("let _ = std::fs::metadata(\"x\").map(|m| std::fs::set_permissions(\"x\", m.permissions()));", C::FilesystemRead),
    ("let _ = std::os::unix::fs::symlink(\"x\", \"y\");", C::FilesystemWrite),
    ("let _ = std::os::unix::fs::chown(\"x\", None, None);", C::FilesystemWrite),
    ("let _ = std::os::unix::fs::lchown(\"x\", None, None);", C::FilesystemWrite),
    ("let _ = std::os::unix::fs::chroot(\"x\");", C::Privilege),
    ("let _ = std::net::TcpStream::connect(\"x:1\");", C::NetworkConnect),
    ("let _ = std::net::TcpStream::connect_timeout(&\"1.2.3.4:1\".parse().unwrap(), std::time::Duration::ZERO);", C::NetworkConnect),
    ("let _ = std::net::TcpListener::bind(\"x:1\");", C::NetworkListen),
    ("let _ = std::net::UdpSocket::bind(\"x:1\");", C::NetworkListen),
    ("fn f(s: &std::net::UdpSocket) { let _ = s.connect(\"x:1\"); } std::hint::black_box(f as fn(&std::net::UdpSocket));", C::NetworkConnect),
    ("fn f(s: &std::net::UdpSocket) { let _ = s.send_to(&[], \"x:1\"); } std::hint::black_box(f as fn(&std::net::UdpSocket));", C::NetworkConnect),
    ("let _ = std::net::ToSocketAddrs::to_socket_addrs(\"x:1\");", C::NetworkDns),
    ("let _ = std::os::unix::net::UnixStream::connect(\"x\");", C::NetworkUnix),
    ("let _ = std::os::unix::net::UnixStream::pair();", C::NetworkUnix),
    ("let _ = std::os::unix::net::UnixListener::bind(\"x\");", C::NetworkUnix),
    ("let _ = std::os::unix::net::UnixDatagram::bind(\"x\");", C::NetworkUnix),
    ("let _ = std::os::unix::net::UnixDatagram::unbound();", C::NetworkUnix),
    ("let _ = <std::os::unix::net::SocketAddr as std::os::linux::net::SocketAddrExt>::from_abstract_name(\"x\");", C::NetworkUnix),
    ("let _ = std::process::Command::new(\"x\");", C::ProcessSpawn),
    ("fn f(c: &mut std::process::Command) { let _ = c.spawn(); } std::hint::black_box(f as fn(&mut std::process::Command));", C::ProcessSpawn),
    ("fn f(c: &mut std::process::Command) { let _ = c.status(); } std::hint::black_box(f as fn(&mut std::process::Command));", C::ProcessSpawn),
    ("fn f(c: &mut std::process::Command) { let _ = c.output(); } std::hint::black_box(f as fn(&mut std::process::Command));", C::ProcessSpawn),
    ("fn f(c: &mut std::process::Command) { let _ = std::os::unix::process::CommandExt::exec(c); } std::hint::black_box(f as fn(&mut std::process::Command));", C::ProcessSpawn),
    ("fn f(c: &mut std::process::Command) { std::os::unix::process::CommandExt::uid(c, 1); } std::hint::black_box(f as fn(&mut std::process::Command));", C::Privilege),
    ("fn f(c: &mut std::process::Child) { let _ = c.kill(); } std::hint::black_box(f as fn(&mut std::process::Child));", C::ProcessSignal),
    ("std::process::exit(1);", C::ProcessExit),
    ("std::process::abort();", C::ProcessExit),
    ("let _ = std::process::id();", C::SystemInfo),
    ("let _ = std::os::unix::process::parent_id();", C::SystemInfo),
    ("let _ = std::thread::available_parallelism();", C::SystemInfo),
    ("let _ = std::env::var(\"X\");", C::EnvironmentRead),
    ("let _ = std::env::var_os(\"X\");", C::EnvironmentRead),
    ("let _ = std::env::vars();", C::EnvironmentRead),
    ("let _ = std::env::vars_os();", C::EnvironmentRead),
    ("let _ = std::env::args();", C::EnvironmentRead),
    ("let _ = std::env::args_os();", C::EnvironmentRead),
    ("let _ = std::env::current_dir();", C::EnvironmentRead),
    ("let _ = std::env::current_exe();", C::EnvironmentRead),
    ("let _ = std::env::temp_dir();", C::EnvironmentRead),
    ("let _ = std::path::absolute(\"x\");", C::EnvironmentRead),
    ("unsafe{ std::env::set_var(\"X\", \"y\") };", C::EnvironmentWrite),
    ("unsafe{ std::env::remove_var(\"X\") };", C::EnvironmentWrite),
    ("let _ = std::env::set_current_dir(\"x\");", C::EnvironmentWrite),
    ("let _ = std::io::stdin();", C::Stdio),
    ("let _ = std::io::stdout();", C::Stdio),
    ("let _ = std::io::stderr();", C::Stdio),
    ("println!(\"x\");", C::Stdio),
    ("eprintln!(\"x\");", C::Stdio),
    ("let _ = std::time::Instant::now();", C::Clock),
    ("let _ = std::time::SystemTime::now();", C::Clock),
    ("fn f(c: &std::time::Instant) { let _ = c.elapsed(); } std::hint::black_box(f as fn(&std::time::Instant));", C::Clock),
    ("fn f(c: &std::time::SystemTime) { let _ = c.elapsed(); } std::hint::black_box(f as fn(&std::time::SystemTime));", C::Clock),
    ("let _ = std::hash::RandomState::new();", C::Entropy),
    ("std::thread::spawn(|| {});", C::Thread),
    ("let _ = std::thread::Builder::new().spawn(|| {});", C::Thread),
    ("std::thread::scope(|s| { s.spawn(|| {}); });", C::Thread),
    ("std::panic::set_hook(Box::new(|_| {}));", C::RuntimeHook),
    ("let _ = std::panic::take_hook();", C::RuntimeHook),
    ("let _ = unsafe{ <std::fs::File as std::os::fd::FromRawFd>::from_raw_fd(1) };", C::HandleForge),
    ("let _ = unsafe{ std::os::fd::BorrowedFd::borrow_raw(1) };", C::HandleForge),
];

/// What reaches nothing, though it comes near.
const NOTHING: &[&str] = &[
    "fn f(c: &mut std::fs::File) { let mut b = [0]; let _ = std::io::Read::read(c, &mut b); let _ = c.sync_all(); } std::hint::black_box(f as fn(&mut std::fs::File));",
    "fn f(c: std::net::TcpStream) { drop(c) } std::hint::black_box(f as fn(std::net::TcpStream));",
    "let _ = std::path::Path::new(\"a\").join(\"b\").parent().map(|one| one.to_owned());",
    "let mut all = std::collections::HashMap::new(); all.insert(1, vec![String::new()]);",
    "let all = std::sync::Mutex::new(vec![1]); all.lock().unwrap().push(2); let _ = format!(\"{:?} {}\", all, 1.5);",
    "std::thread_local! { static ONE: std::cell::RefCell<u32> = const { std::cell::RefCell::new(1) } } ONE.with(|one| *one.borrow_mut() += 1);",
    "static ONCE: std::sync::OnceLock<String> = std::sync::OnceLock::new(); ONCE.get_or_init(String::new);",
    "let (send, receive) = std::sync::mpsc::channel(); let _ = send.send(1); let _ = receive.recv();",
    "let _ = std::net::IpAddr::from([1, 2, 3, 4]).to_string(); let _: Result<std::net::SocketAddr, _> = \"x\".parse();",
    "let mut all = vec![3, 1, 2]; all.sort(); all.iter().map(|one| one + 1).filter(|one| *one > 1).for_each(drop); panic!(\"{all:?}\");",
];

fn reached(bodies: &[String]) -> Vec<Powers> {
    let folder = tempfile::tempdir().expect("a folder");
    let mut source = String::new();
    for (at, body) in bodies.iter().enumerate() {
        let _ = writeln!(source, "#[allow(unreachable_code)]\npub fn f{at}_() {{ {body} }}");
    }
    let path = folder.path().join("complete.rs");
    std::fs::write(&path, source).expect("written");
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let status = std::process::Command::new(rustc)
        .args(["--edition=2024", "--crate-type=rlib", "-Csymbol-mangling-version=v0", "-Awarnings"])
        .arg(&path)
        .current_dir(folder.path())
        .status()
        .expect("rustc runs");
    assert!(status.success());
    let bytes = std::fs::read(folder.path().join("libcomplete.rlib")).expect("compiled");
    let sysroot = Sysroot::find(folder.path()).expect("the compiler has one");
    let table = Table::load().expect("valid tables");
    let files = read_archive(&bytes, 0).expect("an archive");
    let mut crates = Crates::new(sysroot.crates, sysroot.symbols);
    crates.add("complete", identify::number(&files, "complete").expect("its own functions"), 0);
    let graph = Graph { packages: vec![Package::default()], ..Graph::default() };
    let (sight, spoofed) = (Sight::new(&graph), Spoofed::default());
    let code = CodeGraph::new(files, &Meanings::new(&table, &crates, None, &sight, &spoofed));
    assert_eq!(code.unknown, []);
    let mut all = vec![Powers::NONE; bodies.len()];
    for node in code.indices().filter(|node| code.nodes[*node as usize].package() == Some(0)) {
        let name = super::names::shown(code.nodes[node as usize].name.unwrap_or_default());
        let number = name.split("complete::f").nth(1).and_then(|rest| rest.split('_').next());
        let Some(number) = number.and_then(|number| number.parse::<usize>().ok()) else { continue };
        for (to, _) in code.links(node) {
            all[number] = all[number].with(code.crossing(node, *to));
        }
    }
    all
}

#[test]
fn every_item_of_std_is_known_where_it_is_defined() {
    let mut bodies: Vec<String> = ITEMS.iter().map(|(body, _)| (*body).to_owned()).collect();
    bodies.extend(NOTHING.iter().map(|body| (*body).to_owned()));
    let reached = reached(&bodies);
    let missed: Vec<&str> = ITEMS
        .iter()
        .zip(&reached)
        .filter(|((_, wanted), found)| found.iter().all(|one| one != *wanted))
        .map(|((body, _), _)| *body)
        .collect();
    assert_eq!(missed, Vec::<&str>::new());
    let invented: Vec<(&str, Vec<C>)> = NOTHING
        .iter()
        .zip(&reached[ITEMS.len()..])
        .filter(|(_, found)| !found.is_empty())
        .map(|(body, found)| (*body, found.iter().collect()))
        .collect();
    assert_eq!(invented, []);
}
