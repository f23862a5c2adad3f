//! Curated claims: what the own code of a widely used crate was found to reach, and a reason. Data, in `policies/crates/`; this
//! module only looks up.
//!
//! A claim is trusted for nothing. It explains a crate that says nothing about itself, and a release whose code reaches more
//! than its claim is worth a look.

use std::collections::{BTreeSet, HashMap};

use capability_manifest::{Capability, HostCapability};
use semver::{Version, VersionReq};
use serde::Deserialize;

use crate::table::TableError;

/// Every file of `policies/crates/`.
const FILES: &[(&str, &str)] = &[
    ("command-line.toml", include_str!("../claims/command-line.toml")),
    ("compile-time.toml", include_str!("../claims/compile-time.toml")),
    ("concurrency.toml", include_str!("../claims/concurrency.toml")),
    ("cryptography.toml", include_str!("../claims/cryptography.toml")),
    ("data.toml", include_str!("../claims/data.toml")),
    ("files.toml", include_str!("../claims/files.toml")),
    ("logging.toml", include_str!("../claims/logging.toml")),
    ("native.toml", include_str!("../claims/native.toml")),
    ("network.toml", include_str!("../claims/network.toml")),
    ("system.toml", include_str!("../claims/system.toml")),
    ("text.toml", include_str!("../claims/text.toml")),
    ("time.toml", include_str!("../claims/time.toml")),
];

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    claim: Vec<Row>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    name: String,
    versions: String,
    uses: Vec<String>,
    #[serde(default)]
    elsewhere: Vec<String>,
    read: Vec<String>,
    reason: String,
}

/// What is known of a crate, in a range of versions.
#[derive(Debug, Clone)]
pub struct Claim {
    /// The versions it is about.
    pub versions: VersionReq,
    /// What its own code reaches on Linux with its default features.
    pub uses: BTreeSet<Capability>,
    /// What more is there under another `cfg`: another platform, another feature.
    pub elsewhere: BTreeSet<Capability>,
    /// The versions that were read.
    pub read: Vec<Version>,
    /// What the crate is for, and why it needs that.
    pub reason: String,
}

/// All claims, by crate.
#[derive(Debug)]
pub struct Claims(HashMap<String, Vec<Claim>>);

impl Claims {
    /// Reads the claims that are part of this library.
    ///
    /// # Errors
    /// When one of them is wrong, which is a fault of this library.
    pub fn load() -> Result<Self, TableError> {
        let mut all: HashMap<String, Vec<Claim>> = HashMap::new();
        for (name, text) in FILES {
            let wrong = |message: String| TableError { file: name, message };
            let file: File = toml::from_str(text).map_err(|error| wrong(error.to_string()))?;
            for row in file.claim {
                let about = |message: &str| wrong(format!("`{}`: {message}", row.name));
                if row.reason.is_empty() || row.read.is_empty() {
                    return Err(about("a claim has its reason, and the versions that were read"));
                }
                let claim = Claim {
                    versions: VersionReq::parse(&row.versions).map_err(|error| about(&error.to_string()))?,
                    uses: capabilities(&row.uses)
                        .map_err(|name| about(&format!("no capability `{name}`")))?,
                    elsewhere: capabilities(&row.elsewhere)
                        .map_err(|name| about(&format!("no capability `{name}`")))?,
                    read: row
                        .read
                        .iter()
                        .map(|version| Version::parse(version).map_err(|error| about(&error.to_string())))
                        .collect::<Result<_, _>>()?,
                    reason: row.reason.clone(),
                };
                if let Some(version) = claim.read.iter().find(|version| !claim.versions.matches(version)) {
                    return Err(about(&format!("{version} was read and is not among {}", claim.versions)));
                }
                all.entry(row.name).or_default().push(claim);
            }
        }
        Ok(Self(all))
    }

    /// What is known of that version of a crate.
    pub fn of(&self, name: &str, version: &str) -> Option<&Claim> {
        let version = Version::parse(version).ok()?;
        self.0.get(name)?.iter().find(|claim| claim.versions.matches(&version))
    }

    /// How many crates there are claims about.
    pub fn crates(&self) -> usize {
        self.0.len()
    }
}

fn capabilities(names: &[String]) -> Result<BTreeSet<Capability>, String> {
    names
        .iter()
        .map(|name| {
            let bare = name.strip_prefix("build.").unwrap_or(name);
            let known = HostCapability::from_name(name).or_else(|| HostCapability::from_name(bare));
            known.map(|_| Capability::from_name(name)).ok_or_else(|| name.clone())
        })
        .collect()
}
