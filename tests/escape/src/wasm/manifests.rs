//! Manifests of wasm guests that ask for more.

use std::fmt::Write as _;

use cofferdam::wasm::StartError;

use super::ground::{Ground, holds};
use crate::trial::{decided, text};

fn denied(wrong: &str, mended: &str, code: &str) -> Result<String, String> {
    match decided(wrong)? {
        Ok(_) => return Err("granted".to_owned()),
        Err(codes) if codes.contains(&code) => {}
        Err(codes) => return Err(format!("denied for {codes:?}, and not {code}")),
    }
    match decided(mended)? {
        Ok(_) => Ok(format!("denied: {code}")),
        Err(codes) => Err(format!("the mended manifest is denied for {codes:?}")),
    }
}

/// A consumer that holds one thing, and gives another.
fn grants(holds: &str, gives: &str) -> String {
    format!(
        "[holds]\n{holds}\n[crates.app]\ndependencies = [\"guest\"]\n[crates.app.grants.guest]\n{gives}\n\
         [crates.guest]\ncompartment = {{ backend = \"wasm\" }}\n"
    )
}

fn exceeds(held: &str, given: &str) -> Result<String, String> {
    denied(&grants(held, given), &grants(held, held), "grant-exceeds-holdings")
}

pub(super) fn cycle_of_two(_: &mut Ground) -> Result<String, String> {
    denied(
        "[crates.a]\ndependencies = [\"b\"]\n[crates.b]\ndependencies = [\"a\"]\n",
        "[crates.a]\ndependencies = [\"b\"]\n[crates.b]\n",
        "dependency-cycle",
    )
}

pub(super) fn cycle_of_many(_: &mut Ground) -> Result<String, String> {
    let chain = |last: &str| {
        let mut manifest = String::new();
        for index in 0..12 {
            let _ = write!(manifest, "[crates.c{index}]\ndependencies = [\"c{}\"]\n", index + 1);
        }
        manifest + "[crates.c12]\n" + last
    };
    denied(&chain("dependencies = [\"c0\"]\n"), &chain(""), "dependency-cycle")
}

pub(super) fn unknown_import(ground: &mut Ground) -> Result<String, String> {
    const WANTS: &str = r#"(component
      (import "vendor:gpu/queue@1.0.0" (instance (export "submit" (func)))))"#;
    let bytes = wat::parse_str(WANTS).map_err(text)?;
    let error = ground.try_start(&bytes, "", "")?.err().ok_or("it starts")?;
    holds(matches!(error, StartError::UnknownImports { .. }), &format!("another error: {error}"))?;
    holds(ground.events("refused").len() == 1, "it is not in the log once")?;
    let bytes = wat::parse_str("(component)").map_err(text)?;
    ground.try_start(&bytes, "", "")?.map_err(text)?;
    Ok(error.to_string())
}

pub(super) fn unknown_capability(_: &mut Ground) -> Result<String, String> {
    denied(
        &grants("clock = true", "clok = true"),
        &grants("clock = true", "clock = true"),
        "unknown-capability",
    )
}

pub(super) fn wildcard(_: &mut Ground) -> Result<String, String> {
    denied(
        "[holds]\nfilesystem = { read = [\"**\"] }\n",
        "[holds]\nfilesystem = { read = [\"data\"] }\n",
        "bad-path",
    )
}

pub(super) fn wider_folder(_: &mut Ground) -> Result<String, String> {
    exceeds("filesystem = { read = [\"data/sub\"] }", "filesystem = { read = [\"data\"] }")
}

pub(super) fn sibling_prefix(_: &mut Ground) -> Result<String, String> {
    exceeds("filesystem = { read = [\"data\"] }", "filesystem = { read = [\"database\"] }")
}

pub(super) fn host_suffix(_: &mut Ground) -> Result<String, String> {
    exceeds(
        "network = { connect = [\"example.com:443\"] }",
        "network = { connect = [\"evilexample.com:443\"] }",
    )
}

pub(super) fn port(_: &mut Ground) -> Result<String, String> {
    exceeds("network = { connect = [\"example.com:443\"] }", "network = { connect = [\"example.com:444\"] }")
}

pub(super) fn write_from_read(_: &mut Ground) -> Result<String, String> {
    exceeds("filesystem = { read = [\"data\"] }", "filesystem = { write = [\"data\"] }")
}
