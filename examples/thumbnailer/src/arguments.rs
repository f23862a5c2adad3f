//! The command line.

use std::path::PathBuf;

use clap::Parser;

/// Thumbnails and a contact sheet of a folder of pictures, by parts that are each granted what they need and no more.
#[derive(Debug, Parser)]
#[command(name = "thumbnailer", version)]
pub(crate) struct Arguments {
    /// The pictures
    #[arg(default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/photos"))]
    pub photos: PathBuf,
    /// Where the thumbnails, the contact sheet and the audit log go
    #[arg(long, value_name = "FOLDER", default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/out"))]
    pub out: PathBuf,
    /// Puts a decoder of PNG in place that somebody has taken over, and pictures that give it orders
    #[arg(long)]
    pub evil: bool,
    /// For development: runs a part elsewhere than its manifest says, with `wasm`, `process` or `inline`; can be given again
    #[arg(long, value_name = "NAME=BACKEND", value_parser = part)]
    pub backend: Vec<(String, String)>,
}

fn part(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, backend)) if !name.is_empty() && !backend.is_empty() => {
            Ok((name.to_owned(), backend.to_owned()))
        }
        _ => Err("say it as `png-decode=wasm`".to_owned()),
    }
}

impl Arguments {
    pub(crate) fn read() -> Self {
        Self::parse()
    }
}
