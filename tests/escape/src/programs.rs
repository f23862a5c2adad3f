//! Where the programs of the suite are found.

use std::path::{Path, PathBuf};

use ambient_authority::AmbientAuthority;

use crate::trial::Programs;

/// The environment variable that names the guest, before any other place is looked at.
pub const GUEST_VARIABLE: &str = "COFFERDAM_SELFTEST_GUEST";

const GUEST: &str = "cofferdam-selftest-guest";
const LAUNCHER: &str = "cofferdam-launcher";

/// What is to be had here.
#[derive(Debug)]
pub enum Found {
    /// Everything.
    All(Programs),
    /// This program was built in a checkout of the sources, and the others can be, too.
    Checkout(PathBuf),
    /// Not all, and what is missing.
    Missing(String),
}

/// Looks beside this program, in `../libexec`, among what Cargo installed, and in the folder of a checkout that it was built in.
///
/// # Authority
/// Reads the path of this program, `COFFERDAM_SELFTEST_GUEST`, `COFFERDAM_LAUNCHER`, `CARGO_HOME` and the home folder.
pub fn find_ambient(_: AmbientAuthority) -> Found {
    let own = std::env::current_exe().ok();
    let checkout = own.as_deref().and_then(checkout);
    // What was built for this very checkout counts before what was installed once.
    let built = checkout.as_deref().map(built);
    let place = |variable: &str, name: &str| {
        if let Some(named) = std::env::var_os(variable) {
            return Some(PathBuf::from(named)).filter(|path| path.is_file());
        }
        let mut places: Vec<PathBuf> = built.iter().map(|folder| folder.join(name)).collect();
        if checkout.is_none() {
            if let Some(folder) = own.as_deref().and_then(Path::parent) {
                places.push(folder.join(name));
                places.extend(folder.parent().map(|above| above.join("libexec").join(name)));
            }
            let cargo = std::env::var_os("CARGO_HOME").map(PathBuf::from);
            let cargo = cargo.or_else(|| Some(std::env::home_dir()?.join(".cargo")));
            places.extend(cargo.map(|home| home.join("bin").join(name)));
        }
        places.into_iter().find(|path| path.is_file())
    };
    match (place("COFFERDAM_LAUNCHER", LAUNCHER), place(GUEST_VARIABLE, GUEST), checkout) {
        (Some(launcher), Some(guest), None) => Found::All(Programs { launcher, guest, mutant: None }),
        (Some(launcher), Some(guest), Some(_)) if std::env::var_os(GUEST_VARIABLE).is_some() => {
            Found::All(Programs { launcher, guest, mutant: None })
        }
        (_, _, Some(checkout)) => Found::Checkout(checkout),
        (None, _, None) => Found::Missing(missing(
            LAUNCHER,
            "COFFERDAM_LAUNCHER",
            "`cargo install --locked --path runtime/launcher`",
        )),
        (_, None, None) => Found::Missing(missing(
            GUEST,
            GUEST_VARIABLE,
            "`RUSTFLAGS=\"-C target-feature=+crt-static\" cargo install --locked --path tests/escape/guest --target \
             x86_64-unknown-linux-gnu`",
        )),
    }
}

/// What is not there, where it is looked for, and what gets it. Nothing is published, so a clone of the sources has to be there.
fn missing(name: &str, variable: &str, install: &str) -> String {
    format!(
        "no `{name}`, which the suite needs; in a clone of the sources, {install} builds and installs it; it is looked for where \
         `{variable}` says, and if that is not set beside this program, in `../libexec` from there, and in Cargo's `bin` folder"
    )
}

/// The checkout in whose own build folder a program is.
fn checkout(program: &Path) -> Option<PathBuf> {
    let inside = |root: &&Path| {
        program.starts_with(root.join("target")) && root.join("tests/escape/guest/Cargo.toml").is_file()
    };
    program.ancestors().find(inside).map(Path::to_path_buf)
}

/// Where the programs of a checkout are built.
fn built(checkout: &Path) -> PathBuf {
    checkout.join("target/guests/x86_64-unknown-linux-gnu/debug")
}

/// Builds the programs of a checkout, statically, with the Cargo that is found first.
///
/// # Errors
/// When Cargo does not run, or what it says when it fails.
///
/// # Authority
/// Runs `cargo` in the checkout.
pub fn build_ambient(checkout: &Path, _: AmbientAuthority) -> Result<Programs, String> {
    let output = std::process::Command::new("cargo")
        .args(["build", "--quiet", "--locked", "-p", GUEST, "-p", LAUNCHER])
        .args(["--target", "x86_64-unknown-linux-gnu", "--target-dir"])
        .arg(checkout.join("target/guests"))
        .env("RUSTFLAGS", "-C target-feature=+crt-static")
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .current_dir(checkout)
        .output()
        .map_err(|error| format!("cargo does not run: {error}"))?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned());
    }
    let folder = built(checkout);
    Ok(Programs { launcher: folder.join(LAUNCHER), guest: folder.join(GUEST), mutant: None })
}
